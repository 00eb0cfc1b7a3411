"""What `scripts.benchmark` measures and how: cases, our side, PyTorch's side, a worker process for each, the table."""
