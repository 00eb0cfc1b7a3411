"""Linear logistic classifiers, many at once on the same features."""

import numpy as np

from nn import binary_cross_entropy_with_logits


def fit_logistic(
    x: np.ndarray, y: np.ndarray, penalty: float = 1e-3, steps: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    """(weight (M, D), bias (M,)) of the minimum, for each of M classifiers alone, of

        mean over n of cross-entropy(y_n, sigmoid(w . x_n + b)) + penalty / 2 |w|^2

    x (N, D), y (N, M) of 0 .. 1, by Nesterov's accelerated gradient method. The gradient changes no faster than
    L = |x'|^2 / 4 N + penalty, with |x'| the largest singular value of x and a column of ones: 1 / L is the step.
    Raises ValueError for no examples and values that are not finite.

    Reference: Nesterov 1983, A method of solving a convex programming problem with convergence rate O(1/k^2).
    """
    if not len(x) or not np.isfinite(x).all():
        raise ValueError(f"fit_logistic: x must be finite examples, got {len(x)} of them")
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
    w = ahead = np.zeros((x.shape[1], y.shape[1]))
    held = np.full(w.shape, penalty)
    held[-1] = 0  # no penalty on the bias
    step = 1 / (np.linalg.eigvalsh(x.T @ x)[-1] / (4 * len(x)) + penalty)
    for k in range(steps):
        _, dlogits = binary_cross_entropy_with_logits(x @ ahead, y.astype(np.float64), normaliser=len(x))
        new = ahead - step * (x.T @ dlogits + held * ahead)
        w, ahead = new, new + k / (k + 3) * (new - w)
    return w[:-1].T, w[-1]
