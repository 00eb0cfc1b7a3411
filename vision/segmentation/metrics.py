"""How good a labelling is: the figures that follow from a confusion matrix."""

import numpy as np


def confusion_matrix(labels: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """n[i, j], (C, C) int64: pixels of class i that are labelled j. Pixels of truth -1 do not count.

    labels (...) int in 0 .. C - 1, truth (...) int in -1 .. C - 1. Raises ValueError for other values and shapes.
    """
    if labels.shape != truth.shape:
        raise ValueError(
            f"confusion_matrix: labels and truth must have one shape, got {labels.shape} and {truth.shape}"
        )
    counted = truth >= 0
    i, j = truth[counted].astype(np.int64), labels[counted].astype(np.int64)
    for name, values in (("truth", i), ("labels", j)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(
                f"confusion_matrix: {name} must be classes 0 .. {classes - 1}, got {values.min()} .. {values.max()}"
            )
    return np.bincount(classes * i + j, minlength=classes**2).reshape(classes, classes)


def global_accuracy(n: np.ndarray) -> float:
    """Share of all pixels that are right: sum of n_ii / sum of n_ij."""
    return _ratio(n.trace(), n.sum()).item()


def class_accuracy(n: np.ndarray) -> np.ndarray:
    """(C,): share of the pixels of each class that are right, n_ii / t_i, t_i = sum over j of n_ij; NaN for none."""
    return _ratio(n.diagonal(), n.sum(axis=1))


def iou(n: np.ndarray) -> np.ndarray:
    """(C,): n_ii / (t_i + sum over j of n_ji - n_ii), intersection over union. NaN for a class that is nowhere.

    Their mean is mIoU. Reference: Long et al. 2015, arXiv:1411.4038, sec. 5.
    """
    return _ratio(n.diagonal(), n.sum(axis=1) + n.sum(axis=0) - n.diagonal())


def mean(values: np.ndarray) -> float:
    """The mean of the values that are defined, NaN if none is."""
    defined = values[~np.isnan(values)]
    return defined.mean().item() if len(defined) else np.nan


def _ratio(a, b):
    """a / b, NaN for 0 / 0."""
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)
