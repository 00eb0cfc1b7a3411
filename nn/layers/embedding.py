"""Vectors for words, characters, classes: a table looked up by index."""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import numpy as np

from nn.dispatch import functions
from nn.layer import Layer, Parameter, check_shape, positive
from nn.random import generator


def embedding(x, weight):
    """y (*x.shape, D) = weight[x], weight (V, D). ValueError for an x outside 0 .. V - 1."""
    wrong = x[(x < 0) | (x >= len(weight))]
    if wrong.size:
        raise ValueError(f"Embedding: x must be in 0 .. {len(weight) - 1}, got {int(wrong[0])}")
    return weight[x]


def embedding_backward(dy, x, grad, padding_idx):
    """Add dweight to grad (V, D), in place since most of its rows are 0.    dy (P, D), x (P,), padding_idx or None."""
    for index, dy_row in zip(x.tolist(), dy):
        if index != padding_idx:
            grad[index] += dy_row  # y[p] = weight[x[p]]: the gradients of all positions of a row add up


class Embedding(Layer):
    """y = weight[x].    x of any shape, indices in 0 .. V - 1, weight (V, D), y (*x.shape, D).

    V is num_embeddings, D embedding_dim. The table starts standard normal, drawn from `rng` (default: the library's
    generator, see nn.seed). padding_idx: this row (negative: from the end) starts at zero and gets no gradient.

    backward returns None: indices have no gradient. Raises TypeError for an x that is not of integers, ValueError for
    an index outside 0 .. V - 1, or a padding_idx outside -V .. V - 1. On a GPU, where a look at values would mean to
    wait for them, y is NaN for such an index.

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
        table = (rng or generator()).standard_normal((num_embeddings, embedding_dim))
        self.weight = Parameter(table.astype(np.float32))
        if padding_idx is not None:
            self.weight.value[padding_idx] = 0

    def forward(self, x, training=True):
        if not hasattr(x, "dtype") or x.dtype.kind not in "iu":
            got = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"Embedding: x must be an array of integers, got {got}: convert with x.astype(np.int64)")
        return functions(__name__, self.weight.value).embedding(x, self.weight.value), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, (*x.shape, self.embedding_dim)))
        ops = functions(__name__, dy, self.weight.grad)
        rows, indices = dy.reshape(-1, self.embedding_dim), x.reshape(-1)  # (P, D), (P,)
        ops.embedding_backward(rows, indices, self.weight.grad, self.padding_idx)
        return None
