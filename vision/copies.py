"""Rows repeated, and back: several captions or questions about one image see the same features."""

from functools import lru_cache

import numpy as np

from nn.dispatch import array_module
from nn.gpu.device import to_device


def spread(x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(M, ...): row n of x (N, ...) repeated counts[n] times, counts (N,) on the CPU."""
    if array_module(x) is np:
        return x.repeat(counts, axis=0)
    if len(set(counts.tolist())) == 1:
        return x.repeat(int(counts[0]), axis=0)
    return x[_copies(tuple(counts.tolist()))[0]]


def gather(dx: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The gradient of x (N, ...) from that of spread(x, counts): the sum over the copies of each row."""
    if (xp := array_module(dx)) is np:
        return np.stack([part.sum(axis=0) for part in np.split(dx, counts.cumsum()[:-1])])  # reduceat: 12 times slower
    if len(set(counts.tolist())) == 1:
        return dx.reshape(len(counts), -1, *dx.shape[1:]).sum(axis=1)
    return xp.concatenate([dx, xp.zeros_like(dx[:1])])[_copies(tuple(counts.tolist()))[1]].sum(axis=1)


@lru_cache(maxsize=4)  # all calls of a step have the same counts: they are copied to the GPU once
def _copies(counts):
    """On the GPU: (M,) the row of x that each row of spread(x, counts) copies; (N, most) the indices of each row's
    copies, M where it has fewer."""
    counts = np.array(counts)
    copy = np.arange(counts.max())
    copies = np.where(copy < counts[:, None], (counts.cumsum() - counts)[:, None] + copy, counts.sum())
    return to_device((np.arange(len(counts)).repeat(counts), copies), "gpu")
