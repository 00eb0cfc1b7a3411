"""A linear support vector machine, solved by dual coordinate descent.

Reference: Hsieh, Chang, Lin, Keerthi and Sundararajan 2008, A dual coordinate descent method for large-scale linear
SVM, ICML 2008, doi:10.1145/1390156.1390208, alg. 1 and 3.
"""

from typing import NamedTuple

import numpy as np

from nn.layer import check_shape
from nn.losses.classification import hinge


class SVM(NamedTuple):
    """f(x) = weight . x + bias. alpha (N,): the dual variables; violation, gap: see optimality. epochs: taken."""

    weight: np.ndarray
    bias: float
    alpha: np.ndarray
    violation: float
    gap: float
    epochs: int


def fit_svm(
    x: np.ndarray,
    y: np.ndarray,
    c: float = 0.01,
    *,
    positive_weight: float = 1.0,
    bias_scale: float = 1.0,
    tolerance: float = 1e-3,
    max_epochs: int = 1000,
    rng: np.random.Generator,
) -> SVM:
    """The minimum of |weight|^2 / 2 + (bias / bias_scale)^2 / 2 + sum of c_i max(0, 1 - y_i f(x_i)).

    c_i is c, times positive_weight where y_i is 1. The bias is the weight of a further feature that is bias_scale
    everywhere. The dual is

        min over 0 <= alpha_i <= c_i of  |w|^2 / 2 - sum of alpha_i,    w = sum of alpha_i y_i x_i

    One alpha after another, in random order, takes its best value: alpha_i - G / |x_i|^2, clipped, with the gradient
    G = y_i w . x_i - 1. Those at a bound whose gradient points outwards by more than in the last epoch are left out
    until the rest has converged (shrinking). It ends when no projected gradient is above the tolerance.

    x (N, D), y (N,) of -1 and 1. Raises ValueError for other shapes and values, and for examples of one sign only.
    """
    check_shape("fit_svm", x=(x, ("N", "D")))
    check_examples(x, y, c, positive_weight)
    c = np.where(y > 0, c * positive_weight, c)  # (N,)
    x = np.concatenate([x, np.full((len(x), 1), bias_scale, x.dtype)], axis=1)
    squares = (x.astype(np.float64) ** 2).sum(axis=1)
    signs, alpha, w = y.astype(np.float64), np.zeros(len(x)), np.zeros(x.shape[1])
    active, bounds, epoch = np.arange(len(x)), (-np.inf, np.inf), 0
    for epoch in range(1, max_epochs + 1):  # noqa: B007  (returned)
        active, bounds = _epoch(x, signs, squares, alpha, w, c, rng.permutation(active), bounds)
        if bounds[1] - bounds[0] > tolerance:
            continue
        if len(active) == len(x):
            break
        active, bounds = np.arange(len(x)), (-np.inf, np.inf)  # look at all of them again
    w = (alpha * signs) @ x  # without the rounding errors of the updates
    violation, gap = optimality(x, y, c, w, alpha)
    return SVM(w[:-1], float(w[-1] * bias_scale), alpha, violation, gap, epoch)


def _epoch(x, signs, squares, alpha, w, c, order, bounds):
    """One update of each alpha in `order`; changes alpha and w. (those that stay active, bounds of the gradients)."""
    low, high = np.inf, -np.inf
    shrink_below, shrink_above = (bounds[0] if bounds[0] < 0 else -np.inf), (bounds[1] if bounds[1] > 0 else np.inf)
    kept = []
    for i in order.tolist():
        g, a = signs[i] * (x[i] @ w) - 1, alpha[i]
        if (a == 0 and g > shrink_above) or (a == c[i] and g < shrink_below):
            continue
        kept.append(i)
        projected = min(g, 0.0) if a == 0 else max(g, 0.0) if a == c[i] else g
        low, high = min(low, projected), max(high, projected)
        if projected != 0:
            alpha[i] = min(max(a - g / squares[i], 0.0), c[i])
            w += ((alpha[i] - a) * signs[i]) * x[i]
    return np.array(kept, np.int64), (low, high) if kept else (0.0, 0.0)


def optimality(
    x: np.ndarray, y: np.ndarray, c: float | np.ndarray, w: np.ndarray, alpha: np.ndarray
) -> tuple[float, float]:
    """(violation, gap): how far w (D,) and alpha (N,) are from the conditions of Karush, Kuhn and Tucker.

    violation: the largest projected gradient: of G_i = y_i w . x_i - 1 what is below 0 where alpha_i = 0, above 0 where
    alpha_i = c_i, all of it between. gap: primal minus dual value, over the primal one. Both are 0 at the optimum.
    c: of all examples, or c_i (N,).
    """
    g = y * (x @ w) - 1
    projected = np.where(alpha <= 0, np.minimum(g, 0), np.where(alpha >= c, np.maximum(g, 0), g))
    primal, dual = objective(x, y, c, w)[0], alpha.sum() - (w @ w) / 2
    return float(abs(projected).max()), float((primal - dual) / primal)


def objective(x: np.ndarray, y: np.ndarray, c: float | np.ndarray, w: np.ndarray) -> tuple[float, np.ndarray]:
    """The primal value |w|^2 / 2 + sum of c_i hinge(y_i w . x_i), and its gradient (D,). c: of all, or (N,)."""
    losses, dscores = hinge(x @ w, y, weights=np.asarray(c), reduction="sum")
    return float(w @ w / 2 + losses), w + dscores @ x


def check_examples(x: np.ndarray, y: np.ndarray, c: float, positive_weight: float = 1.0) -> None:
    """ValueError for signs of another number, other than -1 and 1 or all alike, values not finite, weights <= 0."""
    if np.shape(y) != x.shape[:1]:
        raise ValueError(f"fit_svm: y must have shape ({len(x)},), one for each row of x, got {np.shape(y)}")
    if set(np.unique(y)) != {-1, 1}:
        raise ValueError(f"fit_svm: y must be of -1 and 1, both of them, got {np.unique(y)[:5].tolist()}")
    if not np.isfinite(x).all():
        raise ValueError(f"fit_svm: x must be finite, row {int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])} is not")
    for name, value in {"c": c, "positive_weight": positive_weight}.items():
        if value <= 0:
            raise ValueError(f"fit_svm: {name} must be above 0, got {value}")
