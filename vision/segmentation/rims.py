"""Objects that touch come apart: their rims are a class of its own, and what lies inside them is grown to their edges.

Reference: Caicedo et al. 2019, Evaluation of deep learning strategies for nucleus segmentation in fluorescence images,
Cytometry Part A 95 (9), doi:10.1002/cyto.a.23863: three classes, background, interior and boundary.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vision.segmentation.objects import components


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


def separated(inside: np.ndarray, foreground: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """(H, W) int64: 0 for the background, 1 .. K for the objects, from two probabilities (H, W) of each pixel.

    inside: to lie in an object and not on a rim. foreground: to lie in an object. The connected parts with inside >
    threshold are the seeds; a watershed of 1 - inside grows them over the pixels of foreground > 1/2. A connected part
    of these without a seed is an object of its own. Raises ValueError if scikit-image is not installed.
    """
    try:
        from skimage.segmentation import watershed
    except ImportError:
        raise ValueError("rim needs scikit-image for its watershed: pip install scikit-image") from None
    mask = foreground > 0.5
    seeds = components((inside > threshold) & mask)
    grown = watershed(1 - inside, seeds, mask=mask).astype(np.int64)
    rest = components(mask & (grown == 0))
    return np.where(rest > 0, seeds.max(initial=0) + rest, grown)


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
