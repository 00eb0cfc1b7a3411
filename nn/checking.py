"""What the gradient checks share: a layer in another dtype or on another device during a check."""

import copy
from contextlib import contextmanager

import numpy as np

from nn.gpu.device import device_of, is_count, to_device
from nn.layer import y_and_cache


class GradientError(AssertionError):
    """A backward that does not differentiate its forward, or a layer that breaks the layer contract."""


class State:
    """A copy of the buffers and generator states of a layer."""

    def __init__(self, layer):
        self.buffers = [
            (owner, name, getattr(owner, name).copy()) for _, owner in layer.layers() for name in owner.buffers
        ]
        self.generators = [(g, copy.deepcopy(g.bit_generator.state)) for g in layer.generators().values()]

    def restore(self):
        for owner, name, value in self.buffers:
            getattr(owner, name)[...] = value.real if getattr(owner, name).dtype.kind == "f" else value
        for generator, state in self.generators:
            generator.bit_generator.state = copy.deepcopy(state)


@contextmanager
def borrowed(layer, dtype, device=None):
    """In the block the layer's parameters and buffers are copies of another dtype, on a device (None: its own);
    afterwards they are the original ones."""
    device = device or device_of(layer)
    parameters = [(p, p.value, p.grad) for p in layer.parameters().values()]
    attributes = [
        (owner, name, getattr(owner, name), name in owner.buffers)
        for _, owner in layer.layers()
        for name in (*owner.buffers, *owner.constants)
    ]
    try:
        for p, value, grad in parameters:
            p.value, p.grad = to_device((value.astype(dtype), grad.astype(dtype)), device)
        for owner, name, value, is_buffer in attributes:
            if is_buffer:
                value = value.astype(dtype if value.dtype.kind in "fc" else value.dtype)
            setattr(owner, name, value if is_count(value) else to_device(value, device))
        yield
    finally:
        for p, value, grad in parameters:
            p.value, p.grad = value, grad
        for owner, name, value, _ in attributes:
            setattr(owner, name, value)


def forward(layer, inputs, training, state=None):
    """(list of the floating-point outputs, cache); the layer's buffers and generators are restored.

    state: State(layer), for a check that calls this many times.
    """
    state = state or State(layer)
    y, cache = y_and_cache(layer, layer.forward(*inputs, training=training))
    state.restore()
    return floats(y), cache


def floats(y):
    """The floating-point outputs as a list."""
    return [y for y in as_tuple(y) if y.dtype.kind in "fc"]


def copied(x, dtype, device="cpu"):
    """A copy of x on a device, floats as dtype; None for None, an optional input left out."""
    if x is None:
        return None
    x = np.array(to_device(x, "cpu"))
    return to_device(x.astype(dtype) if x.dtype.kind in "fc" else x, device)


def as_tuple(x):
    """(x,) unless it is a tuple."""
    return x if isinstance(x, tuple) else (x,)


def pack(dys):
    """The argument of backward: the one gradient, or a tuple of several."""
    return dys[0] if len(dys) == 1 else tuple(dys)
