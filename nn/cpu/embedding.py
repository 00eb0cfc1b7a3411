"""The gradient of a table for NumPy: positions sorted by index, so that each row of the table is written once."""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.chunks import real as takes
from nn.cpu.sampler import sums_by_cell
from nn.layers.embedding import embedding

__all__ = ["embedding", "embedding_backward", "takes"]


def embedding_backward(dy, x, grad, padding_idx):
    """Add dweight to grad (V, D), in place, as in nn/layers/embedding.py."""
    if padding_idx is not None:
        counted = x != padding_idx
        x, dy = x[counted], dy[counted]
    if not x.size:
        return
    rows, sums = sums_by_cell(dy, np.arange(len(x)), None, x.astype(np.int64), len(grad))

    def add(part):
        grad[rows[part]] += sums[part]

    in_slices(add, len(rows), sums.size)
