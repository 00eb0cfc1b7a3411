"""Objects that touch come apart: seeds inside them are grown to their edges by a watershed.

The seeds are what lies inside the rims, which are a class of their own, or where the distance to the background peaks.

References: Caicedo et al. 2019, Evaluation of deep learning strategies for nucleus segmentation in fluorescence images,
Cytometry Part A 95 (9), doi:10.1002/cyto.a.23863 (the classes background, interior and boundary); Vincent and Soille
1991, Watersheds in digital spaces, IEEE Transactions on Pattern Analysis and Machine Intelligence 13 (6) (distances).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vision.segmentation.objects import components
from vision.segmentation.weight_map import distance


def rims(objects: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: pixels of an object within `width` pixels, diagonals too, of another object or of the background.

    objects (H, W) int: 0 is the background, every object has an index of its own. The image's edge is no rim.
    """
    inside = objects
    for _ in range(width):
        around = sliding_window_view(np.pad(inside, 1, mode="edge"), (3, 3))  # (H, W, 3, 3)
        inside = np.where(around.min(axis=(2, 3)) == around.max(axis=(2, 3)), inside, 0)
    return (objects > 0) & (inside == 0)


def seams(objects: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of an object whose neighbour at the left or above belongs to another object."""
    found = np.zeros(objects.shape, bool)
    for into, one, other in ((found[1:], objects[1:], objects[:-1]), (found[:, 1:], objects[:, 1:], objects[:, :-1])):
        into |= (one != other) & (one > 0) & (other > 0)
    return found


def by_rims(inside: np.ndarray, mask: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """(H, W) int64: 0 outside of the mask (H, W) bool, 1 .. K for its objects.

    inside (H, W): the probability to lie in an object and not on its rim. The seeds are the connected parts of the mask
    where it is above the threshold. Raises ValueError if scikit-image is not installed.
    """
    return grown(components((inside > threshold) & mask), inside, mask)


def by_distance(mask: np.ndarray, height: float = 0.3) -> np.ndarray:
    """(H, W) int64: 0 outside of the mask (H, W) bool, 1 .. K for its objects, which come apart where it is narrow.

    The seeds are the peaks of the distance to the background, smoothed by a Gaussian of one pixel: those that rise
    `height` pixels above the pass to a higher one. Raises ValueError if scikit-image is not installed.
    """
    needed()
    from skimage.filters import gaussian
    from skimage.morphology import h_maxima

    if mask.all():
        return np.ones(mask.shape, np.int64)
    depth = gaussian(distance(~mask), 1, preserve_range=True)
    return grown(components((h_maxima(depth, height) > 0) & mask), depth, mask)


def grown(seeds: np.ndarray, depth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) int64: the seeds (H, W) int, 0 for none, over the mask: a watershed of -depth (H, W).

    A connected part of the mask without a seed is an object of its own.
    """
    needed()
    from skimage.segmentation import watershed

    found = watershed(-depth, seeds, mask=mask).astype(np.int64)
    rest = components(mask & (found == 0))
    return np.where(rest > 0, seeds.max(initial=0) + rest, found)


def needed():
    """ValueError if scikit-image is not installed."""
    try:
        import skimage  # noqa: F401
    except ImportError:
        raise ValueError("separate needs scikit-image for its watershed: pip install scikit-image") from None


def classes_of(objects: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(H, W) int64: 0 for the background, 1 + c for objects whose sum over their pixels is largest in probabilities[c].

    objects (H, W) int with the indices 0 .. K, probabilities (C, H, W).
    """
    sums = np.stack([np.bincount(objects.ravel(), p.ravel(), objects.max(initial=0) + 1) for p in probabilities])
    best = 1 + sums.argmax(axis=0)
    best[0] = 0
    return best[objects]


def without_specks(objects: np.ndarray, smallest: int) -> np.ndarray:
    """Objects (H, W) int with 0 for those of less than `smallest` pixels, the others renumbered from 1."""
    sizes = np.bincount(objects.ravel())
    kept = sizes >= smallest
    kept[0] = False
    return (np.cumsum(kept) * kept)[objects]
