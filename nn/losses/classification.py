"""Losses of classification: cross entropies, and the hinges of support vector machines.

A loss returns (value, gradient) at once, the gradient with respect to its first argument. nn/losses/regression.py has
the distances of regression, nn/losses/metric.py the losses of pairs and triplets of embeddings. All of them average in
one way, which nn/losses/common.py explains: `reduction` is "mean" (over the sum of the weights) or "sum"; a
`normaliser` to divide by takes its place.

The value is a Python float, or complex for a complex prediction, as complex-step gradient checks need it: comparisons
look at the real part, and np.abs, which is not analytic, does not occur. The gradient has the shape and dtype of the
prediction. No argument is modified. At the kink of a hinge, where a score has just reached its margin, the gradient
is 0.

Each loss is a pair: the public function, which checks shapes, and below it the mathematics, of which nn/cpu and nn/gpu
have faster versions.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.losses.common import (
    check_at_least_0,
    check_class_weights,
    check_scores,
    check_target,
    label_scale,
    loss_scale,
    one_hot,
)


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
    owner, s = "softmax_cross_entropy", float(label_smoothing)
    if not 0 <= s <= 1:
        raise ValueError(f"{owner}: label_smoothing must lie in [0, 1], got {label_smoothing}")
    labels = check_scores(owner, "logits", logits, labels)
    if class_weights is not None:
        class_weights = check_class_weights(owner, logits, class_weights)
    ops = functions(__name__, logits, label_smoothing=s)
    return ops.cross_entropy(logits, labels, ignore_index, class_weights, reduction, normaliser, s)


def cross_entropy(logits, labels, ignore_index, class_weights, reduction, normaliser, s):
    """value, dlogits of loss = log sum_k exp(z[k]) - z[label], with dloss/dz = p - one_hot(label).

    s of the loss, label smoothing, is the same with every class in turn for the label.
    """
    xp, owner = array_module(logits), "softmax_cross_entropy"
    label, unit, weights = label_scale(owner, logits, labels, ignore_index, class_weights, reduction, normaliser)
    scale = unit * weights[label]  # (N, 1, ...)

    logits = xp.where(unit > 0, logits, 0)  # an ignored position does not count, though its logits be NaN
    z = logits - logits.max(axis=1, keepdims=True)  # a shift changes nothing in a softmax, and exp cannot overflow
    e = xp.exp(z)
    total = e.sum(axis=1, keepdims=True)
    p, log_total = e / total, xp.log(total)
    value = (scale * (log_total - xp.take_along_axis(z, label, axis=1))).sum()

    # loss = log sum_k exp(z[k]) - z[label]: the derivative of the first term is p, of the second the one-hot label
    dlogits = scale * (p - one_hot(label[:, 0], logits.shape[1]))

    if s:
        share = unit * weights.reshape(-1, *(1,) * (logits.ndim - 2)) / len(weights)  # (N, C, ...)
        value = (1 - s) * value + s * (share * (log_total - z)).sum()
        dlogits = (1 - s) * dlogits + s * (share.sum(axis=1, keepdims=True) * p - share)
    return value.item(), dlogits


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
    t = check_target("binary_cross_entropy_with_logits", logits, "targets", targets, "logits")
    return functions(__name__, logits).binary_cross_entropy(logits, t, weights, reduction, normaliser)


def binary_cross_entropy(x, t, weights, reduction, normaliser):
    """value, dx of loss = max(x, 0) - x t + log(1 + exp(-|x|)), with dloss/dx = p - t."""
    xp, owner = array_module(x), "binary_cross_entropy_with_logits"
    allowed = (t >= 0) & (t <= 1)
    if not bool(allowed.all()):
        got = float(t[~allowed][0])
        raise ValueError(f"{owner}: targets must lie in [0, 1], got {got:g}: give what does not count weight 0")
    scale = loss_scale(owner, x, weights, reduction, normaliser)

    positive = x.real > 0
    e = xp.exp(xp.where(positive, -x, x))  # exp(-|x|): cannot overflow
    loss = xp.where(positive, x, 0) - x * t + xp.log1p(e)

    # loss = -t * log p - (1 - t) * log(1 - p), with dp/dx = p * (1 - p): what is left is p - t
    p = xp.where(positive, 1, e) / (1 + e)
    return (scale * loss).sum().item(), scale * (p - t)


def hinge(
    scores: np.ndarray,
    targets: np.ndarray,
    margin: float = 1.0,
    squared: bool = False,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Loss of a binary support vector machine.

    loss = max(0, margin - t * s)          squared with squared=True

    scores = s and targets = t of one shape, each target -1 or 1; weights: anything that broadcasts to that shape.
    The mean is over elements. Returns value, dscores.

    Raises ValueError for shapes that do not match, targets other than -1 and 1, margin < 0, or bad weights, reduction
    or normaliser. Reference: Cortes and Vapnik 1995, Support-vector networks, sec. 3; the loss is their slack variable.
    """
    check_at_least_0("hinge", margin=margin)
    t = check_target("hinge", scores, "targets", targets, "scores")
    ops = functions(__name__, scores)
    return ops.binary_hinge(scores, t, float(margin), bool(squared), weights, reduction, normaliser)


def binary_hinge(s, t, margin, squared, weights, reduction, normaliser):
    """value, ds of loss = max(0, margin - t s) or its square."""
    xp = array_module(s)
    if not bool((t * t == 1).all()):
        got = float(t[t * t != 1][0])
        raise ValueError(f"hinge: targets must be -1 or 1, got {got:g}: write 2 * labels - 1 for labels of 0 and 1")
    scale = loss_scale("hinge", s, weights, reduction, normaliser)

    slack = margin - t * s
    short = slack.real > 0
    slack = xp.where(short, slack, 0)
    loss = slack * slack if squared else slack

    # loss = slack or slack^2, slack = max(0, margin - t * s)
    dslack = 2 * slack if squared else short
    return (scale * loss).sum().item(), scale * dslack * -t


def multiclass_hinge(
    scores: np.ndarray,
    labels: np.ndarray,
    margin: float = 1.0,
    squared: bool = False,
    ignore_index: int = -1,
    class_weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Loss of a multi-class support vector machine: every wrong class should stay a margin below the right one.

    loss = sum over c != label of max(0, margin + s[c] - s[label])          each term squared with squared=True

    scores (N, C, ...) = s; labels (N, ...) of integers in [0, C), or ignore_index where a position does not count;
    class_weights (C,): the weight of a position is that of its label. PyTorch's MultiMarginLoss divides by C as well,
    and its mean by the number of positions, whatever their weights. Returns value, dscores (N, C, ...).

    Raises ValueError for shapes that do not match, a label outside [0, C), margin < 0, or bad weights, reduction or
    normaliser. Reference: Weston and Watkins 1999, Support vector machines for multi-class pattern recognition
    (there the margin is 2).
    """
    owner = "multiclass_hinge"
    check_at_least_0(owner, margin=margin)
    labels = check_scores(owner, "scores", scores, labels)
    if class_weights is not None:
        class_weights = check_class_weights(owner, scores, class_weights)
    average = class_weights, reduction, normaliser
    ops = functions(__name__, scores)
    return ops.sum_of_hinges(scores, labels, float(margin), bool(squared), ignore_index, *average)


def sum_of_hinges(s, labels, margin, squared, ignore_index, class_weights, reduction, normaliser):
    """value, ds of loss = sum over c != label of max(0, margin + s[c] - s[label]), or of the squares."""
    xp = array_module(s)
    label, unit, weights = label_scale(
        "multiclass_hinge", s, labels, ignore_index, class_weights, reduction, normaliser
    )
    scale = unit * weights[label]  # (N, 1, ...)

    s = xp.where(unit > 0, s, 0)  # an ignored position does not count, though its scores be NaN
    right = one_hot(label[:, 0], s.shape[1])
    slack = margin + s - xp.take_along_axis(s, label, axis=1)
    short = (slack.real > 0) & ~right
    slack = xp.where(short, slack, 0)
    loss = slack * slack if squared else slack

    # slack = max(0, margin + s[c] - s[label]): each wrong class pushes its own score down, and the right one up
    dslack = scale * (2 * slack if squared else short)
    return (scale * loss).sum().item(), dslack - right * dslack.sum(axis=1, keepdims=True)
