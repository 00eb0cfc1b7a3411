"""The step of nn/optim/optimiser.py in blocks that stay in the cache, shared among threads."""

from nn.cpu.blocks import in_blocks_of_all
from nn.optim import optimiser as textbook


def takes(*arrays) -> bool:
    """All arrays of NumPy."""
    return True


def update(rule, rows, options):
    """One step of each row (value, grad, *state arrays), in place."""
    in_blocks_of_all(lambda *row: textbook.update(rule, [row], options), rows)
