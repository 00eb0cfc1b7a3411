"""Elementwise non-linearities for CuPy: the functions of nn/layers/activation.py, each in one launch.

The kernels are in nn/gpu/activation.cu.
"""

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels

__all__ = [
    "elu", "elu_backward", "leaky_rectify", "rectify", "sigmoid", "sigmoid_backward", "silu", "silu_backward",
    "softplus", "softplus_backward", "takes", "tanh", "tanh_backward",
]  # fmt: skip

KINDS = ("ReLU", "LeakyReLU", "ELU", "Sigmoid", "Tanh", "SiLU", "Softplus")  # of nn/gpu/activation.cu


def takes(*arrays, **options) -> bool:
    """Whether each array is CuPy's, float32 or float64. A mixture is computed in the dtype of the first one."""
    return all(map(use_kernels, arrays))


def rectify(a, x):
    """a where x > 0, else 0."""
    return _forward("ReLU", x) if a is x else _backward("ReLU", a, x)


def leaky_rectify(a, x, slope):
    """a where x > 0, else slope * a."""
    return _forward("LeakyReLU", x, slope) if a is x else _backward("LeakyReLU", a, x, slope)


def elu(x, alpha):
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return _forward("ELU", x, alpha)


def elu_backward(dy, x, alpha):
    """dy where x > 0, else dy * alpha * exp(x)."""
    return _backward("ELU", dy, x, alpha)


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return _forward("Sigmoid", x)


def sigmoid_backward(dy, y):
    """dy * y * (1 - y)."""
    return _backward("Sigmoid", dy, y)


def tanh(x):
    """tanh(x)."""
    return _forward("Tanh", x)


def tanh_backward(dy, y):
    """dy * (1 - y^2)."""
    return _backward("Tanh", dy, y)


def silu(x):
    """x * sigmoid(x)."""
    return _forward("SiLU", x)


def silu_backward(dy, x):
    """dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    return _backward("SiLU", dy, x)


def softplus(x, beta, threshold):
    """log(1 + exp(beta * x)) / beta; x where beta * x > threshold."""
    return _forward("Softplus", x, beta, threshold)


def softplus_backward(dy, x, beta, threshold):
    """dy * sigmoid(beta * x); dy where beta * x > threshold."""
    return _backward("Softplus", dy, x, beta, threshold)


def _forward(kind, x, a=0.0, b=0.0):
    """y of one kind of layer with the options a, b."""
    return _launch("activation_forward", kind, [x], a, b)


def _backward(kind, dy, kept, a=0.0, b=0.0):
    """dx; kept is y or x, as nn/gpu/activation.cu says."""
    return _launch("activation_backward", kind, [dy, kept], a, b)


def _launch(kernel, kind, arrays, a, b):
    xp = array_module(*arrays)
    out = xp.empty(arrays[0].shape, arrays[0].dtype)
    arrays = [xp.ascontiguousarray(array, out.dtype) for array in arrays]
    launch("activation", kernel, out.size, out.dtype, *arrays, out, float(a), float(b), out.size, KINDS.index(kind))
    return out
