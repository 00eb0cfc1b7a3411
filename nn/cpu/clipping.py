"""The functions of nn/optim/clipping.py in blocks that stay in the cache, shared among threads."""

import math

import numpy as np

from nn.cpu.blocks import in_blocks_of_all

SIZE = 1 << 18  # elements of a block


def takes(*arrays) -> bool:
    """All arrays of NumPy."""
    return True


def common_norm(grads) -> float:
    """sqrt of the sum of the squares of all elements, in float64."""
    return math.sqrt(sum(in_blocks_of_all(_sum_of_squares, ([grad] for grad in grads), SIZE)))


def scale(grads, factor):
    """Multiply all gradients by the factor, in place."""
    in_blocks_of_all(lambda block: np.multiply(block, factor, out=block), ([grad] for grad in grads), SIZE)


def _sum_of_squares(a):
    wide = a.ravel().astype(np.float64)
    return np.dot(wide, wide)
