"""Gaussian filtering in many dimensions: values are spread to a sparse lattice of simplices, blurred and read back.

Reference: Adams, Baek and Davis 2010, Fast high-dimensional filtering using the permutohedral lattice, Computer
Graphics Forum 29 (2).
"""

import numpy as np


class PermutohedralLattice:
    """y_i = about sum over j of exp(-|f_i - f_j|^2 / 2) v_j, times a constant.    v, y (N, C), f (N, d).

    The f_i are mapped to the hyperplane of R^(d+1) whose coordinates sum up to 0. The lattice holds all of its points
    whose coordinates are integers with the same remainder k modulo d + 1. Each f_i falls into a simplex of d + 1
    lattice points, one for each k, and v_i goes to them by the barycentric coordinates of f_i (splat); each lattice
    point then takes half of its two neighbours in each of the d + 1 directions (blur); y is read with the same weights
    (slice). The work grows with N d^2; the sum itself takes N^2 d.

    Raises ValueError for features that are not finite, or too far apart for 64-bit keys of the lattice points.
    """

    def __init__(self, features: np.ndarray):
        if features.ndim != 2 or not features.size or not np.isfinite(features).all():
            raise ValueError(f"PermutohedralLattice: features must be finite, (N, d), got shape {features.shape}")
        n, d = features.shape
        remainder0, rank, weights = enclosing_simplices(features)
        lowest = remainder0.min(axis=0) - 2 * (d + 1)  # a margin: neighbours of the points have keys, too
        sizes = (remainder0.max(axis=0) + 2 * (d + 1) - lowest + 1)[:d].astype(object)
        radix = [int(np.prod(sizes[i + 1 :])) for i in range(d)]  # the last coordinate follows from the others
        if radix[0] * sizes[0] >= 2**63:
            raise ValueError(f"PermutohedralLattice: features of {d} dimensions are spread too far, take them smaller")
        radix, k = np.array(radix), np.arange(d + 1)
        # vertex k is remainder0 + k in the coordinates of the d + 1 - k lowest ranks, k - (d + 1) more in the others
        keys = np.stack([
            (remainder0[:, :d] - lowest[:d] + np.where(rank[:, :d] <= d - each, each, each - (d + 1))) @ radix
            for each in k
        ])  # fmt: skip
        points, self.vertices = np.unique(keys, return_inverse=True)  # keys and vertices (d + 1, N)
        self.vertices, self.weights = self.vertices.reshape(d + 1, n), weights.T.astype(np.float32)
        self.count = len(points)
        steps = [radix.sum() - ((d + 1) * radix[j] if j < d else 0) for j in range(d + 1)]
        self.neighbours = [(self._find(points, points + step), self._find(points, points - step)) for step in steps]

    def _find(self, points, wanted):
        """The index of each wanted point among the sorted ones; `count` where there is none."""
        index = np.searchsorted(points, wanted)
        return np.where(points[np.minimum(index, self.count - 1)] == wanted, index, self.count)

    def filter(self, values: np.ndarray) -> np.ndarray:
        """(N, C) float32: the values (N, C) of each channel, filtered. ValueError for another N than the features'."""
        n, channels = values.shape
        if n != self.vertices.shape[1]:
            raise ValueError(f"PermutohedralLattice: values must be ({self.vertices.shape[1]}, C), got {values.shape}")
        lattice = np.zeros((self.count + 1, channels), np.float32)  # the last row is 0: missing neighbours
        for channel, v in enumerate(values.T):  # splat
            spread = (self.weights * v).ravel()
            lattice[:-1, channel] = np.bincount(self.vertices.ravel(), spread, self.count)
        for after, before in self.neighbours:
            lattice[:-1] += (lattice[after] + lattice[before]) / 2
        y = np.zeros((n, channels), np.float32)
        for vertex, weight in zip(self.vertices, self.weights):  # slice
            y += lattice[vertex] * weight[:, None]
        return y


def enclosing_simplices(features: np.ndarray):
    """The simplex around each of the features (N, d): remainder0 (N, d+1), rank (N, d+1), weights (N, d+1).

    remainder0: its vertex of remainder 0. rank: the rank of each coordinate of (point - vertex) in falling order.
    weights: the barycentric coordinates, for the vertices of remainder 0, 1, ... d.

    Reference: Adams et al. 2010, sec. 3.1, 3.2 and app. A.
    """
    n, d = features.shape
    elevated = features @ elevation(d).T
    remainder0 = np.floor(elevated / (d + 1) + 0.5).astype(np.int64)  # each coordinate to the nearest multiple of d + 1
    excess = remainder0.sum(axis=1, keepdims=True)
    remainder0 *= d + 1
    order = np.argsort(remainder0 - elevated, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(d + 1)[None], axis=1)
    rank += excess  # where the sum is not 0, the coordinates that were rounded furthest go one step back
    step = np.where(rank < 0, d + 1, np.where(rank > d, -(d + 1), 0))
    rank, remainder0 = rank + step, remainder0 + step
    falling = np.take_along_axis((elevated - remainder0) / (d + 1), np.argsort(rank, axis=1), axis=1)
    # weight of vertex k: falling[d - k] - falling[d + 1 - k]; the rest goes to vertex 0
    weights = np.empty((n, d + 1))
    weights[:, 1:] = falling[:, d - 1 :: -1] - falling[:, :0:-1]
    weights[:, 0] = 1 - falling[:, 0] + falling[:, d]
    return remainder0, rank, weights


def elevation(d: int) -> np.ndarray:
    """(d + 1, d): from R^d to the hyperplane; scaled so that splat, blur and slice have a standard deviation of 1.

    The columns are orthogonal and have length sqrt(2/3) (d + 1).
    """
    e = np.zeros((d + 1, d))
    for i in range(d):
        e[: i + 1, i], e[i + 1, i] = 1, -(i + 1)
        e[:, i] /= np.sqrt((i + 1) * (i + 2))
    return e * np.sqrt(2 / 3) * (d + 1)
