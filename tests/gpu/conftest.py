"""The device that tests of device code run on: the stand-in for CuPy, or CuPy itself where NN_TEST_DEVICE is "gpu"."""

import importlib
import os
import sys

import pytest

from tests.cupy_stand_in import compiler, cupy


@pytest.fixture(params=["gpu" if os.environ.get("NN_TEST_DEVICE") == "gpu" else "stand-in"])
def device(request, monkeypatch):
    """The module `cupy`: device.asarray moves host data to it, device.asnumpy gets it back."""
    if request.param == "gpu":
        return importlib.import_module("cupy")
    if compiler.problem():
        pytest.skip(compiler.problem())
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy
