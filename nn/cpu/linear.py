"""The products of nn/layers/linear.py on the CPU, shared among threads."""

from nn.cpu.chunks import add_product
from nn.cpu.parallel import matmul


def takes(*arrays, **options) -> bool:
    """Whether these functions are for such arrays: for all of NumPy's, complex ones included."""
    return True


def linear(x, weight, bias=None):
    """y (N, O), as in nn/layers/linear.py."""
    y = matmul(x, weight.T)
    if bias is not None:
        y += bias
    return y


def linear_input_gradient(dy, weight):
    """dx (N, I), as in nn/layers/linear.py."""
    return matmul(dy, weight)


def add_weight_gradient(grad, dy, x):
    """grad (O, I) += dy.T @ x, as in nn/layers/linear.py, without a second array of its size."""
    add_product(grad, dy.T, x)
