"""Kernel launches that the stand-in refuses, because a GPU would give an error or wrong results."""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cupy_stand_in import compiler
from tests.cupy_stand_in import cupy as xp
from tests.cupy_stand_in.kernels import KernelError
from tests.gpu.stand_in_kernels import floats, kernel, waiting

pytestmark = pytest.mark.skipif(bool(compiler.problem()), reason=compiler.problem())

X, Y = floats(6).reshape(2, 3), xp.zeros((2, 3), np.float32)
REFUSED = {
    "other dtype": ((Y, X.astype(np.float64), np.float32(1), np.int32(6)), "x must be const float32 *, got float64 *"),
    "Python int": ((Y, X, np.float32(1), 6), "n must be int32, got int64"),
    "Python float": ((Y, X, 1.0, np.int32(6)), "a must be float32, got float64"),
    "array for a number": ((Y, X, X, np.int32(6)), "a must be float32, got float32 *"),
    "number for an array": ((Y, np.uint64(8), np.float32(1), np.int32(6)), "x must be const float32 *, got uint64"),
    "half precision": ((Y.astype(np.float16), X, np.float32(1), np.int32(6)), "y must be float32 *, got float16"),
    "transposed": ((Y, X.T, np.float32(1), np.int32(6)), "x is not contiguous, shape (3, 2)"),
    "too few": ((Y, X), "has 4 parameters, got 2 arguments"),
}


@pytest.mark.parametrize("arguments, message", REFUSED.values(), ids=REFUSED)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(KernelError, match=re.escape(message)):
        kernel("scale_forward")((1,), (8,), arguments)


@pytest.mark.parametrize("value", [np.zeros((2, 3), np.float32), None, "x"], ids=["NumPy", "None", "text"])
def test_arguments_of_other_kinds_are_refused(value):
    with pytest.raises(TypeError, match="Unsupported type .*: argument x of kernel scale_forward"):
        kernel("scale_forward")((1,), (8,), (Y, value, np.float32(1), np.int32(6)))


OUTSIDE = {  # (n, from, to) of shift: y[i + to] = x[i + from] for i < n
    "read after the end": ((8, 1, 0), "outside its arguments, 0 bytes after the end of x (2, 4) float32"),
    "read far after": ((1, 300, 0), "outside its arguments, 1168 bytes after the end of x (2, 4) float32"),
    "written after the end": ((8, 0, 1), "outside its arguments, 0 bytes after the end of y (2, 4) float32"),
    "written far after": ((8, 0, 9), "outside its arguments, 4 bytes after the end of y (2, 4) float32"),
    "written before": ((8, 0, -1), "writes outside its arguments: 1 bytes before the begin of y (2, 4) float32"),
    "written far before": ((8, 0, -2000), "outside its arguments, 8000 bytes before the begin of y (2, 4) float32"),
}


@pytest.mark.parametrize("numbers, message", OUTSIDE.values(), ids=OUTSIDE)
def test_memory_outside_the_arguments_is_not_touched_unnoticed(numbers, message):
    x, y = xp.zeros((2, 4), np.float32), xp.zeros((2, 4), np.float32)
    with pytest.raises(KernelError, match=re.escape(message)):
        kernel("shift")((1,), (8,), (y, x, *map(np.int32, numbers)))


def test_a_write_between_the_end_and_the_alignment_is_noticed():
    x, y = floats(6), xp.zeros((2, 3), np.float32)  # 24 bytes, and 8 up to the guard page
    with pytest.raises(KernelError, match=re.escape("writes outside its arguments: 4 bytes after the end of y (2, 3)")):
        kernel("shift")((1,), (6,), (y, x, *map(np.int32, (1, 0, 7))))


def test_an_empty_array_is_not_touched_unnoticed():
    with pytest.raises(KernelError, match="in dynamic shared memory or an empty array: block"):
        kernel("scale_forward")((1,), (8,), (Y.copy(), xp.zeros(0, np.float32), np.float32(1), np.int32(6)))


def test_memory_before_an_array_is_nan():
    x, y = xp.zeros(4, np.float32), xp.zeros(4, np.float32)
    kernel("shift")((1,), (8,), (y, x, np.int32(4), np.int32(-2), np.int32(0)))
    assert np.isnan(y.get()).tolist() == [True, True, False, False]


def test_after_a_fault_the_next_launch_is_right():
    x, y = floats(4), xp.zeros(4, np.float32)
    for _ in range(3):
        with pytest.raises(KernelError, match=r"block \(0, 0, 0\), thread \(4, 0, 0\)"):
            kernel("shift")((1,), (8,), (y, x, np.int32(8), np.int32(0), np.int32(0)))
        with pytest.raises(KernelError, match="barrier"):
            waiting("some_wait")((2,), (64,), (np.int32(3),))
        total = xp.empty(1)
        waiting("total")((1,), (64,), (total, floats(100, np.float64), np.int32(100)))
        assert total.item() == 4950
    assert y.tolist() == [0] * 4  # unchanged by the launch that failed


def test_other_faults_are_named():
    y, one = xp.zeros(1, np.int32), np.int32(1)
    with pytest.raises(KernelError, match="kernel divide_one_of_four divides a whole number by 0: block"):
        kernel("divide_one_of_four")((1,), (1,), (y, np.int32(0), one))
    with pytest.raises(KernelError, match="kernel divide_one_of_four indexes an array of fixed size outside"):
        kernel("divide_one_of_four")((1,), (1,), (y, one, np.int32(4)))
    with pytest.raises(KernelError, match="kernel some_wait has a barrier that only some threads of block"):
        waiting("some_wait")((2,), (64,), (np.int32(1),))
    x, y = xp.zeros(9), xp.zeros(9)
    with pytest.raises(KernelError, match="kernel reverse writes outside its 72 bytes of shared memory"):
        waiting("reverse")((1,), (9,), (y, x, np.int32(1)), shared_mem=72)
    with pytest.raises(KernelError, match="kernel reverse reads or writes .*, in dynamic shared memory"):
        waiting("reverse")((1,), (9,), (y, x, np.int32(9)), shared_mem=72)


@pytest.mark.parametrize(
    "grid, block, shared",
    [
        ((0,), (8,), 0),
        ((1, 65536), (8,), 0),
        ((1,), (2048,), 0),
        ((1,), (64, 32), 0),
        ((1,), (1, 1, 65), 0),
        ((1,), (8,), 49153),
    ],
)
def test_launches_that_no_gpu_accepts_are_refused(grid, block, shared):
    with pytest.raises(KernelError, match="kernel scale_forward: no GPU has a grid of"):
        kernel("scale_forward")(grid, block, (Y, X, np.float32(1), np.int32(6)), shared_mem=shared)


@pytest.mark.parametrize(
    "line, message",
    [
        ("y[0] = INFINITY;", "INFINITY"),
        ("int64_t i = 0;", "int64_t"),
        ("y[0] = std::sqrt(2.0f);", "std"),
        ("y[0] = z;", "z"),
        ("#include <cstdint>", "NVRTC finds no standard headers"),
    ],
)
def test_source_that_nvrtc_would_not_compile_is_refused(line, message):
    source = f'extern "C" __global__ void f(float *y) {{\n{line}\n}}'
    with pytest.raises(compiler.CompileException, match=message):
        xp.RawModule(code=source, options=("-std=c++17",)).get_function("f")


def test_a_kernel_that_is_not_there_is_named():
    with pytest.raises(compiler.CompileException, match="no kernel scale in this source, which has scale_forward"):
        kernel("scale")


def test_options_are_a_tuple():
    with pytest.raises(TypeError, match="options must be a tuple, got list"):
        xp.RawModule(code="", options=["-std=c++17"])


@pytest.mark.parametrize("name, message", [(None, "g[+][+], which is not"), ("/bin/false", "/bin/false does not")])
def test_without_a_compiler_it_says_so(name, message, monkeypatch, tmp_path):
    monkeypatch.setattr(compiler, "COMPILER", name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for function in (compiler.problem, compiler.machine, compiler._load):
        monkeypatch.setattr(compiler, function.__name__, function.__wrapped__)  # without the cache
    assert re.search(message, compiler.problem())


def test_libraries_of_another_user_are_not_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    somebody = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    (tmp_path / f"cupy-stand-in-{somebody}").mkdir()
    with pytest.raises(PermissionError, match="another user's"):
        compiler._load.__wrapped__("", ())


def test_what_several_need_at_once_is_compiled_once(monkeypatch, tmp_path):
    """Threads here, the workers of a test run there: each opens the lock anew."""
    commands = []

    def slow(command, **options):
        commands.append(command)
        time.sleep(0.1)
        Path(command[-1]).touch()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(compiler, "subprocess", SimpleNamespace(run=slow))
    with ThreadPoolExecutor(4) as pool:
        libraries = set(pool.map(compiler._library, ["int x;"] * 4, [()] * 4))
    assert len(commands) == len(libraries) == 1 and libraries.pop().exists()
