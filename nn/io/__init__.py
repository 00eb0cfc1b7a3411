"""Files: checkpoints, state dicts, safetensors, and what PyTorch writes."""
