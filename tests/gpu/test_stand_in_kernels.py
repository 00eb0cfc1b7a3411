"""Kernels on the stand-in: CUDA source runs on the CPU as on a GPU."""

import numpy as np
import pytest

from tests.cupy_stand_in import compiler, kernels
from tests.cupy_stand_in import cupy as xp
from tests.cupy_stand_in.guarded import merge
from tests.gpu.stand_in_kernels import floats, kernel, waiting

pytestmark = pytest.mark.skipif(bool(compiler.problem()), reason=compiler.problem())


@pytest.mark.parametrize("n", [0, 1, 5, 256, 257, 5000, 100_000])
def test_a_kernel_computes_every_element(n):
    x, y = floats(n), xp.empty(n, np.float32)
    kernel("scale_forward")((n // 256 + 1,), (256,), (y, x, np.float32(2.5), np.int32(n)))
    assert np.array_equal(y.get(), 2.5 * np.arange(n, dtype=np.float32))


def test_blocks_and_threads_have_three_axes():
    seen = xp.zeros((2, 3, 2, 2, 4, 5), np.int32)
    kernel("index_space")((2, 3, 2), (5, 4, 2), (seen,))
    blocks, threads = np.arange(12).reshape(2, 3, 2) // 2 % 3, np.arange(2)
    assert np.array_equal(
        seen.get().reshape(2, 3, 2, 2, 20), (1 + 1000 * blocks[..., None, None] + 100 * threads[:, None]).repeat(20, -1)
    )


def test_arrays_that_share_memory_share_it_in_the_kernel():
    x = floats(12)
    kernel("scale_forward")((1,), (32,), (x, x, np.float32(3), np.int32(12)))  # in place
    kernel("shift")((1,), (32,), (x[:6], x[4:], np.int32(2), np.int32(0), np.int32(0)))  # overlapping views
    assert x.tolist() == [12, 15, *(3 * i for i in range(2, 12))]


def test_barriers_shared_memory_and_reductions():
    x, y = floats(1000, np.float64), xp.empty(3)
    waiting("total")((3,), (256,), (y, x, np.int32(1000)))
    wanted = [sum(i for i in range(1000) if i // 256 % 3 == block) for block in range(3)]
    assert y.tolist() == wanted
    y = xp.empty(9)
    waiting("reverse")((1,), (9,), (y, x, np.int32(0)), shared_mem=72)
    assert y.tolist() == list(range(9))[::-1]


def test_a_missing_barrier_shows():
    y = xp.empty(8)
    waiting("race")((1,), (8,), (y,))
    assert np.isnan(y.get()).tolist() == [True] * 5 + [False] * 3


def test_threads_can_run_backwards(monkeypatch):
    orders = []
    for backwards in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", backwards)
        order = xp.empty(6, np.int32)
        kernel("first_come")((1,), (6,), (xp.zeros(1, np.int32), order))
        orders.append(order.tolist())
    assert orders == [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]]


def test_warps_exchange_values():
    sums, odd, shifted = xp.empty(3, np.int32), xp.empty(96, np.uint32), xp.empty(96, np.int32)
    waiting("warps")((1,), (96,), (sums, odd, shifted))
    assert sums.tolist() == [sum(range(32 * i, 32 * i + 32)) for i in range(3)]
    assert set(odd.tolist()) == {0xAAAAAAAA}
    assert shifted.tolist() == [(i - 1 if i % 32 else i) + 1000 * (i ^ 3) for i in range(96)]


def test_intrinsics():
    y, bits = xp.empty(1), xp.empty(2, np.uint64)
    waiting("intrinsics")((1,), (1,), (y, bits))
    assert y.item() == 2 + 2 + 2 + 0.5 + 3
    assert bits.tolist() == [0xFEDCBA9876543210 * 0x123456789ABCDEF0 >> 64, 8 + 100 * 31 + 10000 * 4]


def test_a_null_pointer_can_be_passed():
    y = xp.empty(1, np.int32)
    kernel("is_null")((1,), (1,), (y, np.uint64(0)))
    assert y.item() == 1


def test_ranges_that_overlap_are_merged():
    assert merge([(10, 5), (0, 3), (12, 2), (14, 6), (20, 0), (20, 4)]) == [(0, 3), (10, 10), (20, 4)]
