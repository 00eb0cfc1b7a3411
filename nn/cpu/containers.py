"""Sums of branches for NumPy: chunks that stay in the cache, shared among threads. As in nn/containers.py."""

import numpy as np

from nn.cpu.chunks import in_chunks, in_slices


def takes(a, b) -> bool:
    """Whether these functions are for such arrays: of one dtype and shape."""
    return a.dtype == b.dtype and a.shape == b.shape


def add(a, b):
    """a + b."""
    return in_chunks(lambda a, b, out: np.add(a, b, out=out), a, b)


def add_to(total, part):
    """total += part, in place."""
    in_slices(lambda n: np.add(total[n], part[n], out=total[n]), len(total), total.size)
