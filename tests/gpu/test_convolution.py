"""Convolution by the kernels of nn.gpu.conv against the textbook, nn.layers.conv, and the layers on the CPU."""

import math

import numpy as np
import pytest

import nn
from nn import Conv2d, ConvTranspose2d
from nn.gpu import conv as gpu_conv
from nn.gpu import kernels as cuda
from nn.layers import conv
from tests.cupy_stand_in import kernels, no_transfers

TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}
SHAPES = [  # (N, C, H, W, O), kernel, and the rest of the geometry
    ((2, 3, 7, 6, 4), 3, {"padding": 1}),
    ((2, 3, 9, 8, 20), (3, 2), {"stride": (2, 3)}),
    ((3, 5, 6, 7, 17), (2, 3), {"stride": (1, 2), "padding": (1, 3), "dilation": (2, 1), "bias": False}),
    ((1, 18, 11, 10, 19), 3, {"stride": 2, "padding": 1, "dilation": 2}),  # taps of every other row and column only
    ((2, 2, 11, 10, 3), (2, 3), {"stride": (4, 6), "dilation": (6, 4), "padding": 3}),  # stride, dilation: divisor 2
    ((2, 2, 13, 12, 3), 2, {"stride": 5}),  # pixels in no window
    ((2, 4, 9, 8, 6), (3, 2), {"groups": 2, "stride": (2, 3), "padding": (2, 1), "dilation": (1, 2)}),
    ((2, 36, 5, 6, 40), 3, {"groups": 2, "padding": 1}),
    ((2, 5, 7, 8, 5), 3, {"groups": 5, "padding": 1}),  # depthwise
    ((2, 3, 9, 8, 6), (3, 4), {"groups": 3, "stride": (2, 3), "padding": 2, "dilation": (2, 1)}),
    ((9, 2, 6, 7, 2), 3, {"groups": 2, "padding": 1}),  # more positions than threads in a block, of small images
    ((2, 2, 17, 19, 4), (2, 3), {"groups": 2}),  # and of larger ones
    ((2, 1, 6, 7, 3), 3, {"padding": 2}),
    ((2, 3, 7, 8, 5), 1, {}),  # a product of matrices
    ((2, 6, 7, 8, 4), 1, {"groups": 2, "bias": False}),
    ((2, 3, 7, 8, 5), 1, {"stride": 2}),
    ((2, 3, 4, 5, 6), 1, {"padding": 1}),
    ((2, 3, 4, 5, 3), (4, 5), {}),  # as large as the image
    ((2, 3, 3, 4, 5), (2, 1), {"padding": (3, 2)}),  # windows in the padding
    ((1, 2, 1, 1, 3), 3, {"padding": 1}),
    ((0, 4, 5, 6, 2), 3, {"groups": 2}),  # no images
    ((0, 3, 5, 6, 3), 3, {"groups": 3}),
    ((0, 3, 5, 6, 2), 1, {}),
]


def random_shape(seed):
    """A geometry that fits its input, drawn over everything a Conv2d takes."""
    rng = np.random.default_rng([70, seed])
    kernel, stride, padding, dilation = (tuple(map(int, rng.integers(low, 5, 2))) for low in (1, 1, 0, 1))
    h, w = (max(d * (k - 1) + 1 - 2 * p, 1) + int(rng.integers(0, 8)) for k, p, d in zip(kernel, padding, dilation))
    groups = int(rng.integers(1, 4))
    n, c, o = int(rng.integers(1, 4)), groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 9))
    return (n, c, h, w, o), kernel, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


SHAPES += [random_shape(seed) for seed in range(20)]


def arrays(shape, kernel, options, dtype):
    """x, weight, bias, dy, geometry, output size."""
    rng, (n, c, h, w, o) = np.random.default_rng(7), shape
    layer = Conv2d(c, o, kernel, **options)
    out_size = layer.geometry.output_size(layer, h, w)
    shapes = (n, c, h, w), layer.weight.value.shape, (o,), (n, o, *out_size)
    return *(rng.standard_normal(s).astype(dtype) for s in shapes), layer.geometry, out_size


def all_three(ops, x, weight, bias, dy, g, out_size):
    """y, dx, dweight of a module with the functions of nn.layers.conv."""
    y = ops.conv2d(x, weight, g, out_size, bias)
    dx = ops.conv2d_input_gradient(dy, weight, g, x.shape[2:])
    return y, dx, ops.conv2d_weight_gradient(dy, x, weight.shape, g)


def check(device, case, tolerance):
    """The three functions of gpu_conv on the device against conv's on the CPU."""
    *values, g, out_size = case
    found = all_three(gpu_conv, *map(device.asarray, values), g, out_size)
    wanted = all_three(conv, *values, g, out_size)
    for name, a, b in zip(("y", "dx", "dweight"), map(device.asnumpy, found), wanted):
        assert a.dtype == b.dtype and a.shape == b.shape, name
        assert np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=0), name


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape, kernel, options", SHAPES)
def test_the_kernels_give_the_results_of_the_textbook(shape, kernel, options, dtype, device):
    check(device, arrays(shape, kernel, options, dtype), TOLERANCES[dtype])


@pytest.mark.parametrize("shape", [(2, 3, 8, 9, 131), (2, 131, 9, 8, 3), (1, 7, 17, 18, 65)])
@pytest.mark.parametrize("tile", ["LARGE", "WIDE", "SMALL", "FLAT"])
def test_every_tile_computes_the_same(tile, shape, device, monkeypatch):
    rows, columns = getattr(gpu_conv, tile)
    monkeypatch.setattr(
        gpu_conv, "_tiles", lambda r, c, n, *_, **__: ((rows, columns), (-(-c // columns), -(-r // rows), n))
    )
    before = cuda.launches
    check(device, arrays(shape, (2, 3), {"stride": (2, 1), "padding": 1}, np.float32), TOLERANCES[np.float32])
    assert cuda.launches == before + 3


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_weight_gradient_is_summed_in_parts(groups, device, monkeypatch):
    monkeypatch.setattr(gpu_conv, "LEAST", 8)
    monkeypatch.setattr(gpu_conv, "DEPTHWISE_PART", 50)
    x, weight, _, dy, g, _ = arrays((3, 6, 8, 9, 12), 3, {"groups": groups, "padding": 1}, np.float64)
    dy, x = device.asarray(dy), device.asarray(x)
    several = gpu_conv.conv2d_weight_gradient(dy, x, weight.shape, g)
    monkeypatch.setattr(gpu_conv, "SUMS", 1)  # no memory for a second part
    monkeypatch.setattr(gpu_conv, "DEPTHWISE_PART", 1 << 14)
    one = gpu_conv.conv2d_weight_gradient(dy, x, weight.shape, g)
    assert not (one == several).all()  # the order of the sum differs
    assert np.allclose(device.asnumpy(one), device.asnumpy(several), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape, kernel, options", [SHAPES[3], SHAPES[7], SHAPES[9], SHAPES[11]])
def test_the_same_bits_in_every_run_and_any_order_of_threads(shape, kernel, options, device, monkeypatch):
    monkeypatch.setattr(gpu_conv, "LEAST", 8)
    *values, g, out_size = arrays(shape, kernel, options, np.float32)
    values = [device.asarray(v) for v in values]
    first = all_three(gpu_conv, *values, g, out_size)
    monkeypatch.setattr(kernels, "reversed_threads", True)
    for a, b in zip(first, all_three(gpu_conv, *values, g, out_size)):
        assert (a == b).all()


LAYERS = [
    lambda: Conv2d(4, 6, 3, stride=2, padding=1, rng=np.random.default_rng(1)),
    lambda: Conv2d(4, 8, 3, padding=1, groups=4, rng=np.random.default_rng(2)),
    lambda: Conv2d(4, 5, 1, rng=np.random.default_rng(3)),
    lambda: ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, rng=np.random.default_rng(4)),
    lambda: ConvTranspose2d(4, 6, (3, 2), groups=2, dilation=2, bias=False, rng=np.random.default_rng(5)),
    lambda: ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=4, rng=np.random.default_rng(6)),
    lambda: ConvTranspose2d(4, 6, 2, stride=1, padding=0, output_padding=1, dilation=2, rng=np.random.default_rng(7)),
]


@pytest.mark.parametrize("build", LAYERS)
def test_layers_on_the_device_equal_those_on_the_cpu(build, device):
    """Inputs that are not contiguous, gradients that add up, and no transfers between the devices."""
    results = []
    for xp in (np, device):
        layer, rng = build().astype(np.float64), np.random.default_rng(8)
        for parameter in layer.parameters().values():
            parameter.value, parameter.grad = xp.asarray(parameter.value), xp.ones(parameter.value.shape)
        x = xp.asarray(rng.standard_normal((3, 7, 4, 6)))[..., ::2].transpose(0, 2, 3, 1)
        dy = xp.asarray(rng.standard_normal(layer(x).shape[::-1])).transpose()
        with no_transfers():
            y, cache = layer.forward(x)
            dx = layer.backward(dy, cache)
        results.append([np.asarray(xp.asnumpy(a) if xp is device else a) for a in (y, dx)])
        results[-1] += [xp.asnumpy(p.grad) if xp is device else p.grad for p in layer.parameters().values()]
    for wanted, found in zip(*results):
        assert wanted.shape == found.shape
        assert np.abs(wanted - found).max() <= 1e-12 * np.abs(wanted).max()


def test_number_of_kernels_of_a_convolution(device):
    layer = Conv2d(3, 20, 3, padding=1)
    for parameter in layer.parameters().values():
        parameter.value, parameter.grad = device.asarray(parameter.value), device.asarray(parameter.grad)
    before = cuda.launches
    y, cache = layer.forward(device.ones((2, 3, 5, 6), np.float32))
    assert cuda.launches == before + 1
    layer.backward(y, cache)
    assert cuda.launches == before + 3


def test_a_nan_reaches_the_outputs_that_depend_on_it(device):
    x = np.ones((1, 2, 9, 9))
    x[0, 1, 4, 4] = np.nan
    layer = Conv2d(2, 3, 3, dilation=2).astype(np.float64)
    for parameter in layer.parameters().values():
        parameter.value, parameter.grad = device.asarray(parameter.value), device.asarray(parameter.grad)
    found = np.isnan(device.asnumpy(layer(device.asarray(x))))
    sees = np.zeros((5, 5), bool)
    sees[::2, ::2] = True
    assert (found == sees).all()


@pytest.mark.parametrize("dtype, plain", [(np.complex128, False), (np.float64, True)])
def test_complex_arrays_and_plain_use_the_textbook(dtype, plain, device, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    layer, rng = Conv2d(3, 4, 3, padding=1).astype(dtype), np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 5, 6)).astype(dtype)
    wanted, before = layer(x), cuda.launches
    for parameter in layer.parameters().values():
        parameter.value = device.asarray(parameter.value)
    assert np.allclose(device.asnumpy(layer(device.asarray(x))), wanted, rtol=0, atol=1e-12)
    assert cuda.launches == before


@pytest.mark.parametrize(
    "rows, columns, products, dtype, in_parts, wanted",
    [
        (256, 56 * 56 * 32, 1, np.float32, False, ("LARGE", (784, 2, 1))),
        (64, 56 * 56 * 32, 1, np.float32, False, ("WIDE", (392, 1, 1))),
        (512, 7 * 7 * 8, 1, np.float32, False, ("SMALL", (7, 8, 1))),  # 16 large ones would not fill a GPU
        (256, 56 * 56 * 32, 1, np.float64, False, ("SMALL", (1568, 4, 1))),
        (4, 56 * 56 * 32, 32, np.float32, False, ("FLAT", (392, 1, 32))),
        (256, 2304, 1, np.float32, True, ("LARGE", (18, 2, 1))),
        (64, 27, 1, np.float32, True, ("SMALL", (1, 1, 1))),
    ],
)
def test_which_tiles_are_for_which_shape(rows, columns, products, dtype, in_parts, wanted):
    tile, grid = gpu_conv._tiles(rows, columns, products, np.dtype(dtype), in_parts)
    assert (tile, grid) == (getattr(gpu_conv, wanted[0]), wanted[1])
    assert grid[0] * tile[1] >= columns and grid[1] * tile[0] >= rows and math.prod(grid) >= 1


def test_only_the_kernel_and_the_tile_that_are_needed_are_compiled(device, monkeypatch):
    compiled, module = [], device.RawModule

    def recorded(code, options):
        compiled.append(code)
        return module(code=code, options=options)

    monkeypatch.setattr(device, "RawModule", recorded)
    cuda._kernel.cache_clear()
    layer = Conv2d(3, 20, 3).to("gpu")
    y, cache = layer.forward(device.asarray(np.ones((1, 3, 8, 9), np.float32)))
    assert len(compiled) == 1 and compiled[0].count("__global__") == 1
    assert compiled[0].startswith("using T = float;\nconstexpr int ROWS = 64;\nconstexpr int COLUMNS = 64;\n")
    layer.backward(y, cache)
    layer.forward(device.asarray(np.ones((1, 3, 8, 9), np.float32)))
    assert [code.count("__global__") for code in compiled] == [1, 1, 1]


def test_a_padded_side_beyond_32_bits_is_refused(device):
    layer = Conv2d(2, 2, 3, stride=2**30, padding=2**30).to("gpu")
    with pytest.raises(ValueError, match="conv: a side of the image with its padding is 2147483656, beyond an int"):
        layer.forward(device.asarray(np.ones((1, 2, 8, 8), np.float32)))
