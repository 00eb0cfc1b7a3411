"""The functions of nn/losses/metric.py by the kernels of metric.cu."""

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes  # noqa: F401
from nn.gpu.losses import contiguous, threads, unless_nan, weights_and_divisor
from nn.losses import metric as textbook


def pairs(x1, x2, similar, margin, weights, reduction, normaliser):
    """value, (dx1, dx2)."""
    average = weights, reduction, normaliser
    return _of_rows("contrastive", "pairs", (x1, x2), (similar,), average, (margin,)) or (
        textbook.pairs(x1, x2, similar, margin, *average)
    )


def triplets(anchor, positive, negative, margin, squared, eps, weights, reduction, normaliser):
    """value, (danchor, dpositive, dnegative)."""
    embeddings, average = (anchor, positive, negative), (weights, reduction, normaliser)
    return _of_rows("triplet", "triplets", embeddings, (), average, (margin, eps), squared) or (
        textbook.triplets(*embeddings, margin, squared, eps, *average)
    )


def _of_rows(owner, kernel, embeddings, others, average, options, *switches):
    """(value, gradients) of embeddings (N, D), or None."""
    (n, width), dtype, xp = embeddings[0].shape, embeddings[0].dtype, array_module(embeddings[0])
    gradients, partial = tuple(xp.empty((n, width), dtype) for _ in embeddings), xp.empty(n, dtype)
    arrays = [contiguous(a.astype(dtype, copy=False)) for a in embeddings + others]
    arguments = *arrays, *weights_and_divisor(owner, partial, *average), *options, *gradients, partial, width, *switches
    block = threads(width)
    launch("metric", kernel, n * block, dtype, *arguments, block=block)
    return unless_nan(partial, gradients)
