"""The functions of nn/losses/regression.py by the kernel of losses.cu."""

from nn.gpu.kernels import use_kernels as takes  # noqa: F401
from nn.gpu.losses import elementwise
from nn.losses import regression as textbook


def smooth_absolute_error(prediction, target, beta, weights, reduction, normaliser):
    """value, dprediction."""
    average = weights, reduction, normaliser
    return elementwise("smooth_l1", prediction, target, *average, beta) or (
        textbook.smooth_absolute_error(prediction, target, beta, *average)
    )


def absolute_error(prediction, target, weights, reduction, normaliser):
    """value, dprediction."""
    average = weights, reduction, normaliser
    return elementwise("l1", prediction, target, *average) or textbook.absolute_error(prediction, target, *average)


def squared_error(prediction, target, weights, reduction, normaliser):
    """value, dprediction."""
    average = weights, reduction, normaliser
    return elementwise("l2", prediction, target, *average) or textbook.squared_error(prediction, target, *average)
