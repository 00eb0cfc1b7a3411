"""Nearest and bilinear interpolation for CuPy: the kernels of nn/gpu/upsample.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.layers.upsample import MODES


def takes(x, mode) -> bool:
    """Whether kernels take x, and are for this mode: bed of nails is one assignment."""
    return mode != "bed_of_nails" and use_kernels(x)


def upsample(x, out_size, scales, mode, align_corners=False):
    """As in nn.layers.upsample."""
    xp, in_size = array_module(x), x.shape[2:]
    y = xp.empty((*x.shape[:2], *out_size), x.dtype)
    low, fraction, _ = _axes(x, in_size, out_size, scales, mode, align_corners)
    arrays, sizes = (y, xp.ascontiguousarray(x), low, fraction), (y.size, *in_size, *out_size)
    launch("upsample", "upsample_forward", y.size, y.dtype, *arrays, *sizes)
    return y


def upsample_backward(dy, in_size, scales, mode, align_corners=False):
    """As in nn.layers.upsample."""
    xp, out_size = array_module(dy), dy.shape[2:]
    dx, dy = xp.empty((*dy.shape[:2], *in_size), dy.dtype), xp.ascontiguousarray(dy)
    axes = _axes(dy, in_size, out_size, scales, mode, align_corners)
    sizes = dx.size, *in_size, *out_size, mode == "nearest"
    launch("upsample", "upsample_backward", dx.size, dx.dtype, dx, dy, *axes, *sizes)
    return dx


def _axes(x, in_size, out_size, scales, mode, align_corners):
    """low, fraction and starts of upsample_axes, for both axes; positions are computed in double, as on the CPU."""
    xp, kind, count = array_module(x), MODES.index(mode) + align_corners, sum(out_size)
    low, starts = xp.empty(count, np.int32), xp.empty(sum(in_size) + 2, np.int32)
    fraction = xp.empty(count, np.float64)
    arrays, sizes = (low, fraction, starts), (count, *in_size, *out_size)
    launch("upsample", "upsample_axes", count, np.float64, *arrays, *sizes, *map(float, scales), kind)
    return low, fraction.astype(x.dtype, copy=False), starts
