"""What the losses on a GPU share, and the losses of single elements: value and gradient by one kernel.

Only the value of a loss is copied to the host. To look at labels, targets and weights, which are on the GPU, would be
one more transfer: so the kernels make the loss NaN where they meet one that the loss does not accept. Where the value
is NaN, the functions here return None, and the textbook computes the loss: its checks name the culprit, and for NaN
predictions it gives NaN too.
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.losses.common import broadcast_weights, is_sum
from nn.losses.parts import count_of_batch, is_in_parts

THREADS = 256  # most threads of a block; a power of two
ELEMENTWISE = ("binary_cross_entropy_with_logits", "smooth_l1", "l1", "l2", "hinge", "squared_hinge")  # as in losses.cu


def elementwise(kind, x, target, weights, reduction, normaliser, option=0.0):
    """(value, dx) of a loss of two arrays of one shape and dtype, None for NaN. kind: one of ELEMENTWISE."""
    xp, dtype, count = array_module(x), x.dtype, x.size
    average = weights_and_divisor(kind.removeprefix("squared_"), x, weights, reduction, normaliser)
    dx, partial = xp.empty(x.shape, dtype), xp.empty(-(-count // THREADS), dtype)
    arguments = contiguous(x), contiguous(target), *average, option, dx, partial, count, ELEMENTWISE.index(kind)
    launch("losses", "elementwise", count, dtype, *arguments)
    return unless_nan(partial, dx)


def weights_and_divisor(owner, losses, weights, reduction, normaliser):
    """(weights or None, divisor on the GPU or None, 1 / divisor where the host knows it); see nn/losses/common.py."""
    xp = array_module(losses)
    if weights is not None:
        weights = contiguous(broadcast_weights(owner, losses, xp.asarray(weights, dtype=losses.dtype)))
    total = losses.size if weights is None else weights.sum(dtype=np.float64)
    return weights, *divisor(owner, losses.dtype, reduction, normaliser, total)


def divisor(owner, dtype, reduction, normaliser, total):
    """(divisor on the GPU or None, 1 / divisor where the host knows it); total: the sum of weights, here or there."""
    if is_sum(owner, reduction, normaliser):
        return None, 1.0
    count = total if normaliser is None else normaliser
    if hasattr(count, "dtype") and not is_in_parts():
        return count.astype(dtype), 0.0
    return None, 1 / (count_of_batch(count) or math.inf)


def unless_nan(partial, gradient):
    """(value, gradient), the value being the sum of the blocks' losses: the only transfer. None where it is NaN."""
    value = partial.sum(dtype=np.float64).item()
    return None if math.isnan(value) else (value, gradient)


def contiguous(x):
    """x, or a copy of it in the order of its indices."""
    return array_module(x).ascontiguousarray(x)


def threads(width):
    """Threads of a block for rows of this width: a power of two."""
    return min(THREADS, max(32, 1 << (width - 1).bit_length()))
