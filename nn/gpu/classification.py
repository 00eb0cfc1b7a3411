"""The functions of nn/losses/classification.py by the kernels of classification.cu and losses.cu."""

import math

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.gpu.losses import THREADS, contiguous, divisor, elementwise, threads, unless_nan
from nn.losses import classification as textbook

SIDE_BY_SIDE = 32  # classes from which on a block shares one position


def takes(*arrays, label_smoothing=0.0) -> bool:
    """Whether the kernels take these arrays; any label_smoothing."""
    return use_kernels(*arrays)


def cross_entropy(logits, labels, ignore_index, class_weights, reduction, normaliser, s):
    """value, dlogits (N, C, ...)."""
    average = class_weights, reduction, normaliser
    return _of_labels("softmax_cross_entropy", "cross_entropy", logits, labels, ignore_index, average, s) or (
        textbook.cross_entropy(logits, labels, ignore_index, *average, s)
    )


def sum_of_hinges(s, labels, margin, squared, ignore_index, class_weights, reduction, normaliser):
    """value, ds (N, C, ...)."""
    average = class_weights, reduction, normaliser
    return _of_labels("multiclass_hinge", "sum_of_hinges", s, labels, ignore_index, average, margin, squared) or (
        textbook.sum_of_hinges(s, labels, margin, squared, ignore_index, *average)
    )


def binary_cross_entropy(x, t, weights, reduction, normaliser):
    """value, dx."""
    average = weights, reduction, normaliser
    return elementwise("binary_cross_entropy_with_logits", x, t, *average) or (
        textbook.binary_cross_entropy(x, t, *average)
    )


def binary_hinge(s, t, margin, squared, weights, reduction, normaliser):
    """value, ds."""
    average = weights, reduction, normaliser
    kind = "squared_hinge" if squared else "hinge"
    return elementwise(kind, s, t, *average, margin) or textbook.binary_hinge(s, t, margin, squared, *average)


def _of_labels(owner, kernel, scores, labels, ignore_index, average, option, *switches):
    """(value, dscores) of a loss of scores (N, C, ...) and labels (N, ...), or None."""
    scores, labels, (class_weights, reduction, normaliser) = contiguous(scores), contiguous(labels), average
    weights = None if class_weights is None else contiguous(class_weights)
    (n, classes), plane = scores.shape[:2], math.prod(scores.shape[2:])
    xp, dtype, count = array_module(scores), scores.dtype, n * plane

    total = None
    if reduction == "mean" and normaliser is None:
        partial = xp.empty(-(-count // THREADS), dtype)
        launch("classification", "label_weights", count, dtype, labels, weights, partial, count, classes, ignore_index)
        total = partial.sum(dtype=np.float64)
    average = divisor(owner, dtype, reduction, normaliser, total)

    together = plane == 1 and classes >= SIDE_BY_SIDE
    block = threads(classes) if together else THREADS
    grid = count if together else -(-count // block)
    dscores, partial = xp.empty(scores.shape, dtype), xp.empty(grid, dtype)
    arguments = scores, labels, weights, *average, option, dscores, partial
    sizes = count, classes, plane, ignore_index, together, *switches
    launch("classification", kernel, grid * block, dtype, *arguments, *sizes, block=block)
    return unless_nan(partial, dscores)
