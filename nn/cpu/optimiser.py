"""The step of nn/optim/optimiser.py in blocks that stay in the cache, shared among threads."""

from nn.cpu.blocks import blocks
from nn.cpu.chunks import in_slices
from nn.optim import optimiser as textbook

TOGETHER = 1 << 19  # elements that a thread takes at a time, in blocks


def takes(*arrays) -> bool:
    """All arrays of NumPy."""
    return True


def update(rule, rows, options):
    """One step of each row (value, grad, *state arrays), in place."""
    parts = [block for row in rows for block in blocks(*row)]
    size = sum(value.size for value, *_ in parts)
    in_slices(lambda s: textbook.update(rule, parts[s], options), len(parts), size, TOGETHER)
