"""The moving average of nn/optim/ema.py in blocks that stay in the cache, shared among threads."""

from nn.cpu.blocks import in_blocks_of_all
from nn.optim import ema as textbook


def takes(*arrays) -> bool:
    """All arrays of NumPy."""
    return True


def move(averages, weights, share):
    """average += share * (weight - average) for each pair of arrays, in place."""
    in_blocks_of_all(lambda average, weight: textbook.move([average], [weight], share), zip(averages, weights))
