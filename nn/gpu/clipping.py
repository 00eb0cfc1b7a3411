"""The functions of nn/optim/clipping.py by the kernels of multi_tensor.cu: one launch for all gradients."""

from nn.gpu.multi_tensor import for_kernels, launch_all, norm


def takes(*arrays) -> bool:
    """Whether all gradients are for the kernels."""
    return all(map(for_kernels, arrays))


def common_norm(grads) -> float:
    """sqrt of the sum of the squares of all elements, in float64."""
    return norm(grads)


def scale(grads, factor):
    """Multiply all gradients by the factor, in place."""
    launch_all("scale", [(grad,) for grad in grads], factor)
