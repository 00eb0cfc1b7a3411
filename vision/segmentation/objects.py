"""Objects in a labelling: connected components, and how many of them are true objects."""

import numpy as np


def components(mask: np.ndarray) -> np.ndarray:
    """(H, W) int64: 0 outside the mask (H, W) bool, inside it the index 1 .. K of the connected component.

    Pixels left, right, above and below each other are connected. The components are in the order of their first pixels,
    row by row. Raises ValueError for a mask of another kind.

    Every pixel has a parent, at first itself. Of two neighbours' parents the larger gets the smaller one as its parent,
    then parents are replaced by grandparents, until nothing changes: then all pixels of a component have its first
    pixel as parent.

    Reference: Shiloach and Vishkin 1982, An O(log n) parallel connectivity algorithm.
    """
    if mask.ndim != 2 or mask.dtype != bool:
        raise ValueError(f"components: mask must be (H, W) bool, got {mask.dtype} {mask.shape}")
    parent = np.arange(mask.size)
    index = parent.reshape(mask.shape)
    across, down = mask[:, 1:] & mask[:, :-1], mask[1:] & mask[:-1]
    one = np.concatenate([index[:, 1:][across], index[1:][down]])
    other = np.concatenate([index[:, :-1][across], index[:-1][down]])
    while True:
        a, b = parent[one], parent[other]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        parent = parent[parent]
        if (parent[one] == parent[other]).all():
            break
    first = np.unique(parent[mask.ravel()])
    return np.where(mask, np.searchsorted(first, parent.reshape(mask.shape)) + 1, 0)


def match_objects(found: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives) of objects found (H, W) int, given the true ones (H, W) int.

    0 is the background; every object has an index of its own; pixels of truth -1 do not count. A found object is right
    if its IoU with a true one is above the threshold, which is at least 0.5: so no object can have two partners. Raises
    ValueError for different shapes and other thresholds.

    Reference: Caicedo et al. 2019, Nucleus segmentation across imaging experiments, Nature Methods 16, methods.
    """
    if found.shape != truth.shape:
        raise ValueError(f"match_objects: found and truth must have one shape, got {found.shape} and {truth.shape}")
    if not 0.5 <= threshold < 1:
        raise ValueError(f"match_objects: threshold must be at least 0.5 and less than 1, got {threshold}")
    counted = truth >= 0
    ids_found, i = np.unique(found[counted], return_inverse=True)
    ids_true, j = np.unique(truth[counted], return_inverse=True)
    shape = len(ids_found), len(ids_true)
    common = np.bincount(i * shape[1] + j, minlength=shape[0] * shape[1]).reshape(shape)
    union = common.sum(axis=1, keepdims=True) + common.sum(axis=0) - common
    both = (ids_found > 0)[:, None] & (ids_true > 0)
    right = int((common[both] > threshold * union[both]).sum())
    return right, int((ids_found > 0).sum()) - right, int((ids_true > 0).sum()) - right
