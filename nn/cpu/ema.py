"""The moving average of nn/optim/ema.py in blocks that stay in the cache, shared among threads."""

from nn.cpu.blocks import blocks
from nn.cpu.chunks import in_slices
from nn.cpu.optimiser import TOGETHER
from nn.optim import ema as textbook


def takes(*arrays) -> bool:
    """All arrays of NumPy."""
    return True


def move(averages, weights, share):
    """average += share * (weight - average) for each pair of arrays, in place."""
    pairs = [block for pair in zip(averages, weights) for block in blocks(*pair)]
    size = sum(average.size for average, _ in pairs)
    in_slices(lambda s: textbook.move(*zip(*pairs[s]), share), len(pairs), size, TOGETHER)
