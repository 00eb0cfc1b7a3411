"""Losses: functions that return (value, gradient) at once, the gradient with respect to their first argument.

All of them weigh and average in one way. With w the weight of an element (1 where none is given, 0 = not counted):

    value = sum of w * loss, divided by   the sum of w       reduction="mean" (default): a weighted mean
                                          1                  reduction="sum"
                                          normaliser         where one is given; reduction is then not used

Where nothing counts (all labels ignored, all weights 0, no elements at all) value and gradient are 0.
The value is a Python float, or complex for a complex prediction, as complex-step gradient checks need it: hence
signs are taken from the real part, and np.abs, which is not analytic, does not occur. The gradient has the shape
and dtype of the prediction. No argument is modified.
"""

import math

import numpy as np

from nn.backend import array_module
from nn.layer import check_shape


def softmax_cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    ignore_index: int = -1,
    class_weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Negative log-likelihood of the labels under a softmax over axis 1.

    p[c] = exp(z[c]) / sum_k exp(z[k])
    loss = -log p[label] = log sum_k exp(z[k]) - z[label]

    logits (N, C, ...) = z; labels (N, ...) of integers in [0, C), or ignore_index where a position does not count;
    class_weights (C,): the weight of a position is that of its label. Returns value, dlogits (N, C, ...).

    Raises ValueError for shapes that do not match, a label outside [0, C), or bad weights, reduction or normaliser.
    """
    owner, xp = "softmax_cross_entropy", array_module(logits)
    check_shape(owner, logits=(logits, ("N", "C") + (None,) * (np.ndim(logits) - 2)))
    labels, counted = _check_labels(owner, labels, logits.shape, ignore_index)
    label = xp.where(counted, labels, 0)[:, None]  # (N, 1, ...); what stands where nothing counts has weight 0
    weights = counted[:, None]
    if class_weights is not None:
        weights = weights * _check_class_weights(logits, class_weights)[label]
    scale = _scale(owner, logits[:, :1], weights, reduction, normaliser)

    z = logits - logits.max(axis=1, keepdims=True)  # a shift changes nothing in a softmax, and exp cannot overflow
    e = xp.exp(z)
    total = e.sum(axis=1, keepdims=True)
    loss = xp.log(total) - xp.take_along_axis(z, label, axis=1)

    # loss = log sum_k exp(z[k]) - z[label]: the first term's derivative is p, the second's the one-hot label
    classes = xp.arange(logits.shape[1]).reshape(-1, *(1,) * (logits.ndim - 2))
    dlogits = scale * (e / total - (classes == label))
    return (scale * loss).sum().item(), dlogits


def binary_cross_entropy_with_logits(
    logits: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Negative log-likelihood of independent yes/no targets under a sigmoid.

    p = 1 / (1 + exp(-x))
    loss = -t * log p - (1 - t) * log(1 - p) = max(x, 0) - x * t + log(1 + exp(-|x|))

    logits = x and targets = t in [0, 1] of one shape, bools welcome; weights: anything that broadcasts to that shape.
    Anchor labels 1, 0 and -1 (not counted) are written targets=labels == 1, weights=labels >= 0.
    Returns value, dlogits.

    Raises ValueError for shapes that do not match, a target outside [0, 1], or bad weights, reduction or normaliser.
    """
    owner, xp = "binary_cross_entropy_with_logits", array_module(logits)
    t = _check_target(owner, logits, "targets", targets, "logits")
    if not bool(((t >= 0) & (t <= 1)).all()):
        got = float(t[~((t >= 0) & (t <= 1))][0])
        raise ValueError(f"{owner}: targets must lie in [0, 1], got {got:g}: give what does not count weight 0")
    scale = _scale(owner, logits, weights, reduction, normaliser)

    positive = logits.real > 0
    e = xp.exp(xp.where(positive, -logits, logits))  # exp(-|x|): cannot overflow
    loss = xp.where(positive, logits, 0) - logits * t + xp.log1p(e)

    # loss = -t * log p - (1 - t) * log(1 - p), with dp/dx = p * (1 - p): what is left is p - t
    p = xp.where(positive, 1, e) / (1 + e)
    return (scale * loss).sum().item(), scale * (p - t)


def smooth_l1(
    prediction: np.ndarray,
    target: np.ndarray,
    beta: float = 1.0,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Squared error near 0, absolute error beyond beta; also known as the Huber loss divided by beta.

    d = prediction - target
    loss = 0.5 * d * d / beta   where |d| < beta
           |d| - 0.5 * beta     elsewhere

    prediction and target of one shape; weights: anything that broadcasts to it, such as (K, 1) for boxes (K, 4).
    The mean is over elements: give normaliser=K for the sum over the 4 coordinates per box. Returns value, dprediction.

    Raises ValueError for shapes that do not match, beta <= 0, or bad weights, reduction or normaliser.
    Reference: Girshick 2015, arXiv:1504.08083, eq. 3; beta is 1 / sigma^2 of the py-faster-rcnn code.
    """
    owner, xp = "smooth_l1", array_module(prediction)
    target = _check_target(owner, prediction, "target", target, "prediction")
    if not (beta > 0 and math.isfinite(beta)):
        raise ValueError(f"{owner}: beta must be a positive number, got {beta}: for a plain L1 loss take a small one")
    scale = _scale(owner, prediction, weights, reduction, normaliser)

    d = prediction - target
    slope = xp.clip(d / float(beta), -1, 1)  # d / beta in the square piece, the sign of d in the linear ones
    loss = slope * (d - 0.5 * float(beta) * slope)  # both pieces of the formula: put in either slope to see it

    # loss = 0.5 * d * d / beta or |d| - 0.5 * beta: the derivative is d / beta or the sign of d
    return (scale * loss).sum().item(), scale * slope


def l2(
    prediction: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Half the squared error, so that its gradient is the plain difference.

    d = prediction - target
    loss = 0.5 * d * d

    prediction and target of one shape; weights: anything that broadcasts to it. The mean is over elements, and half
    of what is called the mean squared error. Returns value, dprediction.

    Raises ValueError for shapes that do not match, or bad weights, reduction or normaliser.
    """
    target = _check_target("l2", prediction, "target", target, "prediction")
    scale = _scale("l2", prediction, weights, reduction, normaliser)

    d = prediction - target
    loss = 0.5 * d * d

    # loss = 0.5 * d * d
    return (scale * loss).sum().item(), scale * d


def _scale(owner, prediction, weights, reduction, normaliser):
    """The factor of every element's loss: its weight over the divisor, in the real dtype of the prediction.

    Keeps the shape of the weights, which broadcasts to that of the prediction.
    """
    xp = array_module(prediction)
    weights = xp.asarray(1 if weights is None else weights, dtype=prediction.real.dtype)
    try:
        spread = xp.broadcast_to(weights, prediction.shape)
    except ValueError:
        raise ValueError(f"{owner}: weights must broadcast to {prediction.shape}, got {weights.shape}") from None
    if not bool(((weights >= 0) & xp.isfinite(weights)).all()):
        raise ValueError(f"{owner}: weights must be finite and not negative")
    if reduction not in ("mean", "sum"):
        raise ValueError(f'{owner}: reduction must be "mean" or "sum", got {reduction!r}')
    if normaliser is not None:
        if not 0 < normaliser < math.inf:
            raise ValueError(
                f"{owner}: normaliser must be a positive number, got {normaliser}: for a count, max(count, 1)"
            )
        return weights / float(normaliser)
    if reduction == "sum":
        return weights
    return weights / (float(spread.sum(dtype=np.float64)) or 1.0)  # all weights 0: nothing counts, the mean is 0


def _check_labels(owner, labels, logits_shape, ignore_index):
    """The labels as int64 and where they count; ValueError unless (N, ...) with values in [0, C) or ignore_index."""
    wanted, classes = logits_shape[:1] + logits_shape[2:], logits_shape[1]
    if not hasattr(labels, "dtype") or labels.dtype.kind not in "iu":
        got = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(
            f"{owner}: labels must be an array of integers, got {got}: convert with labels.astype(np.int64)"
        )
    if labels.shape != wanted:
        raise ValueError(f"{owner}: labels must have shape {wanted} for logits {logits_shape}, got {labels.shape}")
    labels = labels.astype(np.int64, copy=False)
    counted = labels != ignore_index
    wrong = counted & ((labels < 0) | (labels >= classes))
    if bool(wrong.any()):
        got = int(labels[wrong][0])
        raise ValueError(f"{owner}: labels must lie in [0, {classes}) or be ignore_index={ignore_index}, got {got}")
    return labels, counted


def _check_class_weights(logits, class_weights):
    """The class weights as an array (C,) beside the logits; ValueError for any other shape."""
    class_weights = array_module(logits).asarray(class_weights, dtype=logits.real.dtype)
    if class_weights.shape != logits.shape[1:2]:
        wanted, got = logits.shape[1:2], class_weights.shape
        raise ValueError(f"softmax_cross_entropy: class_weights must have shape {wanted}, one per class, got {got}")
    return class_weights


def _check_target(owner, prediction, name, target, prediction_name):
    """The target in the real dtype of the prediction; ValueError unless it has the prediction's shape."""
    check_shape(owner, **{prediction_name: (prediction, (None,) * np.ndim(prediction))})
    if not hasattr(target, "dtype"):
        raise TypeError(f"{owner}: {name} must be an array, got {type(target).__name__}")
    if target.shape != prediction.shape:
        raise ValueError(
            f"{owner}: {name} must have the shape of {prediction_name} {prediction.shape}, got {target.shape}"
        )
    return target.astype(prediction.real.dtype, copy=False)
