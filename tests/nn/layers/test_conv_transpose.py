"""ConvTranspose2d, textbook and fast versions, against loops, as Conv2d's transpose, and as the lecture's matrix."""

import math

import numpy as np
import pytest

import nn
from nn import Conv2d
from nn.cpu import conv as cpu_conv
from nn.layers import conv
from nn.layers.conv_transpose import ConvTranspose2d

SHAPES = [  # (N, C, H, W, O), kernel, and the rest
    ((2, 3, 4, 5, 6), 3, {}),
    ((2, 3, 4, 5, 6), 2, {"stride": 2}),
    ((2, 3, 4, 5, 6), 3, {"padding": 1}),
    ((2, 3, 4, 5, 6), 4, {"stride": 2, "padding": 1}),
    ((2, 3, 4, 5, 6), 3, {"stride": 2, "padding": 1, "output_padding": 1}),
    ((1, 2, 6, 5, 3), (4, 3), {"stride": (1, 2), "padding": (2, 1), "dilation": (1, 2), "output_padding": (0, 1)}),
    ((2, 1, 5, 7, 3), (3, 2), {"dilation": (2, 3), "bias": False}),
    ((2, 4, 3, 5, 6), (3, 2), {"groups": 2, "padding": 1}),
    ((2, 3, 5, 4, 6), 3, {"groups": 3, "stride": (2, 3)}),  # depthwise
    ((2, 3, 4, 5, 1), (1, 2), {"stride": (3, 4), "output_padding": (2, 1)}),  # pixels of y that nothing reaches
    ((2, 1, 5, 6, 3), (2, 3), {"padding": (2, 1)}),  # padding beyond the kernel
    ((2, 3, 4, 5, 2), 2, {"dilation": (3, 4), "output_padding": (2, 3)}),  # output_padding of more than a stride
    ((2, 3, 4, 5, 2), 2, {"dilation": (6, 5), "stride": (2, 1), "padding": (3, 1), "output_padding": (5, 4)}),
    ((2, 3, 4, 5, 6), 1, {}),
    ((2, 3, 1, 1, 6), (4, 5), {"stride": 7}),  # one pixel
    ((2, 3, 3, 4, 6), (1, 2), {"padding": (1, 2)}),  # one pixel is left
]


def random_shape(seed):
    rng = np.random.default_rng([70, seed])
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, 4, 2))) for _ in range(3))
    size = tuple(map(int, rng.integers(1, 6, 2)))
    extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation))
    largest = ((n - 1) * s + d * (k - 1) + e for n, k, s, d, e in zip(size, kernel, stride, dilation, extra))
    padding = tuple(int(rng.integers(0, min(n // 2, 3) + 1)) for n in largest)
    groups = int(rng.integers(1, 4))
    n, c, o = int(rng.integers(1, 4)), groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 4))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "output_padding": extra}
    return (n, c, *size, o), kernel, options


SHAPES += [random_shape(seed) for seed in range(40)]


def naive(x, weight, bias, dy, stride, padding, dilation, groups):
    """y, dx, dweight, dbias by definition: each pixel of x adds each weight to a pixel of y."""
    (n_images, channels, h, w), (_, o_group, kh, kw) = x.shape, weight.shape
    y, dx, dweight = np.zeros(dy.shape) + bias[:, None, None], np.zeros(x.shape), np.zeros(weight.shape)
    for n, c, r, s in np.ndindex(n_images, channels, h, w):
        for o, i, j in np.ndindex(o_group, kh, kw):
            out = c // (channels // groups) * o_group + o
            row, col = r * stride[0] + i * dilation[0] - padding[0], s * stride[1] + j * dilation[1] - padding[1]
            if 0 <= row < dy.shape[2] and 0 <= col < dy.shape[3]:
                y[n, out, row, col] += x[n, c, r, s] * weight[c, o, i, j]
                dx[n, c, r, s] += dy[n, out, row, col] * weight[c, o, i, j]
                dweight[c, o, i, j] += dy[n, out, row, col] * x[n, c, r, s]
    return y, dx, dweight, dy.sum(axis=(0, 2, 3))


def example(shape, kernel, options):
    """The layer with random float64 parameters, x, dy, and the naive results; dy's size follows the formula."""
    n, c, h, w, o = shape
    rng = np.random.default_rng(71)
    layer = ConvTranspose2d(c, o, kernel, **options, rng=rng).astype(np.float64)
    if layer.bias is not None:
        layer.bias.value = rng.normal(size=o)
    words = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0} | options
    names = ("stride", "padding", "dilation", "output_padding")
    s, p, d, extra = (np.broadcast_to(words[name], 2).tolist() for name in names)
    kernel = layer.weight.value.shape[2:]
    size = [(m - 1) * s[a] - 2 * p[a] + d[a] * (kernel[a] - 1) + extra[a] + 1 for a, m in enumerate((h, w))]
    x, dy = rng.normal(size=(n, c, h, w)), rng.normal(size=(n, o, *size))
    bias = np.zeros(o) if layer.bias is None else layer.bias.value
    return layer, x, dy, naive(x, layer.weight.value, bias, dy, s, p, d, options.get("groups", 1))


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
def test_equals_the_loops(shape, kernel, options, plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    layer, x, dy, wanted = example(shape, kernel, options)
    agree(run(layer, x, dy), wanted)
    spread = [np.repeat(a, 2, axis=3)[..., ::2] for a in (x, dy)]  # the same values, not contiguous
    turned = [a.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0) for a in (x, dy)]
    agree(run(layer, *spread), wanted)
    agree(run(layer, *turned), wanted)


@pytest.mark.parametrize("plain", [False, True])
def test_it_runs_the_functions_of_conv2d(plain, monkeypatch):
    called, names = [], [f"conv2d{k}" for k in ("_input_gradient", "_bias_gradient", "_weight_gradient", "")]
    for module in (conv, cpu_conv):
        for name in names:
            original = getattr(module, name)
            monkeypatch.setattr(
                module, name, lambda *a, m=module, k=name, f=original: called.append((m.__name__, k)) or f(*a)
            )
    monkeypatch.setattr(nn.config, "plain", plain)
    run(*example((2, 3, 5, 6, 4), 3, {"stride": 2})[:3])
    assert called == [("nn.layers.conv" if plain else "nn.cpu.conv", name) for name in names]


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


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_transpose_of_conv2d(seed):
    """<conv(x), y> = <x, conv_transpose(y)>, with the same weight array in both, for every size conv takes to y's."""
    rng = np.random.default_rng([72, seed])
    kernel, stride, padding, dilation = (tuple(map(int, rng.integers(low, 5, 2))) for low in (1, 1, 0, 1))
    h, w = 24 + seed % 4, 29 + seed % 3
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": seed % 3 + 1, "bias": False}
    conv2d = Conv2d(6, 12, kernel, **options).astype(np.float64)
    x = rng.normal(size=(4, 6, h, w))
    y = rng.normal(size=conv2d(x).shape)
    left_over = ((n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in zip((h, w), kernel, stride, padding, dilation))
    transposed = ConvTranspose2d(12, 6, kernel, **options, output_padding=tuple(left_over))
    transposed.weight.value = conv2d.weight.value
    assert transposed(y).shape == x.shape
    assert (conv2d(x) * y).sum() == pytest.approx((x * transposed(y)).sum(), rel=1e-11, abs=1e-10)
    # and each one's backward is the other one's forward
    np.testing.assert_allclose(conv2d.backward(y, conv2d.forward(x)[1]), transposed(y), rtol=1e-12, atol=1e-12)
    dy = rng.normal(size=x.shape)
    np.testing.assert_allclose(transposed.backward(dy, transposed.forward(y)[1]), conv2d(dy), rtol=1e-12, atol=1e-12)


def test_the_lecture_s_matrix():
    """Kernel (x, y, z), stride 2, padding 1: X has rows (x y z 0 0 0), (0 0 x y z 0); the layer is its transpose."""
    x, y, z, a, b = 2.0, 3.0, 5.0, 7.0, 11.0
    X = np.array([[x, y, z, 0, 0, 0], [0, 0, x, y, z, 0]])
    picture = np.array([13.0, 17, 19, 23])
    conv2d = Conv2d(1, 1, (1, 3), stride=(1, 2), padding=(0, 1), bias=False).astype(np.float64)
    conv2d.weight.value[...] = [x, y, z]
    assert conv2d(picture.reshape(1, 1, 1, 4)).ravel().tolist() == (X @ [0, *picture, 0]).tolist()

    whole = [a * x, a * y, a * z + b * x, b * y, b * z, 0]
    assert (X.T @ [a, b]).tolist() == whole
    layer = ConvTranspose2d(1, 1, (1, 3), stride=(1, 2), output_padding=(0, 1), bias=False).astype(np.float64)
    layer.weight.value[...] = [x, y, z]
    assert layer(np.array([a, b]).reshape(1, 1, 1, 2)).ravel().tolist() == whole
    cut = ConvTranspose2d(1, 1, (1, 3), (1, 2), padding=(0, 1), output_padding=(0, 1), bias=False).astype(np.float64)
    cut.weight.value[...] = [x, y, z]
    assert cut(np.array([a, b]).reshape(1, 1, 1, 2)).ravel().tolist() == whole[1:-1]  # the picture's own 4 pixels


def test_stride_1_is_a_convolution_of_the_turned_kernel():
    """The lecture's second matrix: padding 1, stride 1; "the transpose is an ordinary convolution too"."""
    layer = ConvTranspose2d(1, 1, (1, 3), padding=(0, 1), bias=False).astype(np.float64)
    layer.weight.value[...] = [2, 3, 5]
    conv2d = Conv2d(1, 1, (1, 3), padding=(0, 1), bias=False).astype(np.float64)
    conv2d.weight.value[...] = [5, 3, 2]
    signal = np.array([1.0, 10, 100, 1000]).reshape(1, 1, 1, 4)
    assert layer(signal).tolist() == conv2d(signal).tolist() == [[[[23, 235, 2350, 3500]]]]


def test_two_by_two_stride_2_paints_a_block_for_each_pixel():
    layer = ConvTranspose2d(1, 1, 2, 2).astype(np.float64)
    layer.weight.value[...], layer.bias.value[...] = [[1, 2], [3, 4]], 0.5
    y = layer(np.array([[[[1.0, 10], [100, 1000]]]]))
    blocks = [[1, 2, 10, 20], [3, 4, 30, 40], [100, 200, 1000, 2000], [300, 400, 3000, 4000]]
    assert (y - 0.5).tolist() == [[blocks]]


def test_arguments_stand_in_pytorch_s_order():
    layer = ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False, 3)
    assert layer.geometry == ((3, 3), (2, 2), (1, 1), (3, 3), 2) and layer.output_padding == (1, 1)
    assert layer.bias is None and layer.weight.value.shape == (4, 3, 3, 3)
    assert list(ConvTranspose2d(2, 3, 1).parameters()) == ["weight", "bias"]


def test_weights_keep_the_size_of_the_signal():
    """Variance 1 in with half of it cut off, variance 1 out: on average over the pixels of a strided output."""
    rng = np.random.default_rng(73)
    for kernel, stride, groups in ((4, 2, 1), (2, 2, 2), ((3, 5), (3, 1), 1)):
        layer = ConvTranspose2d(64, 64, kernel, stride, groups=groups, rng=rng)
        x = np.maximum(rng.normal(size=(4, 64, 24, 24)), 0).astype(np.float32)
        assert layer.weight.value.dtype == np.float32
        assert (layer(x)[:, :, 6:-6, 6:-6] ** 2).mean() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("plain", [False, True])
def test_float32_stays_float32_and_is_as_good(plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    layer, x, dy, wanted = example((2, 4, 5, 6, 6), 3, {"groups": 2, "stride": 2, "padding": 1})
    results = run(layer.astype(np.float32), x.astype(np.float32), dy.astype(np.float32))
    assert {a.dtype for a in results} == {np.dtype(np.float32)}
    agree(results, wanted, rtol=2e-5)


def test_backward_adds_to_the_gradients():
    layer, x, dy, (_, _, dweight, dbias) = example((2, 3, 5, 6, 4), 3, {"stride": 2})
    run(layer, x, dy)
    layer.backward(2 * dy, layer.forward(x)[1])
    np.testing.assert_allclose(layer.weight.grad, 3 * dweight, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, 3 * dbias, rtol=1e-12, atol=1e-12)


def test_the_cache_is_the_input_itself_also_where_it_was_extended():
    layer = ConvTranspose2d(1, 1, 2, dilation=3, output_padding=2)
    x = np.ones((1, 1, 2, 2), np.float32)
    y, cache = layer.forward(x)
    assert cache is x and layer.backward(y, cache).shape == x.shape


@pytest.mark.parametrize("plain", [False, True])
def test_no_images(plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    y, dx, dweight, dbias = run(ConvTranspose2d(3, 4, 2, 2), np.zeros((0, 3, 4, 5)), np.zeros((0, 4, 8, 10)))
    assert y.shape == (0, 4, 8, 10) and dx.shape == (0, 3, 4, 5) and not dweight.any() and not dbias.any()


def test_multiply_adds_are_the_kernel_once_a_pixel():
    for layer in (ConvTranspose2d(4, 6, (3, 2), (2, 3), 1, (1, 2), groups=2), ConvTranspose2d(4, 6, 3, 2)):
        x = np.zeros((5, 4, 7, 9), np.float32)
        assert layer.multiply_adds(layer(x).shape) == 5 * 7 * 9 * math.prod(layer.weight.value.shape)
    assert f"{4 * 5 * 3 * 3 * 2 * 2:,}" in nn.summary(ConvTranspose2d(3, 3, 2, 2), (1, 3, 4, 5))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 4, 3), "in_channels must be a whole number >= 1, got 0"),
        ((3, 4.0, 3), r"out_channels must be a whole number >= 1, got 4\.0"),
        ((3, 4, 0), "kernel_size must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, 3, 0), "stride must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, 3, 1, -1), "padding must be a whole number >= 0 or a pair of them, got -1"),
        ((3, 4, 3, 2, 0, -1), "output_padding must be a whole number >= 0 or a pair of them, got -1"),
        ((3, 4, 3, 1, 0, 0, 0), "groups must be a whole number >= 1, got 0"),
        ((3, 4, 3, 1, 0, 0, 1, True, 0), "dilation must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, 3, 1, 0, 0, 2), "groups=2 must divide in_channels=3, out_channels=4"),
        ((4, 3, 3, 1, 0, 0, 2), "groups=2 must divide in_channels=4, out_channels=3"),
        ((3, 4, 3, 2, 0, 2), r"output_padding \(2, 2\) must be less than the stride \(2, 2\) or the dilation \(1, 1\)"),
        ((3, 4, 3, (3, 1), 0, (2, 1)), r"output_padding \(2, 1\) must be less than the stride \(3, 1\) or"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^ConvTranspose2d: {message}"):
        ConvTranspose2d(*arguments)


def test_bad_input():
    layer = ConvTranspose2d(3, 4, (2, 3), stride=2, padding=2, output_padding=1)
    with pytest.raises(ValueError, match=r"^ConvTranspose2d: x must have shape \(N, 3, H, W\), got \(2, 4, 9, 9\)$"):
        layer.forward(np.zeros((2, 4, 9, 9)))
    with pytest.raises(TypeError, match="^ConvTranspose2d: x must be an array of floats, got uint8: convert with"):
        layer.forward(np.zeros((2, 3, 9, 9), np.uint8))
    wanted = r"^ConvTranspose2d: output size \(-1, 8\) for input \(1, 5\), kernel \(2, 3\), stride \(2, 2\), padding"
    with pytest.raises(ValueError, match=wanted + r" \(2, 2\), output_padding \(1, 1\), dilation \(1, 1\): the input"):
        layer.forward(np.zeros((2, 3, 1, 5)))
    with pytest.raises(ValueError, match=r"^ConvTranspose2d: output size \(4, 0\) for input \(4, 0\)"):
        ConvTranspose2d(3, 4, 1).forward(np.zeros((2, 3, 4, 0)))
    for kernel, size in (((2, 3), r"\(0, 1\)"), ((3, 2), r"\(1, 0\)")):
        with pytest.raises(ValueError, match=rf"^ConvTranspose2d: output size {size} for input \(1, 1\)"):
            ConvTranspose2d(3, 4, kernel, padding=1).forward(np.zeros((2, 3, 1, 1)))
    with pytest.raises(ValueError, match=r"^ConvTranspose2d: output size \(8, 4\) for input \(0, 1\)"):
        ConvTranspose2d(3, 4, (9, 4)).forward(np.zeros((2, 3, 0, 1)))  # a size, but no pixel
    y, cache = layer.forward(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ValueError, match=r"^ConvTranspose2d: dy must have shape \(2, 4, 5, 8\), got \(2, 4, 5, 7\)$"):
        layer.backward(y[..., :7], cache)
