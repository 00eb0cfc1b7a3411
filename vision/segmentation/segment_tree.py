"""Superpixels, the tree of their merging, and the purest of its nodes above each superpixel.

Reference: Farabet et al. 2013, Learning hierarchical features for scene labeling, IEEE Transactions on Pattern Analysis
and Machine Intelligence 35 (8), doi:10.1109/TPAMI.2012.231, sec. 4.
"""

import numpy as np


def superpixels(image: np.ndarray, size: int = 100) -> np.ndarray:
    """(H, W) int64, 0 .. K - 1: connected superpixels of at least `size` pixels, by scikit-image's felzenszwalb.

    image (H, W, 3) uint8. Raises ValueError for another shape, size < 1, and if scikit-image is not installed.

    Reference: Felzenszwalb and Huttenlocher 2004, Efficient graph-based image segmentation.
    """
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError:
        raise ValueError("superpixels need scikit-image: pip install scikit-image") from None
    if image.ndim != 3 or image.shape[2] != 3 or size < 1:
        raise ValueError(f"superpixels: image must be (H, W, 3) and size at least 1, got {image.shape} and {size}")
    return felzenszwalb(image, scale=size, sigma=0.8, min_size=size)


def segment_means(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(K, C): the mean of the probabilities (C, H, W) over each segment of labels (H, W).

    Raises ValueError for probabilities of another shape.
    """
    if probabilities.ndim != 3 or probabilities.shape[1:] != labels.shape:
        wanted = f"(C, {labels.shape[0]}, {labels.shape[1]})"
        raise ValueError(f"segment_means: probabilities must have shape {wanted}, got {probabilities.shape}")
    flat = labels.ravel()
    sums = np.stack([np.bincount(flat, plane.ravel()) for plane in probabilities], axis=1)
    return sums / np.bincount(flat)[:, None]


def majority(image: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(C, H, W): at each pixel the mean of the probabilities over its superpixel (sec. 4.1)."""
    return segment_means(labels, probabilities).T[:, labels].astype(probabilities.dtype)


def boundary_strengths(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(pairs (E, 2), strengths (E,)): which segments touch, and how different they are along their common boundary.

    strength: the mean distance between the colours of two neighbouring pixels, one from each segment.
    """
    image, count = image.astype(np.float64), labels.max() + 1
    keys, distances = [], []
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = labels[one], labels[other]
        apart = a != b
        keys.append((np.minimum(a, b) * count + np.maximum(a, b))[apart])
        distances.append(np.sqrt(((image[one] - image[other]) ** 2).sum(axis=-1))[apart])
    pairs, which = np.unique(np.concatenate(keys), return_inverse=True)
    strengths = np.bincount(which, np.concatenate(distances)) / np.bincount(which) if len(pairs) else np.zeros(0)
    return np.stack([pairs // count, pairs % count], axis=1), strengths


def merge_tree(count: int, pairs: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """(2 count - 1,): the parents of the nodes of a binary tree; 0 .. count - 1 are the segments, the last its root.

    Segments merge in the order of the strengths, the weakest boundary first: Kruskal's minimum spanning tree. The
    root's parent is itself; every other parent has a higher index than its children. Raises ValueError unless all
    segments are connected.
    """
    parents, root = np.arange(2 * count - 1), np.arange(2 * count - 1)
    node = count
    for i in np.argsort(strengths, kind="stable"):
        a, b = (_top(root, segment) for segment in pairs[i])
        if a != b:
            parents[[a, b]] = root[[a, b]] = node
            node += 1
    if node != 2 * count - 1:
        raise ValueError(f"merge_tree: the {count} segments are not all connected")
    return parents


def _top(root, node):
    """The top of the tree that holds a node; the way there is halved for the next time."""
    while root[node] != node:
        root[node] = root[root[node]]
        node = root[node]
    return node


def cover(parents: np.ndarray, histograms: np.ndarray) -> np.ndarray:
    """(leaves,): for each leaf the purest node on its way to the root, the highest of several equally pure ones.

    histograms (nodes, C): the distribution of classes in each node, whose impurity is the entropy S = -sum of p log p.
    The nodes chosen for all leaves are the optimal cover (sec. 4.3).
    """
    entropy = -(histograms * np.log(np.maximum(histograms, 1e-12))).sum(axis=1)
    best = np.arange(len(parents))
    for node in range(len(parents) - 2, -1, -1):  # from the root down
        above = best[parents[node]]
        if entropy[above] <= entropy[node]:
            best[node] = above
    return best[: (len(parents) + 1) // 2]
