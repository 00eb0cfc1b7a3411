"""Which triplets of a batch are worth learning from: most of them keep their margin already and have no gradient.

A batch holds P classes with K images each. Its embeddings (N, D), N = P K > 0, and labels (N,) give triplets of
indices. They are chosen with the embeddings of the moment, and the choice is a constant: no gradient goes through it.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from nn.losses.common import check_at_least_0


class Triplets(NamedTuple):
    """Indices (T,) of anchors, of images of their class, and of images of other classes."""

    anchor: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """d (N, M), ||x[i] - y[j]||^2 = ||x[i]||^2 + ||y[j]||^2 - 2 x[i].y[j], at least 0.    x (N, D), y (M, D)."""
    check_shape("squared_distances", x=(x, ("N", "D")))
    check_shape("squared_distances", y=(y, ("M", x.shape[1])))
    squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)
    return array_module(x).maximum(squares - 2 * (x @ y.T), 0)


def semi_hard(embeddings: np.ndarray, labels: np.ndarray, margin: float = 0.2) -> Triplets:
    """Every pair of a class as anchor and positive, and the nearest negative beyond the positive, within the margin.

    d(a, p) < d(a, n) < d(a, p) + margin,    d the squared distance

    The nearest negative of all would often collapse the network early in training. A pair without such a negative gives
    no triplet. embeddings (N, D), labels (N,) of integers.
    Reference: Schroff, Kalenichenko and Philbin 2015, arXiv:1503.03832, sec. 3.2 and eq. 4.
    """
    check_at_least_0("semi_hard", margin=margin)
    xp, (d, same) = array_module(embeddings), _compared("semi_hard", embeddings, labels)
    anchor, positive = xp.nonzero(same & ~xp.eye(len(same), dtype=bool))
    near, far = d[anchor, positive][:, None], d[anchor]  # (T, 1), (T, N)
    eligible = ~same[anchor] & (far > near) & (far < near + margin)
    negative = xp.where(eligible, far, np.inf).argmin(axis=1)
    found = eligible.any(axis=1)
    return Triplets(anchor[found], positive[found], negative[found])


def hard(embeddings: np.ndarray, labels: np.ndarray) -> Triplets:
    """For every anchor the farthest image of its class and the nearest one of another class.

    An image without one or the other gives no triplet. embeddings (N, D), labels (N,) of integers.
    Reference: Schroff, Kalenichenko and Philbin 2015, arXiv:1503.03832, sec. 3.2 (within a mini-batch).
    """
    xp, (d, same) = array_module(embeddings), _compared("hard", embeddings, labels)
    others = same & ~xp.eye(len(same), dtype=bool)
    positive = xp.where(others, d, -np.inf).argmax(axis=1)
    negative = xp.where(same, np.inf, d).argmin(axis=1)
    anchor = xp.flatnonzero(others.any(axis=1) & ~same.all(axis=1))
    return Triplets(anchor, positive[anchor], negative[anchor])


def _compared(owner, embeddings, labels):
    """The squared distances (N, N), and whether the labels are equal (N, N); ValueError for labels of other shape."""
    check_shape(owner, embeddings=(embeddings, ("N", "D")))
    if np.shape(labels) != embeddings.shape[:1] or labels.dtype.kind not in "iu":
        got = f"{getattr(labels, 'dtype', type(labels).__name__)} {np.shape(labels)}"
        raise ValueError(f"{owner}: labels must be integers of shape {embeddings.shape[:1]}, got {got}")
    real = embeddings.real  # complex in a gradient check
    return squared_distances(real, real), labels[:, None] == labels
