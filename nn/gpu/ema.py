"""The moving average of nn/optim/ema.py by the kernel of multi_tensor.cu: one launch for all arrays."""

from nn.gpu.multi_tensor import for_kernels, launch_all
from nn.optim import ema as textbook


def takes(*arrays) -> bool:
    """All arrays: those that are not for the kernel are averaged by array code."""
    return True


def move(averages, weights, share):
    """average += share * (weight - average) for each pair of arrays, in place."""
    pairs = list(zip(averages, weights))
    launch_all("move_average", [pair for pair in pairs if for_kernels(*pair)], share)
    for average, weight in pairs:
        if not for_kernels(average, weight):
            textbook.move([average], [weight], share)
