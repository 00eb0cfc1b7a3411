"""GridSample, DeformConv2d and Upsample2d by kernels: the CPU's results, and gradients independent of the order."""

import numpy as np
import pytest

import nn
from nn import AffineGrid, DeformConv2d, GridSample, Upsample2d
from nn.gpu import deform_conv as deform_conv_cuda
from nn.gpu import sampler as sampler_cuda
from nn.gradcheck import check_layer
from tests.cupy_stand_in import kernels, no_transfers

TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}
GRIDS = {
    f"{mode}, {padding}, {'corners' if align else 'edges'}": (mode, padding, align)
    for mode in ("bilinear", "nearest")
    for padding in ("zeros", "border", "reflection")
    for align in (False, True)
}


INTERPOLATIONS = {"mode": "nearest"}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng([21, seed]).standard_normal(shape).astype(dtype)


def points(n, h, w, align, dtype):
    """A grid of points in and far outside an image, many at pixels, at halves, and at its borders."""
    rng = np.random.default_rng(22)
    row, column = (
        rng.choice([rng.uniform(-3, size + 2, 60), rng.integers(-6, 2 * size + 6, 60) / 2]) for size in (h, w)
    )
    if align:
        pair = 2 * column / max(w - 1, 1) - 1, 2 * row / max(h - 1, 1) - 1
    else:
        pair = (2 * column + 1) / w - 1, (2 * row + 1) / h - 1
    return np.tile(np.stack(pair, axis=-1).reshape(1, 6, 10, 2), (n, 1, 1, 1)).astype(dtype)


def run(where, layer, inputs, dy):
    """Outputs, gradients of inputs and of parameters on the CPU (np) or the device, copied to the CPU."""
    layer = layer if where is np else layer.to("gpu")
    inputs = [None if a is None else where.asarray(a) for a in inputs]
    layer.zero_grad()
    with no_transfers():
        y, cache = layer.forward(*inputs)
    dy = where.asarray(dy if dy is not None else normal(*y.shape, seed=99, dtype=y.dtype))
    with no_transfers():
        dx = layer.backward(dy, cache)
    results = [y, *(dx if isinstance(dx, tuple) else (dx,)), *[p.grad for p in layer.parameters().values()]]
    return [a if a is None or where is np else where.asnumpy(a) for a in results]


def check(device, build, inputs, tolerance, dy=None):
    for got, wanted in zip(run(device, build(), inputs, dy), run(np, build(), inputs, dy), strict=True):
        if wanted is None:
            assert got is None
            continue
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        assert abs(got - wanted).max(initial=0) <= tolerance * max(1, abs(wanted).max(initial=0))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (1, 4)], ids=str)
@pytest.mark.parametrize("name", GRIDS)
def test_grid_sample(name, size, dtype, device):
    grid = points(2, *size, GRIDS[name][2], dtype)
    check(device, lambda: GridSample(*GRIDS[name]), (normal(2, 3, *size, dtype=dtype), grid), TOLERANCES[dtype])


def test_nearest_rounds_as_the_cpu(device):
    """Points between two pixels: at the half, and at the float32 values next to it."""
    half = ((2 * np.arange(-2, 20) + 2) / np.float32(17) - 1).astype(np.float32)
    near = np.stack([half, np.nextafter(half, np.float32(-9)), np.nextafter(half, np.float32(9))]).ravel()
    grid = np.stack(np.broadcast_arrays(near, near[:, None]), axis=-1)[None]
    x = normal(1, 1, 17, 17, dtype=np.float32)
    y = GridSample("nearest")(device.asarray(x), device.asarray(grid))
    np.testing.assert_array_equal(device.asnumpy(y), GridSample("nearest")(x, grid))


def test_an_affine_grid_and_all_points_at_one_position(device):
    theta = normal(2, 2, 3, seed=1)
    check(device, lambda: AffineGrid((4, 5)), (theta,), 1e-12)
    for position in (0.0, 0.3, -1.0, 5.0):
        check(device, lambda: GridSample(), (normal(1, 2, 4, 3), np.full((1, 9, 8, 2), position)), 1e-12)


@pytest.mark.parametrize("x_shape, grid_shape", [((0, 3, 4, 5), (0, 2, 2, 2)), ((2, 3, 4, 5), (2, 0, 3, 2))])
def test_no_images_and_no_points(x_shape, grid_shape, device):
    check(device, lambda: GridSample(), (normal(*x_shape), normal(*grid_shape)), 1e-12)


def test_points_that_are_not_finite_give_nan_only_there(device):
    grid = np.zeros((1, 1, 4, 2))
    grid[0, 0, 1, 0], grid[0, 0, 2, 1] = np.nan, np.inf
    for name in GRIDS:
        y = device.asnumpy(GridSample(*GRIDS[name])(device.asarray(np.ones((1, 2, 3, 3))), device.asarray(grid)))
        np.testing.assert_array_equal(np.isfinite(y[0, :, 0]), [[True, False, name.count("border") > 0, True]] * 2)


def test_more_cells_than_an_int_counts_are_refused(device):
    """Maps of one row have a border as large as themselves. Without channels they take no memory."""
    points = sampler_cuda.Points(*device.empty((2, 1, 3), np.float32))
    message = "sampler: the number of cells of maps .* with their borders is 2200000002, beyond an int of 32 bits"
    with pytest.raises(ValueError, match=message):
        sampler_cuda.map_gradient(device.empty((1, 0, 3), np.float32), (1, 0, 1, 1_100_000_000), points)


@pytest.mark.parametrize("slices", [1, 2, 5, 9])
def test_sums_over_channels_in_slices(slices, device, monkeypatch):
    monkeypatch.setattr(sampler_cuda, "THREADS", slices * 2 * 60)
    check(device, lambda: GridSample(), (normal(2, 5, 4, 6), points(2, 4, 6, False, np.float64)), 1e-12)


DEFORMED = {
    "mask": {"kernel_size": (3, 2), "padding": 1},
    "stride, dilation": {"kernel_size": 2, "stride": (2, 1), "dilation": (1, 2)},
    "groups": {"kernel_size": 3, "padding": 1, "groups": 2, "bias": False},
    "offset groups": {"kernel_size": 2, "groups": 2, "offset_groups": 4},
}


def deformed(name, mask=True, n=3, dtype=np.float64, seed=0):
    options = DEFORMED[name]

    def build():
        return DeformConv2d(4, 6, **options, rng=np.random.default_rng(21)).astype(dtype)

    out, taps = build().geometry.output_size(None, 5, 6), np.prod(build().geometry.kernel)
    groups = options.get("offset_groups", 1)
    offset = np.round(4 * normal(n, 2 * groups * taps, *out, seed=seed)) / 2 + 0.0  # on cells and their halves
    offset[:, ::3] += 0.37
    inputs = (
        normal(n, 4, 5, 6, seed=seed + 1),
        offset,
        normal(n, groups * taps, *out, seed=seed + 2) if mask else None,
    )
    return build, [None if a is None else a.astype(dtype) for a in inputs]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("mask", [True, False], ids=["mask", "no mask"])
@pytest.mark.parametrize("name", DEFORMED)
def test_deformable_convolution(name, mask, dtype, device, monkeypatch):
    build, inputs = deformed(name, mask, dtype=dtype)
    check(device, build, inputs, TOLERANCES[dtype])
    monkeypatch.setattr(deform_conv_cuda, "COLUMNS_TOGETHER", 1)  # image by image
    check(device, build, inputs, TOLERANCES[dtype])


@pytest.mark.parametrize("mode", INTERPOLATIONS, ids=lambda mode: ", ".join(mode))
@pytest.mark.parametrize(
    "in_size, size",
    [((4, 5), (8, 10)), ((4, 5), (7, 3)), ((1, 1), (3, 4)), ((6, 5), (1, 1)), ((3, 40), (2, 90)), ((7, 9), (7, 9))],
    ids=str,
)
def test_upsampling_to_a_size(in_size, size, mode, device):
    for dtype, tolerance in TOLERANCES.items():
        check(device, lambda: Upsample2d(size=size, **mode), (normal(2, 3, *in_size, dtype=dtype),), tolerance)


@pytest.mark.parametrize("scale", [2, 1.7, (2.4, 1.2), 0.6, (1 / 3, 3)], ids=str)
@pytest.mark.parametrize("mode", INTERPOLATIONS, ids=lambda mode: ", ".join(mode))
def test_upsampling_by_a_factor(scale, mode, device):
    for dtype, tolerance in TOLERANCES.items():
        check(device, lambda: Upsample2d(scale_factor=scale, **mode), (normal(2, 1, 10, 13, dtype=dtype),), tolerance)


def test_bilinear_positions_are_those_of_double_precision(device):
    """At 3000 columns a position in float32 would have an error of 1e-4."""
    x = normal(1, 1, 1, 1000, dtype=np.float32)
    check(device, lambda: Upsample2d(size=(1, 3001), mode="bilinear"), (x,), 1e-6)


CASES = [
    (lambda: GridSample(), (normal(2, 3, 4, 6), points(2, 4, 6, False, np.float64))),
    deformed("offset groups"),
    (lambda: Upsample2d(size=(7, 9), mode="bilinear"), (normal(2, 3, 4, 5),)),
]


@pytest.mark.parametrize("build, inputs", CASES, ids=["grid", "deform", "upsample"])
def test_views_and_the_order_of_threads(build, inputs, device, monkeypatch):
    """Contiguous or not, forwards or backwards: the same bits."""
    wanted = run(device, build(), inputs, None)
    monkeypatch.setattr(kernels, "reversed_threads", True)
    inputs = [np.asfortranarray(a) for a in inputs]
    layer, moved = build().to("gpu"), [device.asarray(np.ascontiguousarray(a.T)).T for a in inputs]
    y, cache = layer.forward(*moved)
    dy = device.asarray(np.ascontiguousarray(normal(*y.shape, seed=99).T)).T
    assert not moved[0].flags.c_contiguous and not dy.flags.c_contiguous
    dx = layer.backward(dy, cache)
    results = [y, *(dx if isinstance(dx, tuple) else (dx,)), *[p.grad for p in layer.parameters().values()]]
    for got, same in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(device.asnumpy(got), same)


@pytest.mark.parametrize("build, inputs", CASES, ids=["grid", "deform", "upsample"])
def test_array_code_on_the_device(build, inputs, device, monkeypatch):
    layer, moved = build().to("gpu"), [device.asarray(a) for a in inputs]
    fast = layer(*moved)
    monkeypatch.setattr(nn.config, "plain", True)
    assert abs(device.asnumpy(layer(*moved) - fast)).max() < 1e-12


def test_gradients_on_the_device(device):
    x, grid = normal(1, 2, 3, 4), np.random.default_rng(23).uniform(-1.2, 1.2, (1, 2, 3, 2))
    check_layer(GridSample(), x, grid, device="gpu")
    offset = 0.2 + 0.3 * np.random.default_rng(24).random((1, 16, 2, 3))  # between the cells
    check_layer(DeformConv2d(2, 3, 2, offset_groups=2), x, offset, normal(1, 8, 2, 3), device="gpu")
    check_layer(Upsample2d(scale_factor=1.7, mode="bilinear"), x, device="gpu")
