"""Conv2d, textbook and fast versions, against seven nested loops; gradients as adjoints; what it refuses."""

import math

import numpy as np
import pytest

import nn
from nn import Conv2d
from nn.layers import conv
from nn.layers.windows import Geometry

SHAPES = [  # (N, C, H, W, O), kernel, and the rest of the geometry
    ((2, 3, 5, 6, 4), 3, {}),
    ((2, 3, 4, 5, 6), 3, {"padding": 1}),
    ((2, 1, 6, 7, 3), (2, 3), {"stride": (3, 2), "bias": False}),
    ((2, 3, 6, 7, 4), 3, {"stride": 2, "padding": 1}),
    ((1, 2, 7, 6, 3), (4, 3), {"stride": (1, 2), "padding": (2, 1), "dilation": (1, 2)}),
    ((2, 1, 8, 7, 3), (3, 2), {"dilation": (2, 3), "padding": (1, 2)}),
    ((1, 3, 9, 8, 2), (2, 3), {"stride": (2, 3), "padding": (3, 4), "dilation": (4, 2)}),
    ((2, 4, 3, 5, 6), (3, 2), {"groups": 2, "padding": 1}),
    ((2, 3, 5, 4, 6), 3, {"groups": 3, "padding": 1}),  # depthwise
    ((1, 6, 5, 4, 6), (1, 3), {"groups": 6, "stride": 2, "bias": False}),
    ((2, 3, 3, 4, 5), (2, 1), {"padding": (3, 2)}),  # padding > dilation * (kernel - 1): dx takes the way by columns
    ((2, 3, 3, 4, 5), (2, 3), {"padding": (1, 3)}),  # in one direction only
    ((2, 3, 4, 5, 6), 1, {}),
    ((2, 4, 5, 3, 6), 1, {"groups": 2}),
    ((2, 3, 4, 5, 6), 1, {"stride": 2}),
    ((2, 3, 4, 5, 6), 1, {"padding": 1}),
    ((3, 2, 4, 5, 6), (4, 5), {}),  # as large as the image
    ((2, 3, 4, 5, 6), (6, 5), {"padding": (1, 0)}),  # as large as the padded image
    ((1, 3, 4, 5, 2), 3, {"padding": 1}),
    ((2, 3, 1, 5, 4), (1, 3), {}),
    ((2, 3, 5, 1, 4), (3, 1), {"padding": (1, 0)}),
    ((3, 9, 5, 4, 2), 3, {"padding": 1}),  # few outputs
    ((2, 16, 4, 5, 4), 3, {"padding": (2, 1), "dilation": (2, 1), "groups": 2}),
    ((1, 5, 3, 2, 1), (3, 5), {"padding": (1, 2)}),  # as far as the width
    ((0, 4, 5, 6, 2), 3, {"groups": 2}),  # no images
    ((0, 3, 5, 6, 2), 1, {"stride": 2}),
]


def random_shape(seed):
    """A geometry that fits its input, drawn over everything a Conv2d takes."""
    rng = np.random.default_rng([50, seed])
    kernel, stride, padding, dilation = (tuple(map(int, rng.integers(low, 4, 2))) for low in (1, 1, 0, 1))
    h, w = (max(d * (k - 1) + 1 - 2 * p, 1) + int(rng.integers(0, 6)) for k, p, d in zip(kernel, padding, dilation))
    groups = int(rng.integers(1, 4))
    n, c, o = int(rng.integers(1, 4)), groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 4))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (n, c, h, w, o), kernel, options


SHAPES += [random_shape(seed) for seed in range(30)]


def naive(x, weight, bias, dy, stride, padding, dilation, groups):
    """y, dx, dweight, dbias by definition: a product of one x and one weight at a time."""
    (n_images, _, h, w), (out_channels, c_group, kh, kw) = x.shape, weight.shape
    out_h, out_w = dy.shape[2:]
    y, dx, dweight = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(weight.shape)
    for n in range(n_images):
        for o in range(out_channels):
            for r in range(out_h):
                for s in range(out_w):
                    y[n, o, r, s] = bias[o]
                    for c in range(c_group):
                        channel = o // (out_channels // groups) * c_group + c
                        for i in range(kh):
                            for j in range(kw):
                                row = r * stride[0] + i * dilation[0] - padding[0]
                                col = s * stride[1] + j * dilation[1] - padding[1]
                                if 0 <= row < h and 0 <= col < w:
                                    y[n, o, r, s] += x[n, channel, row, col] * weight[o, c, i, j]
                                    dx[n, channel, row, col] += dy[n, o, r, s] * weight[o, c, i, j]
                                    dweight[o, c, i, j] += dy[n, o, r, s] * x[n, channel, row, col]
    return y, dx, dweight, dy.sum(axis=(0, 2, 3))


def example(shape, kernel, options):
    """The layer with random float64 parameters, x, dy, and the naive results; dy's size follows the formula."""
    n, c, h, w, o = shape
    rng = np.random.default_rng(51)
    layer = Conv2d(c, o, kernel, **options, rng=rng).astype(np.float64)
    if layer.bias is not None:
        layer.bias.value = rng.normal(size=o)
    wanted = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    wanted |= {k: (v, v) if isinstance(v, int) and k != "groups" else v for k, v in options.items() if k != "bias"}
    along = zip((h, w), layer.weight.value.shape[2:], wanted["stride"], wanted["padding"], wanted["dilation"])
    size = [math.floor((n + 2 * p - d * (k - 1) - 1) / s) + 1 for n, k, s, p, d in along]
    x, dy = rng.normal(size=(n, c, h, w)), rng.normal(size=(n, o, *size))
    bias = np.zeros(o) if layer.bias is None else layer.bias.value
    return layer, x, dy, naive(x, layer.weight.value, bias, dy, **wanted)


def run(layer, x, dy):
    layer.zero_grad()
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    return y, dx, layer.weight.grad, None if layer.bias is None else layer.bias.grad


def agree(results, wanted, rtol=1e-12):
    for name, a, b in zip(("y", "dx", "dweight", "dbias"), results, wanted):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol, atol=rtol * 10, err_msg=name)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("shape, kernel, options", SHAPES)
def test_equals_seven_loops(shape, kernel, options, plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    layer, x, dy, wanted = example(shape, kernel, options)
    agree(run(layer, x, dy), wanted)
    spread = [np.repeat(a, 2, axis=3)[..., ::2] for a in (x, dy)]  # the same values, not contiguous
    turned = [a.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0) for a in (x, dy)]
    agree(run(layer, *spread), wanted)
    agree(run(layer, *turned), wanted)


@pytest.mark.parametrize("seed", range(12))
def test_gradients_are_adjoints(seed):
    """<conv(x, w), y> = <x, conv_input_gradient(y, w)> = <w, conv_weight_gradient(y, x)>: conv is linear in both."""
    rng = np.random.default_rng([52, seed])
    kernel, stride, padding, dilation = (tuple(map(int, rng.integers(low, 5, 2))) for low in (1, 1, 0, 1))
    g = Geometry(kernel, stride, padding, dilation, groups=seed % 3 + 1)
    x = rng.normal(size=(4, 6, 24, 29))
    weight = rng.normal(size=(12, 6 // g.groups, *kernel))
    y = conv.conv2d(x, weight, g, g.output_size("", 24, 29))
    dy = rng.normal(size=y.shape)
    product, near = (y * dy).sum(), {"rel": 1e-10, "abs": 1e-9}
    assert (x * conv.conv2d_input_gradient(dy, weight, g, (24, 29))).sum() == pytest.approx(product, **near)
    assert (weight * conv.conv2d_weight_gradient(dy, x, weight.shape, g)).sum() == pytest.approx(product, **near)


def test_the_input_gradient_takes_the_bias_of_a_transposed_convolution():
    rng, g = np.random.default_rng(55), Geometry((2, 3), padding=(0, 1))
    dy, weight, bias = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=(4, 3, 2, 3)), rng.normal(size=3)
    wanted = conv.conv2d_input_gradient(dy, weight, g, (4, 5)) + bias[:, None, None]
    assert np.array_equal(conv.conv2d_input_gradient(dy, weight, g, (4, 5), bias), wanted)


def test_geometry_alone_is_a_plain_convolution():
    assert Geometry((2, 3)) == ((2, 3), (1, 1), (0, 0), (1, 1), 1)


def test_it_is_a_cross_correlation():
    """A worked example: the kernel is not flipped, and rows come before columns."""
    layer = Conv2d(1, 1, (1, 2), bias=False)
    layer.weight.value[...] = [[[[10, 1]]]]
    assert layer(np.array([[[[1.0, 2, 3], [4, 5, 6]]]])).tolist() == [[[[12, 23], [45, 56]]]]
    layer.geometry = layer.geometry._replace(padding=(0, 1))
    assert layer(np.array([[[[1.0, 2, 3]]]])).tolist() == [[[[1, 12, 23, 30]]]]


@pytest.mark.parametrize("plain", [False, True])
def test_float32_stays_float32_and_is_as_good(plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    layer, x, dy, wanted = example((2, 4, 9, 8, 6), 3, {"groups": 2, "padding": 1})
    results = run(layer.astype(np.float32), x.astype(np.float32), dy.astype(np.float32))
    assert {a.dtype for a in results} == {np.dtype(np.float32)}
    agree(results, wanted, rtol=1e-5)


def test_backward_adds_to_the_gradients():
    layer, x, dy, (_, _, dweight, dbias) = example((2, 3, 5, 6, 4), 3, {})
    run(layer, x, dy)
    layer.backward(2 * dy, layer.forward(x)[1])
    np.testing.assert_allclose(layer.weight.grad, 3 * dweight, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, 3 * dbias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_no_gradient_is_computed_of_a_frozen_parameter(frozen, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", True)
    monkeypatch.setattr(conv, f"conv2d_{frozen}_gradient", None)  # not called
    layer, x, dy, (_, wanted, *gradients) = example((2, 3, 5, 6, 4), 3, {})
    getattr(layer, frozen).trainable = False
    _, dx, *found = run(layer, x, dy)
    np.testing.assert_allclose(dx, wanted, rtol=1e-12, atol=1e-12)
    for name, a, b in zip(("weight", "bias"), found, gradients):
        np.testing.assert_allclose(a, np.zeros_like(b) if name == frozen else b, rtol=1e-12, atol=1e-12)


def test_the_cache_is_the_input_itself():
    layer, x, _, _ = example((2, 3, 5, 6, 4), 3, {})
    assert layer.forward(x)[1] is x


def test_he_initialisation_from_the_generator():
    first, second = Conv2d(8, 50, 3, groups=2, rng=np.random.default_rng(5)), Conv2d(8, 50, 3, groups=2)
    assert first.weight.value.shape == (50, 4, 3, 3) and first.weight.value.dtype == np.float32
    assert first.weight.value.std() == pytest.approx(math.sqrt(2 / 36), rel=0.05) and not first.bias.value.any()
    assert not np.array_equal(first.weight.value, second.weight.value)
    third = Conv2d(8, 50, 3, groups=2, rng=np.random.default_rng(0))
    assert np.array_equal(second.weight.value, third.weight.value)
    assert list(Conv2d(2, 3, 1, bias=False).parameters()) == ["weight"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 4, 3), "in_channels must be a whole number >= 1, got 0"),
        ((3, 4.0, 3), r"out_channels must be a whole number >= 1, got 4\.0"),
        ((3, 4, 0), "kernel_size must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, (3, 3, 3)), r"kernel_size must be .* got \(3, 3, 3\)"),
        ((3, 4, 3, 0), "stride must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, 3, (1, 2.5)), r"stride must be .* got \(1, 2\.5\)"),
        ((3, 4, 3, 1, -1), "padding must be a whole number >= 0 or a pair of them, got -1"),
        ((3, 4, 3, 1, "same"), "padding must be .* got 'same'"),
        ((3, 4, 3, 1, 0, (1, 0)), r"dilation must be a whole number >= 1 or a pair of them, got \(1, 0\)"),
        ((3, 4, 3, 1, 0, 1, 2), "groups=2 must divide in_channels=3, out_channels=4"),
        ((4, 3, 3, 1, 0, 1, 2), "groups=2 must divide in_channels=4, out_channels=3"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^Conv2d: {message}"):
        Conv2d(*arguments)


def test_bad_input():
    layer = Conv2d(3, 4, (5, 3), stride=2, padding=1)
    with pytest.raises(ValueError, match=r"^Conv2d: x must have shape \(N, 3, H, W\), got \(2, 4, 9, 9\)$"):
        layer.forward(np.zeros((2, 4, 9, 9)))
    with pytest.raises(ValueError, match=r"^Conv2d: x must have shape \(N, 3, H, W\), got \(3, 9, 9\)$"):
        layer.forward(np.zeros((3, 9, 9)))
    with pytest.raises(TypeError, match="^Conv2d: x must be an array of floats, got uint8: convert with"):
        layer.forward(np.zeros((2, 3, 9, 9), np.uint8))
    wanted = r"^Conv2d: output size \(0, 4\) for input \(2, 7\), kernel \(5, 3\), stride \(2, 2\), padding \(1, 1\)"
    with pytest.raises(ValueError, match=wanted + r", dilation \(1, 1\): the input is too small$"):
        layer.forward(np.zeros((2, 3, 2, 7)))
    y, cache = layer.forward(np.zeros((2, 3, 9, 7)))
    with pytest.raises(ValueError, match=r"^Conv2d: dy must have shape \(2, 4, 4, 4\), got \(2, 4, 4, 3\)$"):
        layer.backward(y[..., :3], cache)


def test_a_1x1_convolution_is_one_matrix_product_a_pixel():
    rng = np.random.default_rng(3)
    layer, x = Conv2d(5, 3, 1, rng=rng).astype(np.float64), rng.standard_normal((2, 5, 4, 6))
    layer.bias.value[...] = rng.standard_normal(3)
    y = layer(x)
    for n, r, c in np.ndindex(2, 4, 6):
        wanted = layer.weight.value[:, :, 0, 0] @ x[n, :, r, c] + layer.bias.value
        np.testing.assert_allclose(y[n, :, r, c], wanted, rtol=1e-13, atol=1e-14)
