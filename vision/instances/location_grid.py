"""Location-specific classifiers: a head is at the top of a person's box, so each part of a box has its own classifier.

A K x K grid of classifiers lies over the box. The probability of a pixel is interpolated between the probabilities
p_k = sigmoid(z_k) that the classifiers around it give,

    p = sum over k of alpha_k p_k,        alpha bilinear in the distances to the centres of the cells; their sum is 1

Reference: Hariharan et al. 2015, Hypercolumns, arXiv:1411.5752, sec. 3, "Interpolating into a grid of classifiers".
"""

import numpy as np

from nn.dispatch import array_module
from nn.layers.activation import sigmoid
from nn.losses.parts import count_of_batch


def grid_weights(size: int, k: int) -> np.ndarray:
    """alpha (K K, size, size): how much each cell's classifier counts at each pixel of a box of size x size pixels.

    Cell i has its centre at (i + 0.5) size / K. Beyond the outermost centres the nearest cell counts alone.
    """
    at = np.clip((np.arange(size) + 0.5) / size * k - 0.5, 0, k - 1)  # in cells
    along = np.maximum(1 - abs(at - np.arange(k)[:, None]), 0)  # (K, size)
    return (along[:, None, :, None] * along[None, :, None, :]).reshape(k * k, size, size)


def interpolated(scores, alpha):
    """(P, size, size): the probability of each pixel, from scores z (P, K K, size, size)."""
    return (alpha * sigmoid(scores)).sum(axis=1)


def grid_cross_entropy(scores, alpha, targets):
    """(value, dscores): binary cross-entropy of the interpolated probability, mean over all pixels.

    loss = -t log p - (1 - t) log q,    p = sum of alpha_k sigmoid(z_k),    q = 1 - p = sum of alpha_k sigmoid(-z_k)
    dloss/dz_k = ((1 - t) / q - t / p) alpha_k sigmoid(z_k) sigmoid(-z_k)

    scores z (P, K K, size, size), alpha from grid_weights, targets t (P, size, size) of 0 .. 1. One classifier, K = 1,
    is the binary cross-entropy of its logits.
    """
    xp, t, n = array_module(scores), targets, count_of_batch(targets.size) or 1
    alpha = xp.asarray(alpha, scores.real.dtype)
    yes, no = sigmoid(scores), sigmoid(-scores)  # neither is a difference: no digits are lost
    least = np.finfo(alpha.dtype).tiny
    p, q = ((alpha * each).sum(axis=1) + least for each in (yes, no))
    value = -(t * xp.log(p) + (1 - t) * xp.log(q)).sum() / n
    dp = ((1 - t) / q - t / p)[:, None] / n
    return value.item(), dp * alpha * yes * no
