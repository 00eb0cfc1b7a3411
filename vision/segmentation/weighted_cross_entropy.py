"""Softmax cross-entropy in which every pixel has a weight of its own.

Reference: Ronneberger et al. 2015, arXiv:1505.04597, eq. 1.
"""

import numpy as np

from nn import LogSoftmax
from nn.dispatch import array_module
from nn.layer import check_shape


def weighted_cross_entropy(logits, labels, weights, class_weights=None, normaliser=None) -> tuple[float, np.ndarray]:
    """E = sum over pixels of w -log p[label] / sum of w, and its gradient, where p is the softmax of the logits.

    normaliser: what the sum is divided by instead of the sum of w, a positive number.

    logits (N, C, H, W); labels (N, H, W) int, -1 does not count; weights (N, H, W), finite and not negative. With
    class_weights (C,) each weight is multiplied by that of its label. If all weights are 0, so is E. The paper has a
    sum; here, as in all losses, it is a weighted mean. Raises ValueError for other shapes, labels or weights.
    """
    xp, (n, classes, h, w) = array_module(logits), logits.shape
    check_shape("weighted_cross_entropy", weights=(weights, (n, h, w)))
    if labels.shape != (n, h, w) or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"weighted_cross_entropy: labels must be whole numbers of shape {(n, h, w)}, got {got}")
    if xp is np:
        _check_pixels(labels, weights, classes)
    else:  # a look at them would wait for the GPU: a wrong one makes the value NaN instead
        wrong = (labels < -1) | (labels >= classes) | ~((weights >= 0) & xp.isfinite(weights))
        weights = xp.where(wrong, xp.nan, weights)
    if class_weights is not None:
        weights = weights * xp.asarray(class_weights, weights.dtype)[labels]  # of label -1: any, it does not count
    scale = (weights * (labels >= 0)).astype(logits.real.dtype)[:, None]
    total = scale.sum() if normaliser is None else normaliser
    scale /= total + (total == 0)  # all weights 0: 0, not 0 / 0
    own_class = xp.maximum(labels, 0)[:, None] == xp.arange(classes)[:, None, None]
    log_p, cache = LogSoftmax(axis=1).forward(logits)
    dlog_p = (-scale * own_class).astype(logits.dtype)  # E = sum of -scale log p[label]
    value = (log_p * dlog_p).sum().item()
    if value != value:
        _check_pixels(labels, weights, classes)
    return value, LogSoftmax(axis=1).backward(dlog_p, cache)


def _check_pixels(labels, weights, classes):
    """ValueError for labels outside -1 .. classes - 1, and weights that are negative or not finite."""
    if bool(((labels < -1) | (labels >= classes)).any()):
        raise ValueError(f"weighted_cross_entropy: labels must lie in -1 .. {classes - 1}, got {int(labels.max())}")
    if not bool(((weights >= 0) & array_module(weights).isfinite(weights)).all()):
        raise ValueError("weighted_cross_entropy: weights must be finite and not negative")
