"""Kernels for the tests of the stand-in for CuPy."""

from pathlib import Path

import numpy as np

from tests.cupy_stand_in import cupy

HERE = Path(__file__).parent


def kernel(name, file="stand_in.cu"):
    """A kernel of stand_in.cu: no thread waits for another."""
    source = (HERE / file).read_text(encoding="utf-8")
    return cupy.RawModule(code=source, options=("-std=c++17",)).get_function(name)


def waiting(name):
    """A kernel of stand_in_waiting.cu: they have barriers."""
    return kernel(name, "stand_in_waiting.cu")


def floats(n, dtype=np.float32):
    """0, 1, ... n - 1 on the device."""
    return cupy.arange(n, dtype=dtype)
