"""Which images are similar, found without labels: neighbours in pixel space, and known changes of the same image.

A graph of neighbours is a list: for each image the sorted indices of its neighbours, an array.
"""

from collections.abc import Sequence

import numpy as np

BLOCK = 1024  # images compared at a time with all others


def pixel_neighbours(images: np.ndarray, k: int = 5) -> list[np.ndarray]:
    """The k nearest of each image by Euclidean distance of pixels, and those that it is one of the k nearest to.

    images (N, ...); a neighbour is mutual. Raises ValueError unless 1 <= k < N. Reference: Hadsell, Chopra and LeCun
    2006, Dimensionality reduction by learning an invariant mapping, sec. 3.2 (5 nearest).
    """
    n = len(images)
    if not 1 <= k < n:
        raise ValueError(f"pixel_neighbours: k must be 1 to {n - 1} for {n} images, got {k}")
    x = np.asarray(images, np.float32).reshape(n, -1)
    squares, edges = (x * x).sum(axis=1), []
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        distance = squares - 2 * (x[rows] @ x.T)  # ||a - b||^2 without ||a||^2, which is the same in a row
        distance[rows - start, rows] = np.inf  # an image is no neighbour of itself
        edges.append(np.argpartition(distance, k - 1, axis=1)[:, :k])
    return mutual(np.concatenate(edges))


def mutual(neighbours: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The graph in which j is a neighbour of i where either is the other's."""
    sets = [set() for _ in neighbours]
    for i, each in enumerate(neighbours):
        for j in map(int, each):
            sets[i].add(j)
            sets[j].add(i)
    return [np.array(sorted(each - {i}), np.int64) for i, each in enumerate(sets)]


def across_changes(neighbours: Sequence[np.ndarray], changes: int) -> list[np.ndarray]:
    """The graph over all changed forms: sample i * changes + s is image i in form s.

    Its neighbours are all forms of image i and of the neighbours of image i: the mapping learns to ignore the change.
    Reference: Hadsell, Chopra and LeCun 2006, sec. 3.3 (shifts by -6, -3, 3 and 6 pixels).
    """
    if changes < 1:
        raise ValueError(f"across_changes: there must be at least 1 form of each image, got {changes}")
    forms, graph = np.arange(changes), []
    for i, each in enumerate(neighbours):
        family = (np.append(each, i)[:, None] * changes + forms).ravel()
        graph += [np.setdiff1d(family, [i * changes + s]) for s in range(changes)]
    return graph
