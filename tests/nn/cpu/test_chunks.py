"""Chunks: that they cover the whole, in order; and real images with complex parameters."""

import numpy as np
import pytest

from nn.cpu import chunks
from nn.cpu.chunks import add_product, add_up, in_blocks, in_chunks, in_slices, real
from nn.layers.batch_norm import BatchNorm1d, BatchNorm2d
from nn.layers.layer_norm import LayerNorm
from nn.layers.local_norm import L2Norm
from nn.layers.prelu import PReLU


@pytest.mark.parametrize("step", [1, 2])
def test_chunks_are_the_whole(step):
    """Large arrays go to the threads in chunks, however they lie in memory."""
    x = np.random.default_rng(72).normal(size=(5, 1 << 17))[:, ::step]
    assert x.size > chunks.CHUNK
    seen = []
    result = in_chunks(lambda a, b, out: seen.append(a.size) or np.add(a, b, out=out), x, 2 * x)
    np.testing.assert_array_equal(result, 3 * x)
    least = -(-x.size // chunks.CHUNK)
    assert len(seen) == least + least % 2 and sum(seen) == x.size  # an even number, for two threads
    assert max(seen) <= chunks.CHUNK and max(seen) - min(seen) < len(seen)  # about equal


@pytest.mark.parametrize("size, sizes", [(chunks.LEAST, 1), (chunks.LEAST + 2, 2), (chunks.CHUNK, 2)])
def test_smaller_arrays_go_to_two_threads(size, sizes):
    seen = []
    x = np.arange(size, dtype=np.float32)
    np.testing.assert_array_equal(in_chunks(lambda a, out: seen.append(a.size) or np.negative(a, out=out), x), -x)
    assert seen == [size // sizes] * sizes


def test_slices_cover_the_axis_and_come_in_order():
    for length, size, chunk in [(7, 70, 30), (7, 70, 1), (7, 70, 1000), (1, 50, 10), (0, 0, 10), (3, 0, 10)]:
        parts = in_slices(lambda s, n=length: list(range(n))[s], length, size, chunk=chunk)
        assert [i for part in parts for i in part] == (list(range(length)) if size else [])
        assert all(0 < len(part) <= max(1, chunk * length // size) for part in parts)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 7, 1), (5, 1, 6), (0, 3, 2), (2, 0, 3), (2, 3, 0)])
@pytest.mark.parametrize("chunk", [1, 9, 14, 1000])
def test_blocks_cover_the_array_and_keep_axis_1_whole(shape, chunk):
    seen = np.zeros(shape, int)
    blocks = in_blocks(lambda block: block, shape, chunk=chunk)
    for block in blocks:
        part = seen[block]
        part += 1
        assert part.shape[1] == shape[1] and 0 < part.size <= max(chunk, shape[1])
    starts = [(rows.start, columns.start or 0) for rows, _, columns in blocks]
    assert (seen == 1).all() and starts == sorted(starts)


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4, 5), (3, 0, 5), (1000, 3, 1200)])
def test_add_product(shape):
    m, k, n = shape
    rng = np.random.default_rng(73)
    total, a, b = (rng.integers(-9, 9, size).astype(float) for size in ((m, n), (m, k), (k, n)))
    wanted = total + a @ b
    add_product(total, a, b)
    np.testing.assert_array_equal(total, wanted)


def test_what_a_task_raises_comes_out():
    with pytest.raises(ZeroDivisionError):
        in_slices(lambda s: 1 // (4 - s.start), 9, 9, chunk=2)


def test_add_up():
    like = np.ones(3, np.float32)
    assert add_up([], like).tolist() == [0, 0, 0] and add_up([], like).dtype == np.float32
    parts = [like, 2 * like, 4 * like]
    assert add_up(parts, like).tolist() == [7, 7, 7] and parts[0].tolist() == [1, 1, 1]


def test_real():
    assert real() and real(np.zeros(2), None, np.zeros(2, np.float32), axis=1)
    assert not real(np.zeros(2), np.zeros(2, np.complex128))


LAYERS = {
    "PReLU": PReLU,
    "PReLU, a slope a channel": lambda: PReLU(3),
    "LayerNorm": lambda: LayerNorm((4, 5)),
    "L2Norm": lambda: L2Norm(3),
    "BatchNorm2d": lambda: BatchNorm2d(3),
    "BatchNorm2d, frozen": lambda: BatchNorm2d(3, frozen=True),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)
def test_real_images_with_complex_parameters(build, training):
    """As in a complex step in the parameters of a whole model: check_model."""
    x, dy = np.random.default_rng(150).normal(size=(2, 2, 3, 4, 5))
    layer = build().astype(np.float64)
    wanted, cache = layer.forward(x, training)
    layer.backward(dy, cache)
    derivative = layer.weight.grad.sum()
    layer = build().astype(np.complex128)
    layer.weight.value += 1e-30j
    y, _ = layer.forward(x, training)
    np.testing.assert_allclose(y.real, wanted, rtol=1e-14, atol=1e-15)  # differences of elements around 1
    assert (y.imag * dy).sum() / 1e-30 == pytest.approx(derivative, rel=1e-12)


def test_running_statistics_alone_can_be_complex():
    layer, x = BatchNorm1d(3, affine=False).astype(np.complex128), np.random.default_rng(151).normal(size=(4, 3))
    assert layer.forward(x, training=False)[0].dtype == np.complex128
