"""Adaptive pooling against a loop over bins, the bin rule, indices, ties and NaN; the pyramid's 21 bins."""

import math
from fractions import Fraction

import numpy as np
import pytest

from nn.layers.adaptive_pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, SpatialPyramidPool, bins

pytestmark = pytest.mark.usefixtures("both_versions")
SHAPES = [  # (N, C, H, W), output_size
    ((2, 3, 4, 6), 2),
    ((2, 3, 5, 7), 2),
    ((2, 3, 5, 7), (3, 4)),
    ((1, 2, 7, 6), (1, 6)),
    ((2, 3, 3, 4), (5, 9)),  # more bins than places
    ((2, 3, 4, 5), (None, 2)),
    ((2, 3, 4, 5), (3, None)),
    ((2, 3, 4, 5), None),
    ((2, 3, 4, 5), (4, 5)),  # one place a bin
    ((2, 3, 1, 1), (1, 3)),
    ((1, 1, 17, 13), 5),
    ((0, 3, 4, 5), 2),
]


def edges(size, count):
    """The rule as it is documented, in exact fractions."""
    step = Fraction(size, count)
    return [(math.floor(i * step), math.ceil((i + 1) * step)) for i in range(count)]


def naive(x, output_size, largest):
    """y, indices, dx, dy: one bin at a time; the maximum and where it stands, or the mean."""
    n_images, channels, h, w = x.shape
    both = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    rows, cols = edges(h, both[0] or h), edges(w, both[1] or w)
    y, dx = np.empty((n_images, channels, len(rows), len(cols))), np.zeros(x.shape)
    indices, dy = np.zeros(y.shape, int), np.random.default_rng(90).normal(size=y.shape)
    for n, c, r, s in np.ndindex(y.shape):
        places = [(row, col) for row in range(*rows[r]) for col in range(*cols[s])]
        if largest:
            row, col = max(places, key=lambda place: x[n, c, place[0], place[1]])  # max gives the first of equals
            y[n, c, r, s], indices[n, c, r, s] = x[n, c, row, col], row * w + col
            dx[n, c, row, col] += dy[n, c, r, s]
            continue
        y[n, c, r, s] = sum(x[n, c, row, col] for row, col in places) / len(places)
        for row, col in places:
            dx[n, c, row, col] += dy[n, c, r, s] / len(places)
    return y, indices, dx, dy


def variants(x):
    return x, np.repeat(x, 2, axis=3)[..., ::2], x.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0)


@pytest.mark.parametrize("shape, output_size", SHAPES)
def test_average_equals_the_loop(shape, output_size):
    x = np.random.default_rng(91).normal(size=shape)
    y, _, dx, dy = naive(x, output_size, largest=False)
    layer = AdaptiveAvgPool2d(output_size)
    for given in variants(x):
        out, cache = layer.forward(given)
        np.testing.assert_allclose(out, y, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(layer.backward(dy, cache), dx, rtol=1e-12, atol=1e-13)
        assert cache == shape


@pytest.mark.parametrize("levels", [10_000, 4])  # hardly any ties, and many
@pytest.mark.parametrize("shape, output_size", SHAPES)
def test_maximum_equals_the_loop(shape, output_size, levels):
    x = np.random.default_rng(92).integers(-levels, 0, shape) / levels
    y, indices, dx, dy = naive(x, output_size, largest=True)
    layer = AdaptiveMaxPool2d(output_size, return_indices=True)
    for given in variants(x):
        (out, places), cache = layer.forward(given)
        assert np.array_equal(out, y) and np.array_equal(places, indices) and places.dtype == np.int64
        np.testing.assert_allclose(layer.backward(dy, cache), dx, rtol=1e-13, atol=1e-13)
    assert np.array_equal(AdaptiveMaxPool2d(output_size)(x), y)


@pytest.mark.parametrize("shape, output_size", SHAPES)
def test_the_average_s_backward_is_the_adjoint(shape, output_size):
    rng, layer = np.random.default_rng(93), AdaptiveAvgPool2d(output_size)
    x = rng.normal(size=shape)
    y, cache = layer.forward(x)
    dy = rng.normal(size=y.shape)
    assert (y * dy).sum() == pytest.approx((x * layer.backward(dy, cache)).sum(), rel=1e-12, abs=1e-12)


def test_bin_rule():
    for size in range(1, 40):
        for count in range(1, 30):
            assert list(zip(*(e.tolist() for e in bins(size, count)))) == edges(size, count)
    assert [e.tolist() for e in bins(5, 2)] == [[0, 2], [3, 5]]  # the docstring's [0, 3) and [2, 5)


@pytest.mark.parametrize("place", range(4))
def test_nan_wins(place):
    x = np.array([1.0, 4, 3, 2])
    x[place] = np.nan
    y, indices = AdaptiveMaxPool2d(1, return_indices=True)(x.reshape(1, 1, 2, 2))
    assert np.isnan(y).all() and indices.item() == place


def test_dtype():
    x = np.random.default_rng(94).normal(size=(2, 3, 6, 4)).astype(np.float32)
    for layer in (AdaptiveAvgPool2d(3), AdaptiveMaxPool2d(3), SpatialPyramidPool()):
        y, cache = layer.forward(x)
        assert y.dtype == np.float32 and layer.backward(y, cache).dtype == np.float32


def test_the_pyramid_s_21_bins():
    """The lecture: 4 x 4, 2 x 2 and 1 x 1 bins a channel, from images of any size the same length."""
    rng, layer = np.random.default_rng(95), SpatialPyramidPool()
    assert layer.levels == (4, 2, 1) and layer.bins == 21
    for h, w in ((13, 13), (10, 7), (4, 4), (2, 3)):
        x = rng.normal(size=(2, 3, h, w))
        y = layer(x)
        assert y.shape == (2, 3 * 21)
        start = 0
        for level in (4, 2, 1):
            for channel in range(3):
                for top, bottom in edges(h, level):
                    for left, right in edges(w, level):
                        assert (y[:, start] == x[:, channel, top:bottom, left:right].max(axis=(1, 2))).all()
                        start += 1
        assert start == 63


def test_the_pyramid_by_hand():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    layer = SpatialPyramidPool()
    y, cache = layer.forward(x)
    assert y.tolist() == [[*range(16), 5, 7, 13, 15, 15]]
    dx = layer.backward(np.arange(1.0, 22)[None], cache)
    assert dx.ravel().tolist() == [1, 2, 3, 4, 5, 6 + 17, 7, 8 + 18, 9, 10, 11, 12, 13, 14 + 19, 15, 16 + 20 + 21]
    both = SpatialPyramidPool((1, 2))(np.concatenate([x, -x], axis=1))
    assert both.tolist() == [[15, 0, 5, 7, 13, 15, 0, -2, -8, -10]]  # level after level, in it channel after channel


def test_the_pyramid_of_no_images():
    layer = SpatialPyramidPool((2, 1))
    y, cache = layer.forward(np.zeros((0, 3, 4, 5)))
    assert y.shape == (0, 15) and layer.backward(y, cache).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("layer", [AdaptiveAvgPool2d, AdaptiveMaxPool2d])
@pytest.mark.parametrize("size", [0, (2, -1), (2, 3, 4), 2.5, "same", (None, 0)])
def test_bad_output_size(layer, size):
    with pytest.raises(ValueError, match=f"^{layer.__name__}: output_size must be a whole number >= 1 or a pair"):
        layer(size)


def test_bad_levels():
    with pytest.raises(ValueError, match="^SpatialPyramidPool: levels must be a whole number >= 1, got 0$"):
        SpatialPyramidPool((4, 0))
    with pytest.raises(ValueError, match=r"^SpatialPyramidPool: levels must be a whole number >= 1, got 1\.5$"):
        SpatialPyramidPool(1.5)
    with pytest.raises(ValueError, match=r"^SpatialPyramidPool: levels must hold at least one whole number, got \(\)$"):
        SpatialPyramidPool(())


@pytest.mark.parametrize("layer", [AdaptiveAvgPool2d(2), AdaptiveMaxPool2d(2), SpatialPyramidPool((2,))])
def test_bad_input(layer):
    name = type(layer).__name__
    with pytest.raises(ValueError, match=rf"^{name}: x must have shape \(N, C, H, W\), got \(4, 5\)$"):
        layer.forward(np.zeros((4, 5)))
    with pytest.raises(TypeError, match=f"^{name}: x must be an array of floats, got uint8: convert with"):
        layer.forward(np.zeros((1, 1, 4, 5), np.uint8))
    with pytest.raises(ValueError, match=rf"^{name}: x must have at least one row and one column, got \(1, 1, 4"):
        layer.forward(np.zeros((1, 1, 4, 0)))
    y, cache = layer.forward(np.zeros((2, 3, 5, 7)))
    with pytest.raises(ValueError, match=rf"^{name}: dy must have shape \(2, .*, got \(1, "):
        layer.backward(y[:1], cache)
