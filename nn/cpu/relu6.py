"""ReLU6 for NumPy: in chunks that stay in the cache, shared among threads. The functions of nn/layers/relu6.py."""

import numpy as np

from nn.cpu.chunks import in_chunks
from nn.cpu.chunks import real as takes
from nn.layers.relu6 import HIGHEST

__all__ = ["relu6", "relu6_backward", "takes"]


def relu6(x):
    """min(max(x, 0), 6)."""
    return in_chunks(lambda x, out: np.clip(x, 0, HIGHEST, out=out), x)


def relu6_backward(dy, y):
    """dy where 0 < y < 6, else 0."""
    return in_chunks(lambda dy, y, out: np.multiply(dy, (y > 0) & (y < HIGHEST), out=out), dy, y)
