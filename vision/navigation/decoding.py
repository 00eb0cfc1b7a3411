"""Does an agent know where it is? Its position is read from its hidden state by a linear map, fitted afterwards.

Mirowski et al. fit a linear classifier over the cells of the maze; here least squares with a small ridge penalty gives
the coordinates, and the error has a unit. No gradient of it reaches the agent.

Reference: Mirowski et al. 2017, arXiv:1611.03673, position decoding.
"""

import numpy as np

from nn.layer import check_shape

FOLDS, RIDGE = 4, 1e-3


def ridge(x: np.ndarray, y: np.ndarray, penalty: float = RIDGE) -> tuple[np.ndarray, np.ndarray]:
    """(weight (D, K), bias (K,)) that minimise mean(||x @ weight + bias - y||^2) + penalty ||weight||^2.

    x (M, D), y (M, K). With centred x and y, weight = (x'x / M + penalty I)^-1 x'y / M.
    """
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y, m = x - mean_x, y - mean_y, len(x)
    weight = np.linalg.solve(x.T @ x / m + penalty * np.eye(x.shape[1]), x.T @ y / m)
    return weight, mean_y - mean_x @ weight


def position_error(hidden: np.ndarray, position: np.ndarray) -> dict[str, float]:
    """How far positions read from hidden states lie from the true ones, on average, in cells.

    hidden (T, N, D) and position (T, N, 2) of N agents. Each is measured by a map fitted on the others: a quarter of
    the agents is held out at a time. position_error: of the map; mean_position_error: of the mean position of the
    others, which knows nothing. Raises ValueError for arrays of other shapes, and for one agent.
    """
    check_shape("position_error", hidden=(hidden, ("T", "N", "D")))
    check_shape("position_error", position=(position, (*hidden.shape[:2], 2)))
    n = hidden.shape[1]
    if n < 2:
        raise ValueError(f"position_error: needs two agents at least, to hold out one, got {n}")
    folds = np.arange(n) % FOLDS
    read, mean = np.zeros(position.shape), np.zeros(position.shape)
    for fold in np.unique(folds):
        out, size = folds == fold, hidden.shape[2]
        seen = position[:, ~out].reshape(-1, 2)
        weight, bias = ridge(hidden[:, ~out].reshape(-1, size).astype(np.float64), seen)
        read[:, out], mean[:, out] = hidden[:, out] @ weight + bias, seen.mean(axis=0)
    found = {"position_error": read, "mean_position_error": mean}
    return {name: float(np.linalg.norm(p - position, axis=2).mean()) for name, p in found.items()}
