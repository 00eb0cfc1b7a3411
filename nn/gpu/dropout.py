"""Dropout for CuPy: the mask is drawn on the device, by the kernels of nn/gpu/random.cu and nn/gpu/dropout.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes
from nn.gpu.random import draw_uniform

__all__ = ["dropout", "takes"]


def dropout(x, p, mask_shape, rng):
    """y, mask, as in nn/layers/dropout.py: in two launches for a mask of the dtype and shape of x."""
    xp, mask = array_module(x), draw_uniform(rng, mask_shape, np.float32, array_module(x))
    if mask.dtype != x.dtype or mask.shape != x.shape:
        mask = (mask >= p) * x.dtype.type(1 / (1 - p))
        return x * mask, mask
    x, y = xp.ascontiguousarray(x), xp.empty(x.shape, x.dtype)
    launch("dropout", "dropout_forward", x.size, x.dtype, x, mask, y, float(p), 1 / (1 - p), x.size)
    return y, mask
