"""Pooling and unpooling by kernels against the same layers on the CPU, with equal bits where nothing is summed."""

import numpy as np
import pytest

import nn
from nn import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    GlobalAvgPool2d,
    MaxPool2d,
    MaxUnpool2d,
    SpatialPyramidPool,
)
from nn.gpu import kernels as cuda
from tests.cupy_stand_in import kernels, no_transfers

TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}
SHAPES = [  # (N, C, H, W), constructor arguments
    ((2, 3, 4, 6), {"kernel_size": 2}),
    ((2, 3, 5, 7), {"kernel_size": 2}),  # a row and a column left over
    ((2, 3, 7, 5), {"kernel_size": 3, "stride": 2}),  # windows overlap
    ((2, 3, 5, 6), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((2, 3, 7, 8), {"kernel_size": 2, "stride": (3, 4)}),  # pixels in no window
    ((1, 2, 5, 7), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    ((2, 3, 6, 5), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ((1, 2, 5, 6), {"kernel_size": 3, "stride": (3, 2), "padding": (1, 0), "ceil_mode": True}),
    ((2, 1, 3, 4), {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),  # a window outside is left out
    ((1, 2, 2, 1), {"kernel_size": 3, "stride": 2, "ceil_mode": True, "padding": 1}),
    ((3, 5, 17, 19), {"kernel_size": 3, "stride": 2, "padding": 1}),  # several blocks of threads
    ((1, 2, 13, 14), {"kernel_size": 13, "stride": 1, "padding": 6}),  # more than 127 positions in a window
    ((2, 3, 4, 5), {"kernel_size": 1}),
    ((0, 3, 4, 5), {"kernel_size": 2}),
    ((2, 0, 4, 5), {"kernel_size": 2}),
]
DILATED = [
    ((2, 3, 7, 8), {"kernel_size": 2, "stride": 1, "dilation": (2, 3)}),
    ((2, 1, 8, 7), {"kernel_size": 3, "stride": 2, "dilation": 2, "padding": 1, "ceil_mode": True}),
    ((2, 2, 11, 12), {"kernel_size": (3, 2), "stride": (3, 2), "dilation": (2, 3), "padding": 1}),
]


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def both(device, layer, x, **options):
    """[outputs and input gradients on the CPU, the same on the device], all as arrays on the CPU."""
    results = []
    for xp in (np, device):
        y, cache = layer.forward(xp.asarray(x), **{name: xp.asarray(a) for name, a in options.items()})
        given = as_tuple(y)[0]
        gradient = np.random.default_rng(5).standard_normal(given.shape)
        dx = layer.backward(xp.asarray(gradient.astype(given.dtype)), cache)
        outputs = *as_tuple(y), *as_tuple(dx)
        results.append([a if xp is np or a is None else device.asnumpy(a) for a in outputs])
    return results


def agree(results, tolerance):
    for wanted, found in zip(*results):
        if wanted is None:
            assert found is None
            continue
        assert wanted.shape == found.shape and wanted.dtype == found.dtype
        scale = np.abs(wanted, where=np.isfinite(wanted), out=np.zeros(wanted.shape)).max(initial=0)
        np.testing.assert_allclose(
            found, wanted, rtol=0, atol=tolerance * scale
        )  # NaNs and infinities at the same positions


def values(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape, options", SHAPES + DILATED)
def test_max_pooling(shape, options, dtype, device):
    agree(both(device, MaxPool2d(**options, return_indices=True), values(shape, dtype)), 0)


@pytest.mark.parametrize("shape, options", SHAPES + DILATED)
def test_max_pooling_of_ties_nan_and_infinities(shape, options, device):
    x = np.random.default_rng(1).choice([0.0, 1.0, np.nan, np.inf, -np.inf], shape, p=[0.3, 0.3, 0.1, 0.1, 0.2])
    agree(both(device, MaxPool2d(**options, return_indices=True), x), 0)


def test_indices_of_windows_of_minus_infinity_are_in_the_image(device):
    x = np.full((1, 1, 3, 4), -np.inf)
    agree(both(device, MaxPool2d(3, 2, 1, return_indices=True), x), 0)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("more", [{}, {"count_include_pad": False}, {"divisor_override": 3}])
@pytest.mark.parametrize("shape, options", SHAPES)
def test_average_pooling(shape, options, more, dtype, device):
    agree(both(device, AvgPool2d(**options, **more), values(shape, dtype)), TOLERANCES[dtype])


BINS = [((2, 3, 7, 8), 3), ((2, 3, 7, 8), (2, None)), ((1, 2, 3, 4), (5, 9)), ((2, 3, 6, 4), 1), ((3, 4, 13, 17), 6)]
BINS += [((0, 3, 4, 5), 2), ((2, 3, 5, 6), None)]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape, output_size", BINS)
def test_adaptive_pooling(shape, output_size, dtype, device):
    x, tolerance = values(shape, dtype), TOLERANCES[dtype]
    agree(both(device, AdaptiveAvgPool2d(output_size), x), tolerance)
    agree(both(device, AdaptiveMaxPool2d(output_size, return_indices=True), x), tolerance)
    agree(both(device, SpatialPyramidPool((3, 1)), x), tolerance)
    agree(both(device, GlobalAvgPool2d(), x), tolerance)


@pytest.mark.parametrize("shape, output_size", BINS)
def test_adaptive_max_pooling_of_ties_and_nan(shape, output_size, device):
    x = np.random.default_rng(1).choice([0.0, 1.0, np.nan, -np.inf], shape, p=[0.3, 0.3, 0.2, 0.2])
    agree(both(device, AdaptiveMaxPool2d(output_size, return_indices=True), x), 1e-12)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 5, 9, 11), (1, 1, 1, 1), (0, 2, 3, 4)])
def test_unpooling_with_repeated_positions(shape, dtype, device):
    indices = (
        np.random.default_rng(2).integers(0, 4 * shape[2] * shape[3], shape) // 3
    )  # a third of the positions occurs
    agree(both(device, MaxUnpool2d(2), values(shape, dtype), indices=indices), 0)
    agree(both(device, MaxUnpool2d(2), values(shape, dtype), indices=indices.astype(np.int32)), 0)


def test_unpooling_inverts_pooling_with_overlapping_windows(device):
    pool, unpool = MaxPool2d(3, 2, 1, return_indices=True), MaxUnpool2d(3, 2, 1)
    x = device.asarray(values((2, 3, 9, 11), np.float32))
    y, indices = pool(x)
    back = unpool(y, indices, x.shape)
    assert ((back == x) | (back == 0)).all() and (back != 0).any()


def test_an_index_outside_the_plane_makes_its_first_element_nan(device):
    x, indices = np.ones((2, 2, 2, 2)), np.tile(np.arange(0, 16, 4).reshape(2, 2), (2, 2, 1, 1))
    indices[0, 1, 1, 1], indices[1, 0, 0, 0] = 16, -1
    y, cache = MaxUnpool2d(2).forward(device.asarray(x), device.asarray(indices))
    found = device.asnumpy(y)
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    dx = device.asnumpy(MaxUnpool2d(2).backward(device.ones((2, 2, 4, 4)), cache)[0])
    assert dx[0, 1, 1, 1] == dx[1, 0, 0, 0] == 0 and dx[0, 0].all() and dx[1, 1].all()
    with pytest.raises(ValueError, match=r"MaxUnpool2d: indices must be in 0 .. 15 .* got -1 .. 16"):
        MaxUnpool2d(2)(x, indices)


EACH = [
    (MaxPool2d(3, 2, 1, return_indices=True), {}),
    (AvgPool2d(3, 2, 1), {}),
    (AdaptiveAvgPool2d(3), {}),
    (AdaptiveMaxPool2d(3, return_indices=True), {}),
    (MaxUnpool2d(2), {"indices": np.random.default_rng(3).integers(0, 40, (2, 7, 5, 6))}),
]


@pytest.mark.parametrize("layer, options", EACH, ids=lambda v: type(v).__name__)
def test_inputs_that_are_not_contiguous_without_transfers(layer, options, device):
    results, rng = [], np.random.default_rng(4)
    whole = rng.standard_normal((2, 5, 6, 14))
    for xp in (np, device):
        x, arrays = xp.asarray(whole)[..., ::2].transpose(0, 3, 1, 2), {k: xp.asarray(v) for k, v in options.items()}
        y, cache = layer.forward(x, **arrays)
        given = as_tuple(y)[0]
        dy = xp.asarray(np.random.default_rng(6).standard_normal(given.shape[::-1])).transpose()
        with no_transfers():
            layer.forward(x, **arrays)
            dx = as_tuple(layer.backward(dy, cache))[0]
        results.append([a if xp is np else device.asnumpy(a) for a in (given, dx)])
    agree(results, 1e-12)


@pytest.mark.parametrize("layer, options", EACH, ids=lambda v: type(v).__name__)
def test_the_same_bits_in_any_order_of_threads(layer, options, device, monkeypatch):
    x, options = device.asarray(values((2, 7, 5, 6), np.float32)), {k: device.asarray(v) for k, v in options.items()}
    results = []
    for backwards in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", backwards)
        y, cache = layer.forward(x, **options)
        y = as_tuple(y)[0]
        results.append((y, as_tuple(layer.backward(y, cache))[0]))
    for first, second in zip(*results):
        assert (first == second).all()


@pytest.mark.parametrize("layer, options", EACH, ids=lambda v: type(v).__name__)
def test_one_kernel_for_each_pass(layer, options, device):
    launches = [cuda.launches]
    x, options = device.asarray(values((2, 7, 5, 6), np.float32)), {k: device.asarray(v) for k, v in options.items()}
    y, cache = layer.forward(x, **options)
    launches.append(cuda.launches)
    layer.backward(as_tuple(y)[0], cache)
    launches.append(cuda.launches)
    # unpooling finds out first which value each position keeps; the indices of max pooling are a kernel of their own
    wanted = {MaxUnpool2d: [2, 2], MaxPool2d: [2, 1]}.get(type(layer), [1, 1])
    assert np.diff(launches).tolist() == wanted


@pytest.mark.parametrize("build", [lambda: MaxPool2d(3, 2, 1, return_indices=True), lambda: AvgPool2d(3, 2, 1)])
@pytest.mark.parametrize("dtype, plain", [(np.complex128, False), (np.float64, True)])
def test_complex_numbers_and_plain_use_array_code(build, dtype, plain, device, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    before = cuda.launches
    agree(both(device, build(), values((2, 3, 7, 6), dtype)), 1e-12)
    assert cuda.launches == before


def test_an_adaptive_bin_whose_product_of_index_and_size_passes_32_bits(device):
    """Bin i begins at floor(i * size / bins): 40,000 * 70,000 is more than 2^31."""
    pool, x = AdaptiveAvgPool2d((1, 40000)), np.random.default_rng(0).standard_normal((1, 1, 1, 70000))
    i = np.arange(40000)
    begin, end = i * 70000 // 40000, -(-(i + 1) * 70000 // 40000)
    sums = np.concatenate([[0], np.cumsum(x)])
    y, cache = pool.forward(device.asarray(x))
    np.testing.assert_allclose(device.asnumpy(y[0, 0, 0]), (sums[end] - sums[begin]) / (end - begin), atol=1e-10)
    dx = device.asnumpy(pool.backward(device.asarray(np.ones(y.shape)), cache))[0, 0, 0]
    wanted = np.cumsum(np.bincount(begin, 1 / (end - begin), 70001) - np.bincount(end, 1 / (end - begin), 70001))
    np.testing.assert_allclose(dx, wanted[:-1], atol=1e-10)


def test_windows_of_more_positions_than_32_bits_count(device):
    x = device.asarray(np.random.default_rng(0).random((1, 1, 3, 3)))
    y, cache = AvgPool2d(65536, 1, 32768).forward(x)  # 2^32 positions, nearly all of them in the padding
    np.testing.assert_allclose(device.asnumpy(y[0, 0, 1, 1]), float(x.sum()) / 2**32, rtol=1e-12)
    dx = AvgPool2d(65536, 1, 32768).backward(device.asarray(np.ones(y.shape)), cache)
    np.testing.assert_allclose(device.asnumpy(dx), np.full((1, 1, 3, 3), 16 / 2**32), rtol=1)
    with pytest.raises(ValueError, match="max_pool: the number of positions of a window is 4294967296, beyond an int"):
        MaxPool2d(65536, 1, 32768).forward(x)
