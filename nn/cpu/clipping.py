"""The functions of nn/optim/clipping.py in blocks that stay in the cache, shared among threads."""

import math

import numpy as np

from nn.cpu.blocks import blocks
from nn.cpu.chunks import in_slices

SIZE = 1 << 18  # elements of a block


def takes(*arrays) -> bool:
    """All arrays of NumPy."""
    return True


def common_norm(grads) -> float:
    """sqrt of the sum of the squares of all elements, in float64."""
    return math.sqrt(sum(_for_each_block(_sum_of_squares, grads)))


def scale(grads, factor):
    """Multiply all gradients by the factor, in place."""
    _for_each_block(lambda block: np.multiply(block, factor, out=block), grads)


def _for_each_block(task, arrays):
    """[task(block), ...] for the blocks of all arrays in turn."""
    parts = [block for array in arrays for (block,) in blocks(array, size=SIZE)]
    size = sum(part.size for part in parts)
    results = in_slices(lambda s: [task(part) for part in parts[s]], len(parts), size, chunk=4 * SIZE)
    return [result for several in results for result in several]


def _sum_of_squares(a):
    wide = a.ravel().astype(np.float64)
    return np.dot(wide, wide)
