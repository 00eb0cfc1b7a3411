"""Hinge losses, of support vector machines: nothing to pay once a score is right by a margin.

They return (value, gradient), and weigh and average as nn/losses/common.py explains. At the kink, where a score has
just reached its margin, the gradient is 0.
"""

import numpy as np

from nn.dispatch import array_module
from nn.gpu import losses as losses_cuda
from nn.losses.common import check_at_least_0, check_target, labels_and_scale, loss_scale, one_hot


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
    xp, t = array_module(scores), check_target("hinge", scores, "targets", targets, "scores")
    kind = "squared_hinge" if squared else "hinge"
    if on_gpu := losses_cuda.elementwise("hinge", scores, t, weights, reduction, normaliser, margin, kind):
        return on_gpu
    if not bool((t * t == 1).all()):
        got = float(t[t * t != 1][0])
        raise ValueError(f"hinge: targets must be -1 or 1, got {got:g}: write 2 * labels - 1 for labels of 0 and 1")
    scale = loss_scale("hinge", scores, weights, reduction, normaliser)

    slack = float(margin) - t * scores
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
    owner, xp = "multiclass_hinge", array_module(scores)
    check_at_least_0(owner, margin=margin)
    average = class_weights, reduction, normaliser
    if on_gpu := losses_cuda.multiclass_hinge(scores, labels, margin, squared, ignore_index, *average):
        return on_gpu
    label, unit, weights = labels_and_scale(owner, "scores", scores, labels, ignore_index, *average)
    scale = unit * weights[label]

    right = one_hot(label, scores.shape[1])
    slack = float(margin) + scores - xp.take_along_axis(scores, label, axis=1)
    short = (slack.real > 0) & ~right
    slack = xp.where(short, slack, 0)
    loss = slack * slack if squared else slack

    # slack = max(0, margin + s[c] - s[label]): each wrong class pushes its own score down, and the right one up
    dslack = scale * (2 * slack if squared else short)
    return (scale * loss).sum().item(), dslack - right * dslack.sum(axis=1, keepdims=True)
