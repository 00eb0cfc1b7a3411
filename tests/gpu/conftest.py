"""The device of the tests of device code: the stand-in for CuPy, or CuPy itself where NN_TEST_DEVICE is "gpu"."""

import importlib
import os
import sys

import pytest

from tests.cupy_stand_in import compiler, cupy
from tests.gpu.kernel_files import sources


def pytest_collection_finish(session):
    """Before a run of all tests: g++ compiles the kernels on other cores while other tests run."""
    if any(item.path.name == "test_kernels_compile.py" for item in session.items):
        compiler.compile_ahead([text for _, text in sources().values()], ("-std=c++17",))


def pytest_sessionfinish():
    compiler.compile_no_more()


@pytest.fixture(params=["gpu" if os.environ.get("NN_TEST_DEVICE") == "gpu" else "stand-in"])
def device(request, monkeypatch):
    """The module `cupy`: device.asarray copies to the GPU, device.asnumpy to the CPU."""
    if request.param == "gpu":
        return importlib.import_module("cupy")
    if compiler.problem():
        pytest.skip(compiler.problem())
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy
