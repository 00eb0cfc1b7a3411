"""The generalized distance transform: the best score near every position, less what the way to it costs, in O(n).

Reference: Felzenszwalb and Huttenlocher 2012, Distance transforms of sampled functions, Theory of Computing 8,
doi:10.4086/toc.2012.v008a019, sec. 2, with a maximum for their minimum; Felzenszwalb et al. 2010,
doi:10.1109/TPAMI.2009.167, eq. 5.
"""

import numpy as np

from nn import config
from nn.layer import check_shape
from vision.detection.distance_near import near_rows


def distance_transform(scores: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values (..., H, W) and positions (..., H, W, 2), row and column, of the best displacement from every position.

    values[y, x] = max over (dy, dx) of scores[y + dy, x + dx] - (a dx + b dy + c dx^2 + d dy^2)

    scores (..., H, W); costs (..., 4): a, b, c, d of each map, broadcast over the axes before. The cost is a sum of one
    in x and one in y, so all rows are transformed, then all columns; by distance_near, which is faster, unless
    nn.config.plain. Raises ValueError unless c and d are above 0.
    """
    check_shape("distance_transform", scores=(scores, (*[None] * (scores.ndim - 2), "H", "W")))
    if not (costs[..., 2:] > 0).all():
        raise ValueError(f"distance_transform: quadratic costs must be above 0, got {float(costs[..., 2:].min())}")
    a, b, c, d = (np.broadcast_to(costs[..., i], scores.shape[:-2])[..., None] for i in range(4))
    transform = transform_rows if config.plain else near_rows
    along_x, columns = transform(scores, a, c)
    values, rows = transform(along_x.swapaxes(-1, -2), b, d)  # (..., W, H)
    values, rows = values.swapaxes(-1, -2), rows.swapaxes(-1, -2)
    return values, np.stack([rows, np.take_along_axis(columns, rows, axis=-2)], axis=-1)


def transform_rows(scores: np.ndarray, linear: np.ndarray, quadratic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values and positions q (..., n) of max over q of scores[q] - linear (q - p) - quadratic (q - p)^2.

    scores (..., n); linear and quadratic broadcast to its other axes (...).
    """
    shape, n = scores.shape, scores.shape[-1]
    linear, quadratic = (np.broadcast_to(each, shape[:-1]).reshape(-1) for each in (linear, quadratic))
    flat = np.ascontiguousarray(scores).reshape(-1, n)
    best = owners(*upper_envelope(flat, linear, quadratic))
    apart = (best - np.arange(n)).astype(scores.dtype)
    values = np.take_along_axis(flat, best, axis=1) - linear[:, None] * apart - quadratic[:, None] * apart**2
    return values.reshape(shape), best.reshape(shape)


def upper_envelope(f: np.ndarray, linear: np.ndarray, quadratic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """peaks (M, n) and bounds (M, n): which of the n parabolas of each row f (M, n) are the highest, and from where on.

    Parabola q is f[q] - linear (q - p) - quadratic (q - p)^2 at p. All of a row have one shape, so two of them cross
    once, and the later one is higher behind that. From left to right, parabola q hides the last of the envelope where
    it crosses it before that one begins. Each is hidden once at most: O(n). All rows go on together.
    """
    m, n = f.shape
    peaks, bounds = np.zeros((m, n), np.int64), np.full((m, n), np.inf)
    bounds[:, 0] = -np.inf
    last = np.zeros(m, np.int64)  # index of the last parabola of each row's envelope
    for q in range(1, n):
        rows = np.arange(m)
        while len(rows):
            k = last[rows]
            v, a, b = peaks[rows, k], quadratic[rows], linear[rows]
            # f[q] - b (q - p) - a (q - p)^2 = f[v] - b (v - p) - a (v - p)^2
            crossing = (f[rows, v] - f[rows, q] + b * (q - v) + a * (q**2 - v**2)) / (2 * a * (q - v))
            hides = crossing <= bounds[rows, k]
            bounds[rows[hides], k[hides]] = np.inf
            last[rows[hides]] -= 1
            kept, k = rows[~hides], k[~hides] + 1
            peaks[kept, k], bounds[kept, k], last[kept] = q, crossing[~hides], k
            rows = rows[hides]
    return peaks, bounds


def owners(peaks: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(M, n): the highest parabola at each position of each row, from its envelope."""
    m, n = peaks.shape
    first = np.clip(np.ceil(bounds), 0, n).astype(np.int64)  # first position of each parabola, n for none
    steps = np.bincount((np.arange(m)[:, None] * (n + 1) + first).ravel(), minlength=m * (n + 1))
    return np.take_along_axis(peaks, steps.reshape(m, n + 1)[:, :n].cumsum(axis=1) - 1, axis=1)
