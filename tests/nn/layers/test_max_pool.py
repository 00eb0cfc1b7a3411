"""MaxPool2d against a loop over windows: sizes, values, gradients, indices, ties and NaN."""

import math

import numpy as np
import pytest

from nn import MaxPool2d

pytestmark = pytest.mark.usefixtures("both_versions")
SHAPES = [  # (N, C, H, W), constructor arguments
    ((2, 3, 4, 6), {"kernel_size": 2}),
    ((2, 3, 5, 7), {"kernel_size": 2}),  # a row and a column left over
    ((2, 3, 7, 5), {"kernel_size": 3, "stride": 2}),  # windows overlap
    ((2, 3, 5, 6), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((2, 3, 7, 8), {"kernel_size": 2, "stride": (3, 4)}),  # pixels in no window
    ((1, 2, 5, 7), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    ((2, 3, 5, 6), {"kernel_size": (1, 4), "padding": (0, 2)}),
    ((2, 3, 6, 5), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ((2, 3, 6, 5), {"kernel_size": 2, "ceil_mode": True}),
    ((1, 2, 5, 6), {"kernel_size": 3, "stride": (3, 2), "padding": (1, 0), "ceil_mode": True}),
    ((2, 1, 3, 4), {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),  # a window beyond is left out
    ((2, 3, 7, 8), {"kernel_size": 2, "stride": 1, "dilation": (2, 3)}),
    ((2, 1, 8, 7), {"kernel_size": 3, "stride": 2, "dilation": 2, "padding": 1, "ceil_mode": True}),
    ((1, 2, 3, 4), {"kernel_size": (3, 4)}),  # as large as the image
    ((1, 2, 2, 1), {"kernel_size": 3, "stride": 2, "ceil_mode": True, "padding": 1}),
    ((2, 3, 4, 5), {"kernel_size": 1}),
    ((0, 3, 4, 5), {"kernel_size": 2}),
]


def random_shape(seed):
    rng = np.random.default_rng([60, seed])
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, 4, 2))) for _ in range(3))
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    size = (d * (k - 1) + 1 + int(rng.integers(0, 5)) for k, d in zip(kernel, dilation))
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return (int(rng.integers(1, 4)), int(rng.integers(1, 4)), *size), options | {"ceil_mode": seed % 2 == 0}


SHAPES += [random_shape(seed) for seed in range(40)]


def out_size(size, k, s, p, d, ceil_mode):
    """The documented rule: with ceil_mode one window more, if it starts inside the image or its first padding."""
    count = (size + 2 * p - d * (k - 1) - 1) / s
    if not ceil_mode:
        return math.floor(count) + 1
    return math.ceil(count) + 1 if math.ceil(count) * s < size + p else math.ceil(count)


def naive(x, dy_of, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """y, indices, dx: the first largest of each window; dy_of(shape) makes dy."""
    both = [(v, v) if isinstance(v, int) else v for v in (kernel_size, stride or kernel_size, padding, dilation)]
    (kh, sh, ph, dh), (kw, sw, pw, dw) = zip(*both)
    n_images, channels, h, w = x.shape
    size = out_size(h, kh, sh, ph, dh, ceil_mode), out_size(w, kw, sw, pw, dw, ceil_mode)
    y, indices, dx = (
        np.empty((n_images, channels, *size)),
        np.empty((n_images, channels, *size), int),
        np.zeros(x.shape),
    )
    dy = dy_of(y.shape)
    for n, c, r, s in np.ndindex(y.shape):
        places = [(r * sh - ph + i * dh, s * sw - pw + j * dw) for i in range(kh) for j in range(kw)]
        places = [(row, col) for row, col in places if 0 <= row < h and 0 <= col < w]
        row, col = max(places, key=lambda place: x[n, c, place[0], place[1]])  # max gives the first of equals
        y[n, c, r, s], indices[n, c, r, s] = x[n, c, row, col], row * w + col
        dx[n, c, row, col] += dy[n, c, r, s]
    return y, indices, dx, dy


def dy_of(shape):
    return np.random.default_rng(61).normal(size=shape)


@pytest.mark.parametrize("levels", [10_000, 4])  # hardly any ties, and many
@pytest.mark.parametrize("shape, options", SHAPES)
def test_equals_the_loop_over_windows(shape, options, levels):
    x = np.random.default_rng(62).integers(-levels, 0, shape) / levels
    y, indices, dx, dy = naive(x, dy_of, **options)
    layer = MaxPool2d(**options, return_indices=True)
    for given in (x, np.repeat(x, 2, axis=3)[..., ::2]):
        (out, places), cache = layer.forward(given)
        assert np.array_equal(out, y) and np.array_equal(places, indices) and places.dtype == np.int64
        np.testing.assert_allclose(layer.backward(dy, cache), dx, rtol=1e-13, atol=1e-13)
    out, cache = MaxPool2d(**options).forward(x)
    assert np.array_equal(out, y)
    np.testing.assert_allclose(layer.backward(dy, cache), dx, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "size, k, s, p, wanted, wanted_ceil",
    [
        (5, 2, 2, 0, 2, 3),
        (6, 3, 2, 0, 2, 3),
        (7, 3, 2, 0, 3, 3),
        (112, 3, 2, 1, 56, 57),  # PyTorch's ResNet stem, and Caffe's
        (4, 2, 3, 1, 2, 2),
        (3, 2, 3, 1, 2, 2),  # a third window would start at 5, in the last padding
        (5, 1, 3, 0, 2, 2),
    ],
)
def test_ceil_mode_rule(size, k, s, p, wanted, wanted_ceil):
    x = np.zeros((1, 1, size, size))
    assert MaxPool2d(k, s, p)(x).shape == (1, 1, wanted, wanted)
    assert MaxPool2d(k, s, p, ceil_mode=True)(x).shape == (1, 1, wanted_ceil, wanted_ceil)


def test_worked_example():
    x = np.array([[1.0, 5, 5], [5, 2, 0], [7, 0, 9]])[None, None]
    (y, indices), cache = MaxPool2d(2, stride=1, return_indices=True).forward(x)
    assert y.tolist() == [[[[5, 5], [7, 9]]]] and indices.tolist() == [[[[1, 1], [6, 8]]]]
    dx = MaxPool2d(2, stride=1).backward(np.array([[[[1.0, 10], [100, 1000]]]]), cache)
    assert dx.tolist() == [[[[0, 11, 0], [0, 0, 0], [100, 0, 1000]]]]


@pytest.mark.parametrize("place", range(4))
def test_nan_wins(place):
    x = np.array([1.0, 4, 3, 2])
    x[place] = np.nan
    y, indices = MaxPool2d(2, return_indices=True)(x.reshape(1, 1, 2, 2))
    assert np.isnan(y).all() and indices.item() == place


def test_padding_never_wins():
    assert (MaxPool2d(3, 2, 1)(np.full((1, 2, 5, 4), -1e300)) == -1e300).all()
    assert (MaxPool2d(3, 2, 1)(np.full((1, 2, 5, 4), -3e38, np.float32)) == np.float32(-3e38)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype(dtype):
    y, cache = MaxPool2d(2).forward(np.random.default_rng(63).normal(size=(2, 3, 6, 4)).astype(dtype))
    assert y.dtype == MaxPool2d(2).backward(y, cache).dtype == dtype


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "kernel_size must be a whole number >= 1 or a pair of them, got 0"),
        ((2, 0), "stride must be a whole number >= 1"),
        ((3, 2, -1), "padding must be a whole number >= 0"),
        ((3, 2, 2), r"padding \(2, 2\) must be at most half the kernel_size \(3, 3\)"),
        (((4, 2), 2, (1, 2)), r"padding \(1, 2\) must be at most half the kernel_size \(4, 2\)"),
        ((3, 2, 1, 0), "dilation must be a whole number >= 1"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^MaxPool2d: {message}"):
        MaxPool2d(*arguments)


def test_bad_input():
    layer = MaxPool2d(3, 2)
    with pytest.raises(ValueError, match=r"^MaxPool2d: x must have shape \(N, C, H, W\), got \(4, 5\)$"):
        layer.forward(np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"^MaxPool2d: output size \(0, 2\) for input \(2, 5\), kernel \(3, 3\)"):
        layer.forward(np.zeros((1, 1, 2, 5)))
    y, cache = layer.forward(np.zeros((2, 3, 5, 7)))
    with pytest.raises(ValueError, match=r"^MaxPool2d: dy must have shape \(2, 3, 2, 3\), got \(2, 3, 2, 2\)$"):
        layer.backward(y[..., :2], cache)


def test_a_window_all_of_minus_infinity_has_an_index_inside_the_image():
    _, indices = MaxPool2d(2, padding=1, return_indices=True)(np.full((1, 1, 3, 4), -np.inf, np.float32))
    assert indices[0, 0].tolist() == [[0, 1, 3], [4, 5, 7]]
