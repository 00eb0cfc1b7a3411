"""DeformConv2d against loops over every product; Conv2d as its special case; worked examples; what it refuses."""

import numpy as np
import pytest

from nn.cpu import deform_conv
from nn.layers.conv import Conv2d
from nn.layers.deform_conv import DeformConv2d
from tests.nn.naive_bilinear import weights

pytestmark = pytest.mark.usefixtures("both_versions")
CASES = [  # (N, C, H, W, O), kernel, offset groups, other options
    ((2, 3, 4, 5, 2), (2, 3), 1, {"padding": 1}),
    ((1, 4, 5, 4, 6), (3, 2), 2, {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1), "groups": 2}),
    ((2, 6, 3, 4, 3), (2, 1), 2, {"groups": 3, "bias": False}),
    ((1, 10, 3, 3, 2), (2, 2), 2, {"stride": 2, "padding": 1}),  # five channels an offset group: by sorting
    ((1, 3, 4, 3, 3), 1, 3, {"groups": 3}),
    ((3, 2, 3, 4, 5), (3, 4), 1, {}),  # as large as the image
]


def naive(x, offset, mask, weight, bias, dy, g, offset_groups):
    """y and all gradients, one sample and one product at a time."""
    y = np.zeros(dy.shape) + bias[:, None, None]
    dx, doffset, dmask, dweight = (np.zeros(a.shape) for a in (x, offset, mask, weight))
    (kh, kw), c_group = g.kernel, weight.shape[1]
    for n, r, s in np.ndindex(len(x), *dy.shape[2:]):
        for i, j, c in np.ndindex(kh, kw, x.shape[1]):
            group = c // (x.shape[1] // offset_groups)
            channel = (group * kh * kw + i * kw + j) * 2
            row = r * g.stride[0] - g.padding[0] + i * g.dilation[0] + offset[n, channel, r, s]
            column = s * g.stride[1] - g.padding[1] + j * g.dilation[1] + offset[n, channel + 1, r, s]
            corner, by_row, by_column = weights(x.shape[2:], row, column)
            value, m = (corner * x[n, c]).sum(), mask[n, channel // 2, r, s]
            first = c // c_group * (len(weight) // g.groups)  # output channel of the group
            for o in range(first, first + len(weight) // g.groups):
                product = weight[o, c % c_group, i, j] * dy[n, o, r, s]
                y[n, o, r, s] += weight[o, c % c_group, i, j] * m * value
                dweight[o, c % c_group, i, j] += dy[n, o, r, s] * m * value
                dmask[n, channel // 2, r, s] += product * value
                dx[n, c] += product * m * corner
                doffset[n, channel, r, s] += product * m * (by_row * x[n, c]).sum()
                doffset[n, channel + 1, r, s] += product * m * (by_column * x[n, c]).sum()
    return y, dx, doffset, dmask, dweight, dy.sum(axis=(0, 2, 3))


def example(shape, kernel, offset_groups, options):
    n, c, h, w, o = shape
    rng = np.random.default_rng([95, c, h])
    layer = DeformConv2d(c, o, kernel, offset_groups=offset_groups, **options).astype(np.float64)
    layer.weight.value = rng.normal(size=layer.weight.value.shape)
    if layer.bias is not None:
        layer.bias.value = rng.normal(size=o)
    out, taps = layer.geometry.output_size(layer, h, w), layer.geometry.kernel[0] * layer.geometry.kernel[1]
    x, mask = rng.normal(size=(n, c, h, w)), rng.normal(size=(n, offset_groups * taps, *out))
    offset = rng.normal(size=(n, 2 * offset_groups * taps, *out)) * 1.5
    offset[rng.random(offset.shape) < 0.2] = 0  # right on the cells
    return layer, x, offset, mask, rng.normal(size=(n, o, *out))


def run(layer, x, offset, mask, dy):
    layer.zero_grad()
    y, cache = layer.forward(x, offset, mask)
    gradients = layer.backward(dy, cache)
    return y, *gradients, layer.weight.grad, None if layer.bias is None else layer.bias.grad


def agree(results, wanted, rtol=1e-11):
    for name, a, b in zip(("y", "dx", "doffset", "dmask", "dweight", "dbias"), results, wanted, strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol, atol=rtol * 10, err_msg=name)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("shape, kernel, offset_groups, options", CASES)
def test_equals_the_loop_over_products(shape, kernel, offset_groups, options, masked, monkeypatch):
    layer, x, offset, mask, dy = example(shape, kernel, offset_groups, options)
    bias = np.zeros(len(layer.weight.value)) if layer.bias is None else layer.bias.value
    ones = mask if masked else np.ones(mask.shape)
    wanted = naive(x, offset, ones, layer.weight.value, bias, dy, layer.geometry, offset_groups)
    given = mask if masked else None
    results = run(layer, x, offset, given, dy)
    assert masked or results[3] is None
    agree(results, wanted)
    turned = [
        None if a is None else a.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0) for a in (x, offset, given, dy)
    ]
    agree(run(layer, *turned), wanted)
    monkeypatch.setattr(deform_conv, "COLUMNS_PER_TILE", 40)
    monkeypatch.setattr(deform_conv, "COLUMNS_TOGETHER", 1)
    agree(run(layer, x, offset, given, dy), wanted)


@pytest.mark.parametrize("shape, kernel, offset_groups, options", CASES)
def test_offsets_of_0_are_a_convolution(shape, kernel, offset_groups, options):
    layer, x, offset, mask, dy = example(shape, kernel, offset_groups, options)
    plain = Conv2d(shape[1], shape[4], kernel, **options).astype(np.float64)
    plain.load_state_dict(layer.state_dict())
    y, cache = plain.forward(x)
    plain.zero_grad()
    dx = plain.backward(dy, cache)
    for given in (None, np.ones(mask.shape)):
        results = run(layer, x, np.zeros(offset.shape), given, dy)
        np.testing.assert_allclose(results[0], y, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(results[1], dx, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(results[4], plain.weight.grad, rtol=1e-11, atol=1e-11)


def test_rows_come_before_columns_and_taps_in_reading_order():
    """A 1 x 2 kernel (10, 1) on a ramp 100 i + j: the offset of one tap moves that tap alone."""
    layer = DeformConv2d(1, 1, (1, 2), bias=False)
    layer.weight.value[...] = [[[[10, 1]]]]
    x, offset = 100.0 * np.arange(6)[:, None] + np.arange(6.0), np.zeros((1, 4, 6, 5))
    at = lambda: layer(x[None, None], offset)[0, 0, 2, 2]  # noqa: E731
    assert at() == 10 * 202 + 203
    for channel, change in ((0, 10 * 100), (1, 10), (2, 100), (3, 1)):  # tap 0 down, right, tap 1 down, right
        offset[...] = 0
        offset[0, channel, 2, 2] = 0.25
        assert at() == 10 * 202 + 203 + 0.25 * change


def test_a_second_offset_group_moves_the_second_half_of_the_channels():
    layer = DeformConv2d(4, 1, 1, bias=False, offset_groups=2)
    layer.weight.value[...] = np.array([1000.0, 100, 10, 1]).reshape(1, 4, 1, 1)
    x, offset = np.tile(np.arange(5.0), (1, 4, 5, 1)), np.zeros((1, 4, 5, 5))
    offset[:, 3] = 1  # group 1, right
    assert layer(x, offset)[0, 0, 2, 2] == 2233
    assert layer(x, offset, np.stack([np.full((5, 5), 3.0), np.zeros((5, 5))])[None])[0, 0, 2, 2] == 6600


def test_offset_groups_are_taken_from_the_offset():
    layer, x, offset, mask, dy = example((1, 4, 5, 4, 6), (3, 2), 2, {"padding": 1})
    wanted = run(layer, x, offset, mask, dy)
    free = DeformConv2d(4, 6, (3, 2), padding=1).astype(np.float64)
    free.load_state_dict(layer.state_dict())
    agree(run(free, x, offset, mask, dy), wanted)


def test_gradients_add_up_and_dtypes_stay():
    layer, x, offset, mask, dy = example((2, 3, 4, 5, 2), (2, 3), 1, {"padding": 1})
    once = [a.copy() for a in run(layer, x, offset, mask, dy)]
    layer.backward(2 * dy, layer.forward(x, offset, mask)[1])
    np.testing.assert_allclose(layer.weight.grad, 3 * once[4], rtol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, 3 * once[5], rtol=1e-12)
    results = run(layer.astype(np.float32), *(a.astype(np.float32) for a in (x, offset, mask, dy)))
    assert {a.dtype for a in results} == {np.dtype(np.float32)}
    agree(results, once, rtol=1e-4)
    results = run(layer, x.astype(np.float32), offset, mask, dy.astype(np.float32))  # positions in double precision
    assert [str(a.dtype) for a in results[:4]] == ["float32", "float32", "float64", "float64"]
    agree(results, once, rtol=1e-5)


def test_empty_batch_and_initialisation():
    layer = DeformConv2d(3, 4, 3, padding=1, rng=np.random.default_rng(5))
    arrays = [np.zeros((0, c, 5, 6), np.float32) for c in (3, 18, 9)]
    y, cache = layer.forward(*arrays)
    assert y.shape == (0, 4, 5, 6) and [a.shape for a in layer.backward(y, cache)] == [a.shape for a in arrays]
    assert not layer.weight.grad.any() and not layer.bias.value.any()
    same = Conv2d(3, 4, 3, rng=np.random.default_rng(5))
    assert np.array_equal(layer.weight.value, same.weight.value)
    assert list(DeformConv2d(2, 3, 1, bias=False).parameters()) == ["weight"]
    assert layer.multiply_adds((2, 4, 5, 6)) == same.multiply_adds((2, 4, 5, 6))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 4, 3), "in_channels must be a whole number >= 1, got 0"),
        ((3, 4, 0), "kernel_size must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, 3, 0), "stride must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, 3, 1, -1), "padding must be a whole number >= 0 or a pair of them, got -1"),
        ((3, 4, 3, 1, 0, 0), "dilation must be a whole number >= 1 or a pair of them, got 0"),
        ((3, 4, 3, 1, 0, 1, 2), "groups=2 must divide in_channels=3, out_channels=4"),
        ((4, 3, 3, 1, 0, 1, 2), "groups=2 must divide in_channels=4, out_channels=3"),
        ((4, 4, 3, 1, 0, 1, 1, True, 3), "offset_groups=3 must divide in_channels=4"),
        ((4, 4, 3, 1, 0, 1, 1, True, 0), "offset_groups must be a whole number >= 1, got 0"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^DeformConv2d: {message}$"):
        DeformConv2d(*arguments)


X, OFFSET, MASK = np.zeros((2, 4, 5, 6)), np.zeros((2, 24, 4, 4)), np.zeros((2, 12, 4, 4))  # kernel (2, 3), 2 groups


@pytest.mark.parametrize(
    "x, offset, mask, message",
    [
        (X[:, :3], OFFSET, None, r"x must have shape \(N, 4, H, W\), got \(2, 3, 5, 6\)"),
        (X[..., :0], OFFSET, None, r"x must have at least one row and one column, got \(2, 4, 5, 0\)"),
        (X, OFFSET[:, :12], None, r"offset must have shape \(2, 24, 4, 4\), got \(2, 12, 4, 4\)"),
        (X, OFFSET[:1], None, r"offset must have shape \(2, 24, 4, 4\), got \(1, 24, 4, 4\)"),
        (X, OFFSET[..., :3], None, r"offset must have shape \(2, 24, 4, 4\), got \(2, 24, 4, 3\)"),
        (X, OFFSET[0], None, r"offset must have shape \(2, 24, 4, 4\), got \(24, 4, 4\)"),
        (X, OFFSET, MASK[:, :6], r"mask must have shape \(2, 12, 4, 4\), got \(2, 6, 4, 4\)"),
        (X, OFFSET + np.inf, None, "offset must be finite, got NaN or infinity"),
        (X[:, :, :1], OFFSET, None, r"output size \(0, 4\) for input \(1, 6\), kernel \(2, 3\), .* is too small"),
    ],
)
def test_bad_input(x, offset, mask, message):
    with pytest.raises(ValueError, match=f"^DeformConv2d: {message}$"):
        DeformConv2d(4, 6, (2, 3), offset_groups=2).forward(x, offset, mask)


def test_bad_input_without_offset_groups():
    layer = DeformConv2d(4, 6, (2, 3))
    wanted = (
        r"^DeformConv2d: offset must have G \* 12 channels \(offset groups, taps, 2\), where G divides in_channels=4"
    )
    for channels in (6, 18, 25, 36):
        with pytest.raises(ValueError, match=wanted + rf", got \(2, {channels}, 4, 4\)$"):
            layer.forward(X, np.zeros((2, channels, 4, 4)))
    with pytest.raises(ValueError, match=r"^DeformConv2d: offset must have shape \(2, 12, 4, 4\), got \(12, 4, 4\)$"):
        layer.forward(X, np.zeros((12, 4, 4)))
    with pytest.raises(TypeError, match="^DeformConv2d: offset must be an array of floats, got int64"):
        layer.forward(X, np.zeros((2, 12, 4, 4), np.int64))
    with pytest.raises(TypeError, match="^DeformConv2d: offset must be an array of floats, got NoneType"):
        layer.forward(X, None)
    y, cache = layer.forward(X, OFFSET, MASK)
    with pytest.raises(ValueError, match=r"^DeformConv2d: dy must have shape \(2, 6, 4, 4\), got \(2, 6, 4, 3\)$"):
        layer.backward(y[..., :3], cache)
