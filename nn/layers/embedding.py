"""Vectors for words, characters, classes: a table looked up by number."""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.sampler import sums_by_cell
from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels
from nn.layer import Layer, Parameter, check_shape, positive


class Embedding(Layer):
    """y = weight[x].    x of any shape, whole numbers in 0 .. V - 1, weight (V, D), y (*x.shape, D).

    V is num_embeddings, D embedding_dim. The table starts with standard normal numbers; `rng` draws them (default: a
    fixed seed, 0). padding_idx: the row of this number (negative: from the end) starts at zero and gets no gradient.

    backward returns None: numbers have no gradient. Raises TypeError for an x that is not of integers, ValueError for a
    number outside 0 .. V - 1, or a padding_idx outside -V .. V - 1. On a GPU, where looking at values would mean to
    wait for them, y is NaN for such a number.

    Reference: Bengio et al. 2003, A neural probabilistic language model, sec. 2 (the matrix C).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        rng: np.random.Generator | None = None,
    ):
        positive(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            wanted = f"-{num_embeddings} .. {num_embeddings - 1}"
            raise ValueError(f"Embedding: padding_idx must be None or in {wanted}, got {padding_idx}")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        table = (rng or np.random.default_rng(0)).standard_normal((num_embeddings, embedding_dim))
        self.weight = Parameter(table.astype(np.float32))
        if padding_idx is not None:
            self.weight.value[padding_idx] = 0

    def forward(self, x, training=True):
        if not hasattr(x, "dtype") or x.dtype.kind not in "iu":
            got = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"Embedding: x must be an array of integers, got {got}: convert with x.astype(np.int64)")
        if self._by_kernel(self.weight.value):
            return self._look_up(x), x
        wrong = x[(x < 0) | (x >= self.num_embeddings)]
        if wrong.size:
            raise ValueError(f"Embedding: x must be in 0 .. {self.num_embeddings - 1}, got {int(wrong[0])}")
        return self.weight.value[x], x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, (*x.shape, self.embedding_dim)))
        rows, dy = x.reshape(-1), dy.reshape(-1, self.embedding_dim)
        if self._by_kernel(dy) and dy.dtype == self.weight.grad.dtype:
            return self._add_up(dy, rows)
        if self.padding_idx is not None:
            counted = rows != self.padding_idx
            rows, dy = rows[counted], dy[counted]
        if array_module(dy) is not np:
            array_module(dy).add.at(self.weight.grad, rows, dy)
        elif rows.size:
            # y = weight[x]: what flows to one row from all its places adds up
            source = np.arange(len(rows))
            numbers, sums = sums_by_cell(dy, source, None, rows.astype(np.int64), self.num_embeddings)

            def add(part):
                self.weight.grad[numbers[part]] += sums[part]

            in_slices(add, len(numbers), sums.size)
        return None

    @staticmethod
    def _by_kernel(values):
        return use_kernels(values) and values.dtype.name in TYPES

    def _look_up(self, x):
        """weight[x] on a GPU."""
        xp, weight = array_module(self.weight.value), self.weight.value
        y, x = xp.empty((*x.shape, self.embedding_dim), weight.dtype), xp.ascontiguousarray(x, np.int64)
        sizes = y.size, self.embedding_dim, self.num_embeddings
        launch("embedding", "embedding_forward", y.size, y.dtype, weight, x, y, *sizes)
        return y

    def _add_up(self, dy, rows):
        """The gradient on a GPU: the places of each number side by side, so that none is written by two threads."""
        xp, rows = array_module(dy), rows.astype(np.int64, copy=False)
        order = xp.argsort(rows, kind="stable")
        padding = -1 if self.padding_idx is None else self.padding_idx
        arrays = xp.ascontiguousarray(dy), rows[order], order, self.weight.grad
        sizes, block = (len(rows), self.embedding_dim, self.num_embeddings, padding), (32, 8)
        grid = len(rows), -(-self.embedding_dim // 32)
        launch("embedding", "embedding_backward", dy.size, dy.dtype, *arrays, *sizes, block=block, grid=grid)
