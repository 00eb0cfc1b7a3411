"""What all losses share: how they weigh and average, and the checks of their labels, targets and weights.

With w the weight of an element, a position or a pair (1 where none is given, 0 where it does not count):

    value = sum of w * loss, divided by   the sum of w       reduction="mean" (default): a weighted mean
                                          1                  reduction="sum"
                                          normaliser         where one is given; reduction is then not used

Where nothing counts (all labels ignored, all weights 0, no elements at all) value and gradient are 0. A batch may be
computed in parts, see nn/losses/parts.py: a mean is then that over the whole batch.

Shapes and types are checked before a version of a loss is picked, values (labels, targets, weights) by the version:
on a GPU each such check would cost a transfer, see nn/gpu/losses.py.
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.layer import FLOATS, check_shape, not_floats
from nn.losses.parts import count_of_batch


def loss_scale(owner, losses, weights, reduction, normaliser):
    """The factor of every element's loss: its weight over the divisor, in the real dtype of `losses`.

    losses: an array with the shape, dtype and device of the losses, such as the prediction. The factor keeps the shape
    of the weights, which broadcasts to that.
    """
    xp = array_module(losses)
    weights = xp.asarray(1 if weights is None else weights, dtype=losses.real.dtype)
    check_weights(owner, "weights", weights)
    total = broadcast_weights(owner, losses, weights).sum(dtype=np.float64)
    return xp.asarray(weights / divisor(owner, reduction, normaliser, total), dtype=weights.dtype)


def label_scale(owner, scores, labels, ignore_index, class_weights, reduction, normaliser):
    """For scores (N, C, ...) and labels (N, ...): label (N, 1, ...), unit (N, 1, ...) and class weights (C,).

    unit is 1 / divisor where the label counts, and the factor of a loss there is unit * weights[label]. Where the label
    is ignore_index, unit is 0 and label is 0. Raises ValueError for a label outside [0, C) and for bad class weights.
    """
    xp, dtype, classes = array_module(scores), scores.real.dtype, scores.shape[1]
    counted = labels != ignore_index
    wrong = counted & ((labels < 0) | (labels >= classes))
    if bool(wrong.any()):
        got = int(labels[wrong][0])
        raise ValueError(f"{owner}: labels must lie in [0, {classes}) or be ignore_index={ignore_index}, got {got}")
    weights = xp.ones(classes, dtype) if class_weights is None else class_weights
    if class_weights is not None:
        check_weights(owner, "class_weights", class_weights)
    label = xp.where(counted, labels, 0)[:, None]  # (N, 1, ...)
    unit = counted[:, None].astype(dtype)
    total = (unit * weights[label]).sum(dtype=np.float64)
    return label, unit / divisor(owner, reduction, normaliser, total), weights


def divisor(owner, reduction, normaliser, total):
    """What the sum of weighted losses is divided by; total: the sum of the weights. Infinity where nothing counts."""
    if is_sum(owner, reduction, normaliser):
        return 1.0
    return count_of_batch(total if normaliser is None else normaliser) or math.inf  # all weights 0: the mean is 0


def is_sum(owner, reduction, normaliser):
    """Whether nothing is divided; ValueError for bad options."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f'{owner}: reduction must be "mean" or "sum", got {reduction!r}')
    if normaliser is not None and not 0 <= normaliser < math.inf:
        raise ValueError(f"{owner}: normaliser must be a number of at least 0, got {normaliser}")
    return normaliser is None and reduction == "sum"


def one_hot(labels: np.ndarray, classes: int, axis: int = 1) -> np.ndarray:
    """Bools (N, C, ...), True where the class is the label.    labels (N, ...) of integers; the classes along `axis`.

    A label outside [0, C), such as -1, is no class: all is False there.
    """
    axis %= labels.ndim + 1
    labels = labels.reshape(*labels.shape[:axis], 1, *labels.shape[axis:])  # (N, 1, ...)
    return array_module(labels).arange(classes).reshape(-1, *(1,) * (labels.ndim - 1 - axis)) == labels  # (C, 1, ...)


def check_scores(owner, name, scores, labels):
    """The labels as int64; ValueError unless scores is (N, C, ...), C > 0, and labels (N, ...) of integers."""
    if not hasattr(scores, "dtype") or scores.dtype.char not in FLOATS:
        raise TypeError(not_floats(owner, name, scores))
    shape = scores.shape
    if len(shape) < 2:
        raise ValueError(f"{owner}: {name} must have shape (N, C), got {shape}")
    if not shape[1]:
        raise ValueError(f"{owner}: {name} must have at least one class, got {shape}")
    if not hasattr(labels, "dtype") or labels.dtype.kind not in "iu":
        got = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(
            f"{owner}: labels must be an array of integers, got {got}: convert with labels.astype(np.int64)"
        )
    if labels.shape != shape[:1] + shape[2:]:
        raise ValueError(
            f"{owner}: labels must have shape {shape[:1] + shape[2:]} for {name} {shape}, got {labels.shape}"
        )
    return labels.astype(np.int64, copy=False)


def check_class_weights(owner, scores, class_weights):
    """The class weights as an array (C,) of the real dtype of the scores, on their device."""
    weights, wanted = array_module(scores).asarray(class_weights, dtype=scores.real.dtype), scores.shape[1:2]
    if weights.shape != wanted:
        raise ValueError(f"{owner}: class_weights must have shape {wanted}, one per class, got {weights.shape}")
    return weights


def check_weights(owner, name, weights):
    """ValueError unless all weights are finite and at least 0."""
    if not bool(((weights >= 0) & array_module(weights).isfinite(weights)).all()):
        raise ValueError(f"{owner}: {name} must be finite and not negative")


def broadcast_weights(owner, losses, weights):
    """The weights in the shape of the losses; ValueError where they do not broadcast to it."""
    try:
        return array_module(losses).broadcast_to(weights, losses.shape)
    except ValueError:
        raise ValueError(f"{owner}: weights must broadcast to {losses.shape}, got {weights.shape}") from None


def check_target(owner, prediction, name, target, prediction_name):
    """The target in the real dtype of the prediction; ValueError unless it has the prediction's shape."""
    check_shape(owner, **{prediction_name: (prediction, (None,) * np.ndim(prediction))})
    if not hasattr(target, "dtype"):
        raise TypeError(f"{owner}: {name} must be an array, got {type(target).__name__}")
    if target.shape != prediction.shape:
        raise ValueError(
            f"{owner}: {name} must have the shape of {prediction_name} {prediction.shape}, got {target.shape}"
        )
    return target.astype(prediction.real.dtype, copy=False)


def check_at_least_0(owner, **options):
    """Raise ValueError unless each of the options is finite and at least 0."""
    for name, value in options.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{owner}: {name} must be a number of at least 0, got {value}")
