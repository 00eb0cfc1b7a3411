"""No memory left: the message has the size wanted, the layer, the line, the inputs, and what to do."""

import numpy as np
import pytest

import nn
from nn.layer import Layer
from vision.training.interruption import OutOfMemory, memory_explained


class Greedy(Layer):
    """Runs out of memory with the error of its device."""

    def __init__(self, error, where):
        self.error, self.where = error, where

    def forward(self, x, training=True):
        self._take("forward")
        return x, None

    def backward(self, dy, cache):
        self._take("backward")
        return dy

    def _take(self, now):
        if now == self.where:
            raise self.error


def cupys(device):
    """CuPy's own error, with its text."""
    if hasattr(device.cuda.memory, "MemoryPool"):  # the real one: (bytes wanted, bytes in use)
        return device.cuda.memory.OutOfMemoryError(1024, 2048)
    return device.cuda.memory.OutOfMemoryError("Out of memory allocating 1,024 bytes (allocated so far: 2,048 bytes).")


def run(model, x):
    with memory_explained(model):
        y, cache = model.forward(x)
        model.backward(y, cache)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_the_layer_is_named(device, where):
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), Greedy(cupys(device), where))).to("gpu")
    with pytest.raises(OutOfMemory) as raised:
        run(model, device.asarray(np.ones((2, 3), np.float32)))
    text = str(raised.value)
    assert text.startswith("Out of memory allocating 1,024 bytes (allocated so far: 2,048 bytes): in 1.1 (Greedy.")
    name = "x" if where == "forward" else "dy"
    assert f"Greedy.{where} of {name} float32 (2, 4)" in text
    assert text.endswith("make the batch or its images (texts) smaller, or take a smaller model")


def test_numpys_error_is_explained_too():
    with pytest.raises(OutOfMemory, match="^Unable to allocate .* in no layer"), memory_explained(nn.Linear(1, 1)):
        np.ones(1 << 60, np.uint8)


def test_other_errors_pass():
    with pytest.raises(ValueError, match="other"), memory_explained(nn.Linear(1, 1)):
        raise ValueError("other")
