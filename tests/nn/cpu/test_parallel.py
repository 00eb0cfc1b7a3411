"""Threads, matrix products in blocks, scratch memory; the number of threads changes no bit of any layer."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nn.cpu import parallel as backend
from nn.cpu.parallel import matmul, parallel_for, thread_count, workspace
from nn.dispatch import array_module

ROOT = Path(__file__).resolve().parents[3]


def test_array_module_is_numpy_without_cupy():
    assert array_module(np.zeros(3)) is np and array_module(np.zeros(3), 1.0, [2]) is np and array_module() is np


def test_array_module_is_cupy_where_an_array_is(monkeypatch):
    class Array:
        pass

    class Cupy:
        ndarray = Array

    monkeypatch.setitem(sys.modules, "cupy", Cupy)
    assert array_module(np.zeros(3), Array()) is Cupy and array_module(np.zeros(3)) is np


@pytest.mark.parametrize("wanted, count", [("1", 1), ("7", 7), ("", len(os.sched_getaffinity(0)))])
def test_thread_count(wanted, count, monkeypatch):
    monkeypatch.setenv("NN_THREADS", wanted)
    assert thread_count.__wrapped__() == count


@pytest.mark.parametrize("wanted", ["0", "-2", "two", "1.5"])
def test_bad_thread_count(wanted, monkeypatch):
    monkeypatch.setenv("NN_THREADS", wanted)
    with pytest.raises(ValueError, match=f"^NN_THREADS must be a whole number of at least 1, got '{wanted}'$"):
        thread_count.__wrapped__()


@pytest.fixture(params=[1, 2, 5])
def threads(request, monkeypatch):
    """parallel_for with so many threads, whatever this machine has."""
    monkeypatch.setattr(backend, "thread_count", lambda: request.param)
    pool = backend._pool.__wrapped__()
    monkeypatch.setattr(backend, "_pool", lambda: pool)
    yield request.param
    for _ in range(request.param - 1):
        pool.put(None)  # ends a thread


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50])
def test_parallel_for_calls_each_once_and_returns_when_all_are_done(n, threads):
    calls = []

    def task(i):
        time.sleep(0.001)
        calls.append(i)

    parallel_for(task, n)
    assert sorted(calls) == list(range(n))


def test_parallel_for_uses_its_threads(threads):
    everybody, names = threading.Barrier(threads), set()

    def task(i):
        everybody.wait(timeout=10)  # breaks unless so many tasks run at a time
        names.add(threading.get_ident())

    parallel_for(task, threads)
    assert len(names) == threads


def test_an_error_in_a_task_is_raised(threads):
    def task(i):
        if i == 3:
            raise KeyError("task 3")

    with pytest.raises(KeyError, match="task 3"):
        parallel_for(task, 5)
    parallel_for(lambda i: None, 5)  # and the threads still work


def test_nested_calls_end(threads):
    calls = []
    parallel_for(lambda i: parallel_for(lambda j: calls.append((i, j)), 6), 6)
    assert sorted(calls) == [(i, j) for i in range(6) for j in range(6)]


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 7, 1), (0, 4, 3), (3, 0, 4), (128, 130, 513), (200, 100, 256)])
def test_matmul(shape, threads):
    m, k, n = shape
    rng = np.random.default_rng(110)
    a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    wanted = np.einsum("mk,kn->mn", a, b)
    for left, right in ((a, b), (a.T.copy().T, b.T.copy().T), (a + 1j, b)):
        np.testing.assert_allclose(matmul(left, right).real, wanted, rtol=1e-10, atol=1e-11)
    assert matmul(a.astype(np.float32), b.astype(np.float32)).dtype == np.float32
    assert matmul(a.astype(np.float32), b).dtype == np.float64


def test_workspace_is_this_threads_own_and_grows():
    first = workspace((3, 4), np.float32)
    assert first.shape == (3, 4) and first.dtype == np.float32 and first.flags.c_contiguous
    assert np.shares_memory(first, workspace((5,), np.float64))  # overwritten by the next call, as promised
    big = workspace((100, 1000), np.complex128)
    big[...] = 1j
    assert big.shape == (100, 1000) and big.flags.aligned
    others = []
    thread = threading.Thread(target=lambda: others.append(workspace((3, 4), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(others[0], workspace((3, 4), np.float32))


BITS = """
import hashlib, numpy as np, nn
from nn.cpu.parallel import thread_count
rng = np.random.default_rng(0)
model = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1, rng=rng), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 48, 3, stride=2, padding=1, rng=rng), nn.LeakyReLU(), nn.Conv2d(48, 32, 1, rng=rng),
)
x = rng.normal(size=(5, 3, 64, 96)).astype(np.float32)
features, cache = model.forward(x)
boxes = (rng.uniform(0, 60, (90, 4)) + [0, 0, 30, 30]).astype(np.float32)
pool, image_index = nn.RoIPool(7, 1 / 4), rng.integers(0, 5, 90)
pooled, c_pool = pool.forward(features, boxes, image_index)
head = nn.Linear(32 * 49, 300, rng=rng)
y, c_head = head.forward(pooled.reshape(90, -1))
dpooled = head.backward(rng.normal(size=y.shape).astype(np.float32), c_head)
dx = model.backward(pool.backward(dpooled.reshape(pooled.shape), c_pool)[0], cache)
arrays = [features, pooled, y, dx, *(p.grad for m in (model, head) for p in m.parameters().values())]
from threadpoolctl import threadpool_info
blas = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
print(thread_count(), blas, hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest(), np.isfinite(dx).all())
"""


def test_the_number_of_threads_changes_no_bit():
    lines = []
    for threads in ("1", "2", "3"):
        environment = os.environ | {"NN_THREADS": threads, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
        run = subprocess.run([sys.executable, "-c", BITS], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        lines.append(run.stdout.split())
    assert [line[0] for line in lines] == ["1", "2", "3"] and lines[0][3] == "True"
    assert {line[1] for line in lines} == {"1"}  # BLAS leaves the threads to us
    assert len({line[2] for line in lines}) == 1


def test_a_bad_thread_count_is_reported_at_the_first_layer():
    code = "import numpy as np, nn; nn.Conv2d(1, 1, 1)(np.zeros((1, 1, 2, 2)))"
    environment = os.environ | {"NN_THREADS": "many"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "ValueError: NN_THREADS must be a whole number of at least 1, got 'many'" in run.stderr
