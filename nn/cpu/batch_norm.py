"""The functions of nn/layers/batch_norm.py for NumPy, by nn/cpu/normalise.py."""

from nn.cpu.chunks import real as takes
from nn.cpu.normalise import by_batch, by_batch_backward, by_running, by_running_backward

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_inference", "batch_norm_inference_backward", "takes"]


def batch_norm(x, weight, bias, running, momentum, eps):
    """y (N, C, M), mean, inv_std (C,) by statistics of the batch; updates running."""
    return by_batch(x, weight, bias, running, momentum, eps)


def batch_norm_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,), through mean and variance too."""
    return by_batch_backward(dy, x, mean, inv_std, weight)


def batch_norm_inference(x, weight, bias, running, eps):
    """y (N, C, M), mean, inv_std (C,) by running statistics."""
    return by_running(x, weight, bias, running, eps)


def batch_norm_inference_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,), mean and inv_std being constants."""
    return by_running_backward(dy, x, mean, inv_std, weight)
