"""Weights of the classes, so that a network learns the rare ones, too."""

from collections.abc import Iterable

import numpy as np


def median_frequency(label_maps: Iterable[np.ndarray], classes: int) -> np.ndarray:
    """w_c = median of all f / f_c, (C,): 1 for a class of median frequency, more for a rarer one.

    f_c = pixels of class c / pixels of the images where it occurs, without those of label -1. A class that never occurs
    has weight 0 and is left out of the median. label_maps: (H, W) int in -1 .. C - 1, of any sizes. Raises ValueError
    for other labels, and if no pixel has a label.

    Reference: Eigen and Fergus 2015, arXiv:1411.4734 (on SIFT Flow); Badrinarayanan et al. 2015, arXiv:1511.00561, sec.
    3.2 ("median frequency balancing").
    """
    pixels, in_images = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for labels in label_maps:
        if labels.dtype.kind not in "iu":
            raise ValueError(f"median_frequency: labels must be whole numbers, got {labels.dtype}")
        if labels.size and not -1 <= labels.min() <= labels.max() < classes:
            got = f"{labels.min()} .. {labels.max()}"
            raise ValueError(f"median_frequency: labels must lie in -1 .. {classes - 1}, got {got}")
        counts = np.bincount(labels[labels >= 0].ravel(), minlength=classes)
        pixels += counts
        in_images += np.where(counts > 0, counts.sum(), 0)
    occurs = pixels > 0
    if not occurs.any():
        raise ValueError("median_frequency: no pixel has a label; is all of the data set marked as unknown?")
    frequency = pixels[occurs] / in_images[occurs]
    weights = np.zeros(classes)
    weights[occurs] = np.median(frequency) / frequency
    return weights
