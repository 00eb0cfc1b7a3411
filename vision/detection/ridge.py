"""Ridge regression in closed form.

Reference: Girshick et al. 2014, R-CNN, arXiv:1311.2524, appendix C, eq. 5.
"""

import numpy as np

from nn.layer import check_shape


def fit_ridge(x: np.ndarray, t: np.ndarray, penalty: float) -> np.ndarray:
    """The w (D, M) with the least |x w - t|^2 + penalty |w|^2, for x (N, D) and targets t (N, M).

    w = (x^T x + penalty I)^-1 x^T t = x^T (x x^T + penalty I)^-1 t: the smaller system of both is solved, in float64.
    Raises ValueError for other shapes, and a penalty that is not above 0.
    """
    check_shape("fit_ridge", x=(x, ("N", "D")), t=(t, (len(x), "M")))
    if not penalty > 0:
        raise ValueError(f"fit_ridge: penalty must be above 0, got {penalty}")
    x, t = x.astype(np.float64), t.astype(np.float64)
    n, d = x.shape
    if n < d:
        return x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(n), t)
    return np.linalg.solve(x.T @ x + penalty * np.eye(d), x.T @ t)
