"""Losses of metric learning: embeddings of the same thing should lie close together, of different things apart.

They return (value, gradients), one gradient for each array of embeddings, and weigh and average over pairs or triplets
as nn/losses/common.py explains. The two or three arrays mostly come from one network applied to each: add up what its
backwards give. Each loss is a pair, as in nn/losses/classification.py: the public function, and below it the
mathematics.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import check_shape
from nn.losses.common import check_at_least_0, loss_scale


def contrastive(
    x1: np.ndarray,
    x2: np.ndarray,
    similar: np.ndarray,
    margin: float = 1.0,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """Pulls similar pairs together, and pushes the others apart as long as they are closer than the margin.

    D = ||x1 - x2||
    loss = 0.5 * D^2                    where similar
           0.5 * max(0, margin - D)^2   elsewhere

    x1, x2 (N, D); similar (N,), 1 or True for a similar pair and 0 or False for another: the paper's Y is 1 - similar.
    weights: anything that broadcasts to (N,). A pair that should be apart and coincides has no direction to part in:
    its gradient is 0. Returns value, (dx1, dx2).

    Raises ValueError for shapes that do not match, `similar` other than 0 and 1, margin < 0, or bad weights, reduction
    or normaliser. Reference: Hadsell, Chopra and LeCun 2006, Dimensionality reduction by learning an invariant mapping,
    eq. 4.
    """
    check_shape("contrastive", x1=(x1, ("N", "D")))
    check_shape("contrastive", x2=(x2, x1.shape))
    check_at_least_0("contrastive", margin=margin)
    _check_pairs("contrastive", similar, x1.shape[:1])
    return functions(__name__, x1).pairs(x1, x2, similar, float(margin), weights, reduction, normaliser)


def pairs(x1, x2, similar, margin, weights, reduction, normaliser):
    """value, (dx1, dx2) of loss = 0.5 D^2 where similar, else 0.5 max(0, margin - D)^2, with D = ||x1 - x2||."""
    xp, similar = array_module(x1), _check_similar("contrastive", similar)
    difference = x1 - x2
    squared = (difference * difference).sum(axis=1)
    distance = xp.sqrt(squared)  # (N,)
    slack = margin - distance
    slack = xp.where(slack.real > 0, slack, 0)
    scale = loss_scale("contrastive", distance, weights, reduction, normaliser)
    value = (scale * 0.5 * xp.where(similar, squared, slack * slack)).sum().item()

    # 0.5 * D^2: the derivative is x1 - x2; 0.5 * slack^2: it is -slack * (x1 - x2) / D, for dD/dx1 = (x1 - x2) / D
    pull = xp.where(similar, 1, -slack / xp.where(distance == 0, 1, distance))
    dx1 = (scale * pull)[:, None] * difference
    return value, (dx1, -dx1)


def triplet(
    anchor: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    margin: float = 0.2,
    squared: bool = True,
    eps: float = 1e-6,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """An anchor should be closer to its positive than to its negative, by a margin.

    loss = max(0, d(anchor, positive) - d(anchor, negative) + margin)
    d(a, b) = ||a - b||^2               squared=True (default), as in the paper
              ||a - b + eps||           squared=False, as PyTorch's TripletMarginLoss, whose margin is 1 by default

    anchor, positive, negative (N, D); weights: anything that broadcasts to (N,). eps, added to every element of the
    difference, keeps the derivative of a plain distance defined where two embeddings coincide; with squared=True it is
    not used. The paper sums over the triplets: reduction="sum". Returns value, (danchor, dpositive, dnegative).

    Raises ValueError for shapes that do not match, margin < 0, eps < 0, or bad weights, reduction or normaliser.
    Reference: Schroff, Kalenichenko and Philbin 2015, arXiv:1503.03832, eq. 1-3.
    """
    check_shape("triplet", anchor=(anchor, ("N", "D")))
    check_shape("triplet", positive=(positive, anchor.shape), negative=(negative, anchor.shape))
    check_at_least_0("triplet", margin=margin, eps=eps)
    options = float(margin), bool(squared), float(eps), weights, reduction, normaliser
    return functions(__name__, anchor).triplets(anchor, positive, negative, *options)


def triplets(anchor, positive, negative, margin, squared, eps, weights, reduction, normaliser):
    """value, (danchor, dpositive, dnegative) of loss = max(0, d(anchor, positive) - d(anchor, negative) + margin)."""
    near, near_slope = _distance(anchor, positive, squared, eps)
    far, far_slope = _distance(anchor, negative, squared, eps)
    violation = near - far + margin  # (N,)
    short = violation.real > 0
    scale = loss_scale("triplet", violation, weights, reduction, normaliser)
    value = (scale * array_module(anchor).where(short, violation, 0)).sum().item()

    # loss = max(0, d(a, p) - d(a, n) + margin), and d(a, b) has opposite derivatives with respect to a and b
    active = (scale * short)[:, None]
    dpositive, dnegative = -active * near_slope, active * far_slope
    return value, (-dpositive - dnegative, dpositive, dnegative)


def _distance(a, b, squared, eps):
    """d(a, b) (N,) and its derivative with respect to a (N, D)."""
    xp, difference = array_module(a), a - b
    if squared:
        return (difference * difference).sum(axis=1), 2 * difference
    difference = difference + eps
    distance = xp.sqrt((difference * difference).sum(axis=1))
    return distance, difference / xp.where(distance == 0, 1, distance)[:, None]  # 0 where a and b coincide (eps = 0)


def _check_pairs(owner, similar, shape):
    """ValueError unless `similar` has the shape (N,)."""
    if not hasattr(similar, "dtype"):
        raise TypeError(f"{owner}: similar must be an array, got {type(similar).__name__}")
    if similar.shape != shape:
        raise ValueError(f"{owner}: similar must have shape {shape}, one per pair, got {similar.shape}")


def _check_similar(owner, similar):
    """`similar` as booleans; ValueError unless it holds zeros and ones alone."""
    if not bool(((similar == 0) | (similar == 1)).all()):
        got = float(similar[(similar != 0) & (similar != 1)][0])
        raise ValueError(f"{owner}: similar must be 0 or 1, got {got:g}")
    return similar == 1
