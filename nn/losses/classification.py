"""Losses: functions that return (value, gradient) at once, the gradient with respect to their first argument.

Here: cross entropies for classes, and distances for regression. nn/losses/hinge.py has the losses of support vector
machines, nn/losses/metric.py those of pairs and triplets of embeddings. All of them average in one way, which
nn/losses/common.py explains: `reduction` is "mean" (over the sum of the weights) or "sum"; a `normaliser` to divide by
takes its place.

The value is a Python float, or complex for a complex prediction, as complex-step gradient checks need it: hence
signs are taken from the real part, and np.abs, which is not analytic, does not occur. The gradient has the shape
and dtype of the prediction. No argument is modified.
"""

import math

import numpy as np

from nn.config import config
from nn.cpu.chunks import PIECE, in_blocks
from nn.dispatch import array_module
from nn.gpu import losses as losses_cuda
from nn.losses.common import check_target, labels_and_scale, loss_scale, one_hot


def softmax_cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    ignore_index: int = -1,
    class_weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, np.ndarray]:
    """Negative log-likelihood of the labels under a softmax over axis 1.

    p[c] = exp(z[c]) / sum_k exp(z[k])
    loss = -log p[label] = log sum_k exp(z[k]) - z[label]

    logits (N, C, ...) = z; labels (N, ...) of integers in [0, C), or ignore_index where a position does not count;
    class_weights (C,) = w: the weight of a position is that of its label. Returns value, dlogits (N, C, ...).

    label_smoothing = s takes s of the label's probability and spreads it over all C classes, as PyTorch does it:

    w * loss = -(1 - s) * w[label] * log p[label] - s / C * sum_k w[k] * log p[k]

    and the mean divides by the sum of the w[label] nonetheless.

    Raises ValueError for shapes that do not match, a label outside [0, C), label_smoothing outside [0, 1], or bad
    weights, reduction or normaliser. Reference for smoothing: Szegedy et al. 2016, arXiv:1512.00567, sec. 7.
    """
    owner, xp, s = "softmax_cross_entropy", array_module(logits), float(label_smoothing)
    if not 0 <= s <= 1:
        raise ValueError(f"{owner}: label_smoothing must lie in [0, 1], got {label_smoothing}")
    average = class_weights, reduction, normaliser
    if on_gpu := losses_cuda.softmax_cross_entropy(logits, labels, ignore_index, *average, s):
        return on_gpu
    label, unit, weights = labels_and_scale(owner, "logits", logits, labels, ignore_index, *average)
    scale = unit * weights[label]
    if xp is np and not s and not config.plain:
        return cross_entropy_in_pieces(logits, label, scale)

    z = logits - logits.max(axis=1, keepdims=True)  # a shift changes nothing in a softmax, and exp cannot overflow
    e = xp.exp(z)
    total = e.sum(axis=1, keepdims=True)
    p, log_total = e / total, xp.log(total)
    value = (scale * (log_total - xp.take_along_axis(z, label, axis=1))).sum()

    # loss = log sum_k exp(z[k]) - z[label]: the first term's derivative is p, the second's the one-hot label
    dlogits = scale * (p - one_hot(label, logits.shape[1]))

    if s:  # the same with every class in turn for the label
        share = unit * weights.reshape(-1, *(1,) * (logits.ndim - 2)) / len(weights)
        value = (1 - s) * value + s * (share * (log_total - z)).sum()
        dlogits = (1 - s) * dlogits + s * (share.sum(axis=1, keepdims=True) * p - share)
    return value.item(), dlogits


def cross_entropy_in_pieces(logits, label, scale):
    """The same without smoothing, in pieces shared among threads. label, scale (N, 1, ...). Returns value, dlogits."""
    shape = *logits.shape[:2], math.prod(logits.shape[2:])
    whole, logits, label, scale = logits.shape, *(a.reshape(*a.shape[:2], shape[2]) for a in (logits, label, scale))
    dlogits = np.empty(shape, logits.dtype)

    def piece(b):
        e, at, factor = dlogits[b], label[b], scale[b]
        np.subtract(logits[b], logits[b].max(axis=1, keepdims=True), out=e)
        z_label = np.take_along_axis(e, at, axis=1)
        np.exp(e, out=e)
        total = e.sum(axis=1, keepdims=True)
        e *= factor / total  # scale * p
        np.put_along_axis(e, at, np.take_along_axis(e, at, axis=1) - factor, axis=1)
        return (factor * (np.log(total) - z_label)).sum()

    value = sum(in_blocks(piece, shape, piece=2 * PIECE), dlogits.dtype.type(0))
    return value.item(), dlogits.reshape(whole)


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
    t = check_target(owner, logits, "targets", targets, "logits")
    if on_gpu := losses_cuda.elementwise(owner, logits, t, weights, reduction, normaliser):
        return on_gpu
    if not bool(((t >= 0) & (t <= 1)).all()):
        got = float(t[~((t >= 0) & (t <= 1))][0])
        raise ValueError(f"{owner}: targets must lie in [0, 1], got {got:g}: give what does not count weight 0")
    scale = loss_scale(owner, logits, weights, reduction, normaliser)

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
    target = check_target(owner, prediction, "target", target, "prediction")
    if not (beta > 0 and math.isfinite(beta)):
        raise ValueError(f"{owner}: beta must be a positive number, got {beta}: for a plain L1 loss take l1")
    if on_gpu := losses_cuda.elementwise(owner, prediction, target, weights, reduction, normaliser, beta):
        return on_gpu
    scale = loss_scale(owner, prediction, weights, reduction, normaliser)

    d = prediction - target
    slope = xp.clip(d / float(beta), -1, 1)  # d / beta in the square piece, the sign of d in the linear ones
    loss = slope * (d - 0.5 * float(beta) * slope)  # both pieces of the formula: put in either slope to see it

    # loss = 0.5 * d * d / beta or |d| - 0.5 * beta: the derivative is d / beta or the sign of d
    return (scale * loss).sum().item(), scale * slope


def l1(
    prediction: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Absolute error; its gradient is the sign of the difference, 0 where there is none.

    d = prediction - target
    loss = |d|

    prediction and target of one shape; weights: anything that broadcasts to it. The mean is over elements. Returns
    value, dprediction.

    Raises ValueError for shapes that do not match, or bad weights, reduction or normaliser.
    """
    xp = array_module(prediction)
    target = check_target("l1", prediction, "target", target, "prediction")
    if on_gpu := losses_cuda.elementwise("l1", prediction, target, weights, reduction, normaliser):
        return on_gpu
    scale = loss_scale("l1", prediction, weights, reduction, normaliser)

    d = prediction - target
    sign = xp.sign(d.real)

    # loss = sign * d
    return (scale * (sign * d)).sum().item(), scale * sign


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
    target = check_target("l2", prediction, "target", target, "prediction")
    if on_gpu := losses_cuda.elementwise("l2", prediction, target, weights, reduction, normaliser):
        return on_gpu
    scale = loss_scale("l2", prediction, weights, reduction, normaliser)

    d = prediction - target
    loss = 0.5 * d * d

    # loss = 0.5 * d * d
    return (scale * loss).sum().item(), scale * d
