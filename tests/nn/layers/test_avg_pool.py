"""AvgPool2d and GlobalAvgPool2d against a loop over windows: sizes, divisors, values, gradients."""

import math

import numpy as np
import pytest

from nn.layers.avg_pool import AvgPool2d, GlobalAvgPool2d

pytestmark = pytest.mark.usefixtures("both_versions")
SHAPES = [  # (N, C, H, W), constructor arguments
    ((2, 3, 4, 6), {"kernel_size": 2}),
    ((2, 3, 5, 7), {"kernel_size": 2}),  # a row and a column left over
    ((2, 3, 7, 5), {"kernel_size": 3, "stride": 2}),  # windows overlap
    ((2, 3, 5, 6), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((2, 3, 7, 8), {"kernel_size": 2, "stride": (3, 4)}),  # pixels in no window
    ((1, 2, 5, 7), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    ((2, 3, 6, 5), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ((1, 2, 5, 6), {"kernel_size": 3, "stride": (3, 2), "padding": (1, 0), "ceil_mode": True}),
    ((2, 1, 3, 4), {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),  # a window beyond is left out
    ((2, 1, 4, 3), {"kernel_size": (2, 5), "stride": 2, "padding": (0, 2), "divisor_override": 3}),
    ((1, 2, 3, 4), {"kernel_size": (3, 4)}),  # as large as the image
    ((1, 2, 1, 2), {"kernel_size": 5, "padding": 2}),  # larger
    ((1, 2, 2, 1), {"kernel_size": 3, "stride": 2, "ceil_mode": True, "padding": 1}),
    ((2, 3, 4, 5), {"kernel_size": 1}),
    ((0, 3, 4, 5), {"kernel_size": 2}),
]


def random_shape(seed):
    rng = np.random.default_rng([80, seed])
    kernel, stride = (tuple(map(int, rng.integers(1, 5, 2))) for _ in range(2))
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    size = (k + int(rng.integers(0, 6)) for k in kernel)
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": seed % 2 == 0}
    options |= {"divisor_override": int(rng.integers(1, 9))} if seed % 7 == 0 else {}
    return (int(rng.integers(1, 4)), int(rng.integers(1, 4)), *size), options


SHAPES += [random_shape(seed) for seed in range(40)]


def out_size(size, k, s, p, ceil_mode):
    """The rule as documented: with ceil_mode a window more, if it starts inside the image or its first padding."""
    count = (size + 2 * p - k) / s
    if not ceil_mode:
        return math.floor(count) + 1
    return math.ceil(count) + 1 if math.ceil(count) * s < size + p else math.ceil(count)


def naive(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """y, dx, dy: one window at a time."""
    both = [(v, v) if isinstance(v, int) else v for v in (kernel_size, stride or kernel_size, padding)]
    (kh, sh, ph), (kw, sw, pw) = zip(*both)
    n_images, channels, h, w = x.shape
    size = out_size(h, kh, sh, ph, ceil_mode), out_size(w, kw, sw, pw, ceil_mode)
    y, dx = np.empty((n_images, channels, *size)), np.zeros(x.shape)
    dy = np.random.default_rng(81).normal(size=y.shape)
    for n, c, r, s in np.ndindex(y.shape):
        places = [(r * sh - ph + i, s * sw - pw + j) for i in range(kh) for j in range(kw)]
        padded = [(row, col) for row, col in places if row < h + ph and col < w + pw]
        inside = [(row, col) for row, col in padded if 0 <= row < h and 0 <= col < w]
        divisor = divisor_override or len(padded if count_include_pad else inside)
        y[n, c, r, s] = sum(x[n, c, row, col] for row, col in inside) / divisor
        for row, col in inside:
            dx[n, c, row, col] += dy[n, c, r, s] / divisor
    return y, dx, dy


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("shape, options", SHAPES)
def test_equals_the_loop_over_windows(shape, options, count_include_pad):
    x = np.random.default_rng(82).normal(size=shape)
    options = options | {"count_include_pad": count_include_pad}
    y, dx, dy = naive(x, **options)
    layer = AvgPool2d(**options)
    for given in (x, np.repeat(x, 2, axis=3)[..., ::2], x.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0)):
        out, cache = layer.forward(given)
        np.testing.assert_allclose(out, y, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(layer.backward(dy, cache), dx, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape, options", SHAPES[1:-41])
def test_backward_is_the_adjoint(shape, options):
    """<f(x), y> = <x, f^T(y)>: the layer is linear."""
    rng, layer = np.random.default_rng(83), AvgPool2d(**options)
    x = rng.normal(size=shape)
    y, cache = layer.forward(x)
    dy = rng.normal(size=y.shape)
    assert (y * dy).sum() == pytest.approx((x * layer.backward(dy, cache)).sum(), rel=1e-12, abs=1e-12)


def test_worked_example():
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    assert AvgPool2d(2, 1)(x).tolist() == [[[[3, 4], [6, 7]]]]
    assert AvgPool2d(2, 2, ceil_mode=True)(x).tolist() == [[[[3, 4.5], [7.5, 9]]]]  # beyond the padding: not counted
    assert AvgPool2d(2, 2, 1)(x).tolist() == [[[[0.25, 1.25], [2.75, 7]]]]
    assert AvgPool2d(2, 2, 1, count_include_pad=False)(x).tolist() == [[[[1, 2.5], [5.5, 7]]]]
    assert AvgPool2d(2, 2, 1, divisor_override=2)(x).tolist() == [[[[0.5, 2.5], [5.5, 14]]]]
    layer = AvgPool2d(2, 1)
    dx = layer.backward(np.array([[[[4.0, 40], [400, 4000]]]]), layer.forward(x)[1])
    assert dx.tolist() == [[[[1, 11, 10], [101, 1111, 1010], [100, 1100, 1000]]]]


def test_arguments_stand_in_pytorch_s_order():
    layer = AvgPool2d(4, 3, 2, True, False, 5)
    assert layer.geometry[:3] == ((4, 4), (3, 3), (2, 2))
    assert (layer.ceil_mode, layer.count_include_pad, layer.divisor_override) == (True, False, 5)
    assert AvgPool2d((4, 3)).geometry.stride == (4, 3)


def test_dtype_and_cache():
    x = np.random.default_rng(84).normal(size=(2, 3, 6, 4)).astype(np.float32)
    for layer in (AvgPool2d(3, 2, 1), AvgPool2d(2, divisor_override=3), GlobalAvgPool2d()):
        y, cache = layer.forward(x)
        assert y.dtype == np.float32 and layer.backward(y, cache).dtype == np.float32
        assert cache == x.shape  # the values are not needed


def test_a_window_s_sum_does_not_overflow_into_its_neighbours():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0, 0], x[0, 0, 3, 3] = np.inf, np.nan
    y = AvgPool2d(2)(x)
    assert y[0, 0, 0, 0] == np.inf and np.isnan(y[0, 0, 1, 1]) and y[0, 0, 0, 1] == y[0, 0, 1, 0] == 0


def test_global_average():
    x = np.random.default_rng(85).normal(size=(2, 3, 4, 5))
    layer = GlobalAvgPool2d()
    y, cache = layer.forward(x)
    wanted = [[sum(x[n, c].ravel().tolist()) / 20 for c in range(3)] for n in range(2)]
    np.testing.assert_allclose(y, wanted, rtol=1e-13, atol=1e-15)
    dy = np.arange(1.0, 7).reshape(2, 3)
    dx = layer.backward(dy, cache)
    assert dx.shape == x.shape and dx.flags.writeable
    assert all((dx[n, c] == dy[n, c] / 20).all() for n in range(2) for c in range(3))
    assert layer(np.zeros((0, 3, 4, 5))).shape == (0, 3)
    assert layer.backward(np.zeros((0, 3)), (0, 3, 4, 5)).shape == (0, 3, 4, 5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "kernel_size must be a whole number >= 1 or a pair of them, got 0"),
        ((2, 0), "stride must be a whole number >= 1"),
        ((3, 2, -1), "padding must be a whole number >= 0"),
        ((3, 2, 2), r"padding \(2, 2\) must be at most half the kernel_size \(3, 3\)"),
        (((4, 2), 2, (1, 2)), r"padding \(1, 2\) must be at most half the kernel_size \(4, 2\)"),
        ((3, 2, 1, False, True, 0), "divisor_override must be a whole number >= 1, got 0"),
        ((3, 2, 1, False, True, 2.5), r"divisor_override must be a whole number >= 1, got 2\.5"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^AvgPool2d: {message}"):
        AvgPool2d(*arguments)


def test_bad_input():
    layer = AvgPool2d(3, 2)
    with pytest.raises(ValueError, match=r"^AvgPool2d: x must have shape \(N, C, H, W\), got \(4, 5\)$"):
        layer.forward(np.zeros((4, 5)))
    with pytest.raises(TypeError, match="^AvgPool2d: x must be an array of floats, got int64: convert with"):
        layer.forward(np.zeros((1, 1, 4, 5), np.int64))
    with pytest.raises(ValueError, match=r"^AvgPool2d: output size \(0, 2\) for input \(2, 5\), kernel \(3, 3\)"):
        layer.forward(np.zeros((1, 1, 2, 5)))
    with pytest.raises(ValueError, match=r"^AvgPool2d: x must have at least one row and one column, got .*1, 1, 0, 5"):
        AvgPool2d(2, 1, 1).forward(np.zeros((1, 1, 0, 5)))
    y, cache = layer.forward(np.zeros((2, 3, 5, 7)))
    with pytest.raises(ValueError, match=r"^AvgPool2d: dy must have shape \(2, 3, 2, 3\), got \(2, 3, 2, 2\)$"):
        layer.backward(y[..., :2], cache)

    layer = GlobalAvgPool2d()
    with pytest.raises(ValueError, match=r"^GlobalAvgPool2d: x must have shape \(N, C, H, W\), got \(2, 4, 5\)$"):
        layer.forward(np.zeros((2, 4, 5)))
    with pytest.raises(ValueError, match=r"^GlobalAvgPool2d: x must have at least one row and one column, got"):
        layer.forward(np.zeros((2, 4, 5, 0)))
    with pytest.raises(ValueError, match=r"^GlobalAvgPool2d: dy must have shape \(2, 3\), got \(2, 3, 1, 1\)$"):
        layer.backward(np.zeros((2, 3, 1, 1)), (2, 3, 4, 5))
