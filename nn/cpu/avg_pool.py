"""Average pooling for NumPy: sums over windows along rows and then along columns, images shared among threads."""

import numpy as np

from nn.cpu.window_sums import spread_windows, window_sums
from nn.layers.avg_pool import divisors
from nn.layers.windows import Geometry

__all__ = ["avg_pool", "avg_pool_backward", "divisors", "takes"]


def takes(x) -> bool:
    """Whether these functions are for x: always."""
    return True


def avg_pool(x, g: Geometry, out_size, count_include_pad=True, divisor_override=None):
    """As in nn.layers.avg_pool."""
    y = window_sums(x, g, out_size)
    y /= np.asarray(divisors(g, x.shape[2:], out_size, count_include_pad, divisor_override), x.dtype)
    return y


def avg_pool_backward(dy, g: Geometry, in_shape, count_include_pad=True, divisor_override=None):
    """As in nn.layers.avg_pool."""
    divisor = divisors(g, in_shape[2:], dy.shape[2:], count_include_pad, divisor_override)
    return spread_windows(dy / np.asarray(divisor, dy.dtype), g, in_shape[2:])
