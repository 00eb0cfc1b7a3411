"""The losses on a GPU, by the kernels of nn/gpu/losses.cu and nn/gpu/metric_losses.cu: value and gradient in one go.

Of a loss nothing comes to the host but its value. Labels, targets and weights are on the GPU, and to look at them would
be a transfer more: so the kernels make the loss NaN where they meet one that the loss does not accept. Where its value
is NaN these functions return None, as they do for arrays that are not for kernels; then the loss goes on to its array
code, whose checks name the culprit. Of NaN logits the array code gives NaN too.
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels
from nn.losses.common import broadcast_weights, check_class_weights, check_reduction, check_scores

THREADS = 256  # a block has at most; a power of two
ELEMENTWISE = ("binary_cross_entropy_with_logits", "smooth_l1", "l1", "l2", "hinge", "squared_hinge")  # as in losses.cu
SIDE_BY_SIDE = 32  # classes from which on a block shares one position


def softmax_cross_entropy(logits, labels, ignore_index, class_weights, reduction, normaliser, smoothing):
    """(value, dlogits) or None."""
    name, average = "softmax_cross_entropy", (class_weights, reduction, normaliser)
    return _of_classes(name, "logits", logits, labels, ignore_index, average, smoothing)


def multiclass_hinge(scores, labels, margin, squared, ignore_index, class_weights, reduction, normaliser):
    """(value, dscores) or None."""
    name, average = "multiclass_hinge", (class_weights, reduction, normaliser)
    return _of_classes(name, "scores", scores, labels, ignore_index, average, margin, bool(squared))


def _of_classes(name, title, scores, labels, ignore_index, average, number, *switches):
    if not _for_kernels(scores):
        return None
    labels, scores = check_scores(name, title, scores, labels), _contiguous(scores)
    class_weights, reduction, normaliser = average
    weights = None if class_weights is None else _contiguous(check_class_weights(name, scores, class_weights))
    labels, (n, classes), plane = _contiguous(labels), scores.shape[:2], math.prod(scores.shape[2:])
    xp, dtype, count = array_module(scores), scores.dtype, n * plane

    divisor, unit = check_reduction(name, reduction, normaliser), 0.0
    if divisor:
        divisor, unit = None, 1 / divisor
    else:
        partial = xp.empty(-(-count // THREADS), dtype)
        launch("losses", "label_weights", count, dtype, labels, weights, partial, count, classes, ignore_index)
        divisor = partial.sum(dtype=np.float64).astype(dtype)

    together = plane == 1 and classes >= SIDE_BY_SIDE
    block = _threads(classes) if together else THREADS
    grid = count if together else -(-count // block)
    dscores, partial = xp.empty(scores.shape, dtype), xp.empty(grid, dtype)
    arguments = scores, labels, weights, divisor, unit, float(number), dscores, partial
    sizes = count, classes, plane, ignore_index, together, *switches
    launch("losses", name, grid * block, dtype, *arguments, *sizes, block=block)
    return _unless_nan(partial, dscores)


def elementwise(owner, x, target, weights, reduction, normaliser, option=0.0, kind=None):
    """(value, dx) of a loss of two arrays of one shape and dtype, or None."""
    if not _for_kernels(x):
        return None
    xp, dtype, count = array_module(x), x.dtype, x.size
    weights, divisor, unit = _average(owner, x, weights, reduction, normaliser)
    dx, partial = xp.empty(x.shape, dtype), xp.empty(-(-count // THREADS), dtype)
    arrays = _contiguous(x), _contiguous(target), weights, divisor
    kind = ELEMENTWISE.index(kind or owner)
    launch("losses", "elementwise", count, dtype, *arrays, unit, float(option), dx, partial, count, kind)
    return _unless_nan(partial, dx)


def contrastive(x1, x2, similar, margin, weights, reduction, normaliser):
    """(value, (dx1, dx2)) or None."""
    return _of_rows("contrastive", (x1, x2), (similar,), weights, reduction, normaliser, (float(margin),))


def triplet(anchor, positive, negative, margin, squared, eps, weights, reduction, normaliser):
    """(value, (danchor, dpositive, dnegative)) or None."""
    arrays, options = (anchor, positive, negative), (float(margin), float(eps))
    return _of_rows("triplet", arrays, (), weights, reduction, normaliser, options, bool(squared))


def _of_rows(name, embeddings, others, weights, reduction, normaliser, options, *switches):
    if not _for_kernels(embeddings[0]):
        return None
    (n, width), dtype, xp = embeddings[0].shape, embeddings[0].dtype, array_module(embeddings[0])
    gradients, partial = tuple(xp.empty((n, width), dtype) for _ in embeddings), xp.empty(n, dtype)
    weights, divisor, unit = _average(name, partial, weights, reduction, normaliser)
    arrays = *(_contiguous(a.astype(dtype, copy=False)) for a in embeddings + others), weights, divisor
    block = _threads(width)
    arguments = *arrays, unit, *options, *gradients, partial, width, *switches
    launch("metric_losses", name, n * block, dtype, *arguments, block=block)
    return _unless_nan(partial, gradients)


def _average(name, losses, weights, reduction, normaliser):
    """(weights or None, divisor on the GPU or None, 1 / divisor where the host knows it); see nn.losses.common."""
    divisor, xp = check_reduction(name, reduction, normaliser), array_module(losses)
    if weights is None:
        return None, None, 1 / (divisor or max(losses.size, 1))
    weights = _contiguous(broadcast_weights(name, losses, xp.asarray(weights, dtype=losses.dtype)))
    if divisor:
        return weights, None, 1 / divisor
    return weights, weights.sum(dtype=np.float64).astype(losses.dtype), 0.0


def _unless_nan(partial, gradient):
    """(value, gradient), the value being the sum of the blocks' losses: all of a loss that comes to the host."""
    value = partial.sum(dtype=np.float64).item()
    return None if math.isnan(value) else (value, gradient)


def _for_kernels(x):
    return use_kernels(x) and x.dtype.name in TYPES


def _contiguous(x):
    return array_module(x).ascontiguousarray(x)


def _threads(width):
    """Threads of a block for rows of this width: a power of two."""
    return min(THREADS, max(32, 1 << (width - 1).bit_length()))
