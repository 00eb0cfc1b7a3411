"""A support vector machine whose negatives take the highest of several scores, and the cache of hard negatives.

With the placements of the positives held, the latent SVM is convex. It is solved in its dual by block-coordinate
Frank-Wolfe steps, an example after another: for examples of one vector each that is dual coordinate descent.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, sec. 4; Lacoste-Julien, Jaggi, Schmidt and Pletscher
2013, Block-coordinate Frank-Wolfe optimization for structural SVMs, arXiv:1207.4747, alg. 4.
"""

from typing import NamedTuple

import numpy as np

from nn.layer import check_shape
from vision.detection.linear_svm import check_examples

LOOK = 10  # epochs from one look at all examples to the next; between them those at their bounds rest


class LatentSVM(NamedTuple):
    """weight (D,), the dual variables alpha (N,), gap: (primal - dual) / primal; epochs taken."""

    weight: np.ndarray
    alpha: np.ndarray
    gap: float
    epochs: int


def fit_latent_svm(
    x: np.ndarray,
    y: np.ndarray,
    example: np.ndarray,
    c: float,
    least: np.ndarray | float = -np.inf,
    *,
    tolerance: float = 0.01,
    max_epochs: int = 300,
    rng: np.random.Generator,
) -> LatentSVM:
    """The minimum over w >= least of  |w|^2 / 2 + c sum over examples of max(0, max over its vectors of 1 - y w . x).

    x (N, D): vectors; y (N,) of -1 and 1; example (N,): which of them are one example's. The dual variables of an
    example sum up to c at most:

        w = max(least, sum of alpha_v y_v x_v)

    A step moves those of one example towards the corner of that set where the dual's slope is largest: all of c on its
    worst vector, or all zero if even that has its margin; as far as is best on the way. It ends when the gap between
    primal and dual is below tolerance times the primal.

    Raises ValueError for other shapes and values, examples of one sign only, and a positive one of several vectors:
    there the highest score makes the problem not convex.
    """
    check_shape("fit_latent_svm", x=(x, ("N", "D")))
    check_examples(x, y, c)
    _, index, counts = np.unique(example, return_inverse=True, return_counts=True)
    if (y[counts[index] > 1] > 0).any():
        raise ValueError("fit_latent_svm: an example with y = 1 must have one vector: choose its placement first")
    blocks = np.split(np.argsort(index, kind="stable"), np.cumsum(counts)[:-1])
    dual = Dual(x, y.astype(float), np.zeros(len(x)), c, np.broadcast_to(least, x.shape[1]).astype(x.dtype))
    active = blocks
    for epoch in range(max_epochs):
        whole = epoch % LOOK == 0
        w = dual.sum()
        gains = [dual.step(block, w) for block in (blocks if whole else active)]
        if whole:
            if dual.gap(blocks) <= tolerance:
                break
            active = [blocks[i] for i in rng.permutation(len(blocks)) if gains[i] > 0]
    return LatentSVM(dual.weight(dual.sum()), dual.alpha, dual.gap(blocks), epoch + 1)


class Dual(NamedTuple):
    """The dual problem; steps change alpha."""

    x: np.ndarray
    signs: np.ndarray
    alpha: np.ndarray
    c: float
    least: np.ndarray

    def sum(self) -> np.ndarray:
        """(D,): the sum of alpha_v y_v x_v."""
        return (self.alpha * self.signs).astype(self.x.dtype) @ self.x

    def weight(self, total: np.ndarray) -> np.ndarray:
        """w of that sum."""
        return np.maximum(total, self.least)

    def step(self, block: np.ndarray, total: np.ndarray) -> float:
        """Move the alphas of the example whose vectors are `block`; changes the sum. The slope on the way, at least 0.

        The dual along the way rises with slope `gain` and bends by |change of the sum|^2 at most.
        """
        slack = 1 - self.signs[block] * (self.x[block] @ self.weight(total))
        move = -self.alpha[block]
        if slack.max() > 0:
            move[slack.argmax()] += self.c
        gain = float(move @ slack)
        if gain <= 0:
            return 0.0
        change = (move * self.signs[block]).astype(total.dtype) @ self.x[block]
        step = min(1.0, gain / max(float(change @ change), 1e-12))
        self.alpha[block] += step * move
        total += step * change
        return gain

    def gap(self, blocks) -> float:
        """(primal - dual) / primal."""
        w = self.weight(self.sum())
        slack = 1 - self.signs * (self.x @ w)
        losses = self.c * sum(max(0.0, float(slack[block].max())) for block in blocks)
        primal = float(w @ w) / 2 + losses
        # The dual is the least value of the Lagrangian, at w: |w|^2 / 2 + sum of alpha (1 - y w . x).
        return (primal - float(w @ w) / 2 - float(self.alpha @ slack)) / primal


def keep_hard(rows: np.ndarray, scores: np.ndarray, capacity: int) -> np.ndarray:
    """Indices, in order, of the negatives that stay in the cache: of rows (N, ...) with scores (N,), each once, those
    that are not easy; of more than `capacity` the hardest.

    Easy is a score below -1: it is beyond the margin, so the solution is the same without it (sec. 4.4).
    """
    first = np.unique(rows, axis=0, return_index=True)[1] if len(rows) else np.zeros(0, np.int64)
    hard = first[scores[first] >= -1]
    return np.sort(hard[np.argsort(-scores[hard], kind="stable")[:capacity]])
