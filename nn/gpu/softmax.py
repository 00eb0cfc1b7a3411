"""Softmax and its logarithm for CuPy: the functions of nn/layers/softmax.py, one launch of nn/gpu/softmax.cu each."""

import math

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes

__all__ = ["log_softmax", "log_softmax_backward", "masked_softmax", "softmax", "softmax_backward", "takes"]


def softmax(x, axis):
    """y, as in nn/layers/softmax.py."""
    return _launch([x], axis)


def softmax_backward(dy, y, axis):
    """dx, as in nn/layers/softmax.py."""
    return _launch([dy, y], axis)


def masked_softmax(x, mask, axis):
    """y, as in nn/layers/softmax.py."""
    return _launch([x], axis, mask)


def log_softmax(x, axis):
    """y, as in nn/layers/softmax.py."""
    return _launch([x], axis, logarithm=True)


def log_softmax_backward(dy, y, axis):
    """dx, as in nn/layers/softmax.py."""
    return _launch([dy, y], axis, logarithm=True)


def _launch(arrays, axis, mask=None, logarithm=False):
    """y of a forward for [x], dx of a backward for [dy, y]."""
    whole, axis, xp = arrays[0].shape, axis % arrays[0].ndim, array_module(*arrays)
    n, size, plane = math.prod(whole[:axis]), whole[axis], math.prod(whole[axis + 1 :])
    out = xp.empty(whole, arrays[0].dtype)
    arrays = [xp.ascontiguousarray(a) for a in arrays]
    masks = () if len(arrays) == 2 else (None if mask is None else xp.ascontiguousarray(mask),)
    name = "softmax_backward" if len(arrays) == 2 else "softmax_forward"
    together = plane == 1 and size >= 32  # a block for each position: else a thread
    block = min(256, 1 << (size - 1).bit_length()) if together else 256
    threads = n * plane * (block if together else 1)
    sizes = n * plane, size, plane, together, logarithm
    launch("softmax", name, threads, out.dtype, *arrays, *masks, out, *sizes, block=block)
    return out
