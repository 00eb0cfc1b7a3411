"""MaxUnpool2d and Upsample2d against loops; the pool/unpool adjoint; what they refuse."""

import math

import numpy as np
import pytest

from nn import MaxPool2d
from nn.gradcheck import check_layer
from nn.layers.max_unpool import MaxUnpool2d
from nn.layers.upsample import Upsample2d, linear_matrix

pytestmark = pytest.mark.usefixtures("both_versions")
MODES = [("nearest", False), ("bilinear", False), ("bilinear", True)]
SHAPES = [  # (N, C, H, W), constructor arguments
    ((2, 3, 4, 5), {"scale_factor": 2}),
    ((2, 3, 4, 5), {"scale_factor": (3, 2)}),
    ((1, 2, 5, 4), {"scale_factor": 1}),
    ((2, 3, 4, 5), {"scale_factor": 1.7}),
    ((2, 1, 4, 5), {"scale_factor": (2.4, 2)}),
    ((2, 1, 4, 5), {"scale_factor": (2.2, 1.1)}),  # twice the rows, the same columns
    ((2, 3, 7, 5), {"scale_factor": (0.5, 0.7)}),
    ((2, 1, 1, 4), {"scale_factor": 3}),
    ((2, 3, 4, 5), {"size": (8, 10)}),
    ((2, 3, 4, 5), {"size": 7}),
    ((2, 3, 5, 7), {"size": (3, 9)}),
    ((2, 3, 5, 7), {"size": 1}),
    ((0, 3, 4, 5), {"scale_factor": 2}),
]


def sources(n, count, scale, mode, corners):
    """For each of `count` rows: [(row of x, weight), ...], straight from the docstring."""
    if mode == "nearest":
        return [[(math.floor(r / scale), 1.0)] for r in range(count)]
    out = []
    for r in range(count):
        place = (r * (n - 1) / (count - 1) if count > 1 else 0) if corners else (r + 0.5) / scale - 0.5
        place = min(max(place, 0), n - 1)
        low = math.floor(place)
        out.append([(low, 1 - (place - low)), (min(low + 1, n - 1), place - low)])
    return out


def naive(x, mode, corners, size=None, scale_factor=None):
    """y, dx, dy: one output pixel at a time."""
    n_images, channels, *in_size = x.shape
    if size is not None:
        size = (size, size) if isinstance(size, int) else size
        scales = [o / n for o, n in zip(size, in_size)]
    else:
        scales = scale_factor if isinstance(scale_factor, tuple) else (scale_factor, scale_factor)
        size = [math.floor(n * s) for n, s in zip(in_size, scales)]
        known = {"nearest": (1, 2), "bilinear": (1,)}[mode]
        scales = [o // n if o in [k * n for k in known] else s for n, o, s in zip(in_size, size, scales)]
    rows, cols = (sources(n, o, s, mode, corners) for n, o, s in zip(in_size, size, scales))
    y, dx = np.zeros((n_images, channels, *size)), np.zeros(x.shape)
    dy = np.random.default_rng(100).normal(size=y.shape)
    for n, c, r, s in np.ndindex(y.shape):
        for row, a in rows[r]:
            for col, b in cols[s]:
                y[n, c, r, s] += a * b * x[n, c, row, col]
                dx[n, c, row, col] += a * b * dy[n, c, r, s]
    return y, dx, dy


def variants(x):
    return x, np.repeat(x, 2, axis=3)[..., ::2], x.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0)


@pytest.mark.parametrize("mode, corners", MODES)
@pytest.mark.parametrize("shape, options", SHAPES)
def test_equals_the_loop(shape, options, mode, corners):
    x = np.random.default_rng(101).normal(size=shape)
    y, dx, dy = naive(x, mode, corners, **options)
    layer = Upsample2d(**options, mode=mode, align_corners=corners)
    for given, flow in zip(variants(x), variants(dy)):
        out, cache = layer.forward(given)
        np.testing.assert_allclose(out, y, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(layer.backward(flow, cache), dx, rtol=1e-12, atol=1e-13)
        assert cache == shape


@pytest.mark.parametrize("mode, corners", [*MODES, ("bed_of_nails", False)])
@pytest.mark.parametrize("shape, scale", [((2, 3, 4, 5), 2), ((1, 2, 5, 3), (3, 2)), ((2, 3, 1, 6), (4, 1))])
def test_backward_is_the_adjoint(shape, scale, mode, corners):
    """<f(x), y> = <x, f^T(y)>: all modes are linear."""
    rng, layer = np.random.default_rng(102), Upsample2d(scale_factor=scale, mode=mode, align_corners=corners)
    x = rng.normal(size=shape)
    y, cache = layer.forward(x)
    dy = rng.normal(size=y.shape)
    assert (y * dy).sum() == pytest.approx((x * layer.backward(dy, cache)).sum(), rel=1e-13, abs=1e-13)


def test_the_lecture_s_examples():
    x = np.array([[[[1.0, 2], [3, 4]]]])
    nearest = Upsample2d(scale_factor=2)
    assert nearest(x).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]]
    nails = Upsample2d(scale_factor=2, mode="bed_of_nails")
    assert nails(x).tolist() == [[[[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]]]
    dy = np.arange(16.0).reshape(1, 1, 4, 4)
    assert nearest.backward(dy, x.shape).tolist() == [[[[10, 18], [42, 50]]]]
    dx = nails.backward(dy, x.shape)
    assert dx.tolist() == [[[[0, 2], [8, 10]]]] and not np.shares_memory(dx, dy)
    assert Upsample2d(scale_factor=(1, 2), mode="bed_of_nails")(x).tolist() == [[[[1, 0, 2, 0], [3, 0, 4, 0]]]]
    assert np.array_equal(Upsample2d((4, 4), mode="bed_of_nails")(x), nails(x))


def test_bilinear_by_hand():
    x = np.array([0.0, 4]).reshape(1, 1, 1, 2)
    assert Upsample2d((1, 4), mode="bilinear")(x).ravel().tolist() == [0, 1, 3, 4]
    for count in (2, 3, 5):
        corners = Upsample2d((1, count), mode="bilinear", align_corners=True)
        assert corners(x).ravel().tolist() == np.linspace(0, 4, count).tolist()
    assert Upsample2d((1, 1), mode="bilinear", align_corners=True)(x).item() == 0  # the left one, as in PyTorch
    slope = np.arange(7.0)  # a straight line stays one, but for the ends that are repeated
    assert np.allclose(linear_matrix(7, 14, 2, False) @ slope, np.clip(np.arange(14) / 2 - 0.25, 0, 6), atol=1e-14)
    assert np.allclose(linear_matrix(7, 19, 0, True) @ slope, np.arange(19) / 3, atol=1e-14)


def test_a_scale_factor_is_taken_as_it_is_not_as_the_ratio_of_sizes():
    """As in PyTorch: 4 rows times 2.4 are 9, and row r of them is row floor(r / 2.4), not floor(r 4 / 9)."""
    x = np.arange(4.0).reshape(1, 1, 4, 1)
    assert Upsample2d(scale_factor=(2.4, 1))(x).ravel().tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3]
    assert Upsample2d((9, 1))(x).ravel().tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_but_one_that_changes_nothing_is_1_and_one_that_doubles_is_2():
    """As in PyTorch too: for nearest both, for bilinear the first."""
    x = np.arange(3.0).reshape(1, 1, 3, 1)
    assert Upsample2d(scale_factor=(1.3, 1))(x).ravel().tolist() == [0, 1, 2]
    assert Upsample2d(scale_factor=(1.3, 1), mode="bilinear")(x).ravel().tolist() == [0, 1, 2]
    assert Upsample2d(scale_factor=(2.3, 1))(x).ravel().tolist() == [0, 0, 1, 1, 2, 2]
    wanted = np.clip((np.arange(6) + 0.5) / 2.3 - 0.5, 0, 2)
    np.testing.assert_allclose(Upsample2d(scale_factor=(2.3, 1), mode="bilinear")(x).ravel(), wanted, rtol=1e-14)


def test_positions_of_nearest_are_exact():
    """floor(r n / count) in whole numbers: 9 / (18 / 14), which is 7, is less in floating point."""
    for n, count in ((14, 18), (21, 27), (2, 98), (3, 49), (41, 29)):
        x = np.arange(n, dtype=np.float64).reshape(1, 1, n, 1)
        assert Upsample2d((count, 1))(x).ravel().tolist() == [r * n // count for r in range(count)]


def test_dtype():
    x = np.random.default_rng(103).normal(size=(2, 3, 4, 5)).astype(np.float32)
    for options in ({}, {"mode": "bilinear"}, {"mode": "bed_of_nails"}):
        layer = Upsample2d(scale_factor=2, **options)
        y, cache = layer.forward(x)
        assert y.dtype == np.float32 and layer.backward(y, cache).dtype == np.float32
    dy = np.ones((2, 3, 7, 7), np.float32)
    assert Upsample2d(7).backward(dy, x.shape).dtype == np.float32  # nearest by a fraction


POOLS = [  # (N, C, H, W), kernel, stride, padding
    ((2, 3, 4, 6), 2, None, 0),
    ((2, 3, 5, 7), 2, None, 0),  # rows left over: needs output_size
    ((2, 3, 6, 9), (2, 3), None, 0),
    ((2, 1, 7, 8), 2, (3, 4), 0),
    ((2, 3, 5, 8), (3, 2), (3, 2), (1, 0)),
    ((1, 2, 4, 3), 1, None, 0),
    ((2, 3, 5, 6), 2, 1, 0),  # windows overlap: places repeated
    ((2, 3, 7, 9), 3, 2, 1),
    ((0, 3, 4, 6), 2, None, 0),
]


@pytest.mark.parametrize("shape, kernel, stride, padding", POOLS)
def test_unpooling_equals_the_loop(shape, kernel, stride, padding):
    rng = np.random.default_rng(104)
    pooled, indices = MaxPool2d(kernel, stride, padding, return_indices=True)(rng.normal(size=shape))
    x = rng.normal(size=pooled.shape)
    layer = MaxUnpool2d(kernel, stride, padding)
    y, dx, dy = np.zeros(shape), np.zeros(x.shape), rng.normal(size=shape)
    writer = {}
    for n, c, r, s in np.ndindex(x.shape):  # in reading order: the last one stays
        y[n, c].flat[indices[n, c, r, s]] = x[n, c, r, s]
        writer[n, c, indices[n, c, r, s]] = (n, c, r, s)
    for (n, c, place), position in writer.items():
        dx[position] = dy[n, c].flat[place]
    for values, places, flow in zip(variants(x), variants(indices), variants(dy)):
        out, cache = layer.forward(values, places, shape)
        assert np.array_equal(out, y)
        assert np.array_equal(layer.backward(flow, cache)[0], dx) and layer.backward(flow, cache)[1] is None
        assert np.array_equal(layer.forward(values, places, output_size=shape[2:])[0], y)


@pytest.mark.parametrize("shape, kernel, stride, padding", POOLS[:6])
def test_unpooling_is_the_transpose_of_pooling(shape, kernel, stride, padding):
    """<pool(x), y> = <x, unpool(y)> at the places that x chose, and pool(unpool(y)) = y: windows do not overlap."""
    rng, pool = np.random.default_rng(105), MaxPool2d(kernel, stride, padding, return_indices=True)
    x = rng.random(shape) + 1
    (pooled, indices), cache = pool.forward(x)
    y = rng.random(pooled.shape) + 1
    layer = MaxUnpool2d(kernel, stride, padding)
    spread, spread_cache = layer.forward(y, indices, output_size=shape)
    assert (pooled * y).sum() == pytest.approx((x * spread).sum(), rel=1e-13)
    assert np.array_equal(pool.backward(y, cache), spread)  # each one's backward is the other one's forward
    assert np.array_equal(layer.backward(x, spread_cache)[0], pooled)
    assert np.array_equal(pool(spread)[0], y)


def test_unpooling_by_hand():
    """The lecture's picture: the maxima go back to where they came from, zeros elsewhere."""
    picture = np.array([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]).reshape(1, 1, 4, 4)
    pooled, indices = MaxPool2d(2, return_indices=True)(picture)
    assert pooled.tolist() == [[[[5, 6], [7, 8]]]]
    y = MaxUnpool2d(2)(np.array([[[[1.0, 2], [3, 4]]]]), indices)
    assert y.tolist() == [[[[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]]]


def test_of_repeated_places_the_last_is_kept_and_has_the_gradient():
    layer = MaxUnpool2d(2)
    x, indices = np.array([[[[1.0, 2, 3]]]]), np.array([[[[5, 0, 5]]]])
    y, cache = layer.forward(x, indices)
    assert y.ravel().tolist() == [2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0]
    assert layer.backward(np.arange(12.0).reshape(1, 1, 2, 6) + 1, cache)[0].tolist() == [[[[0, 1, 6]]]]


def test_unpooling_to_a_single_row_column_or_pixel():
    x, first = np.full((2, 1, 1, 1), 3.0), np.zeros((2, 1, 1, 1), np.int64)
    assert MaxUnpool2d(1)(x, first).shape == (2, 1, 1, 1)
    assert MaxUnpool2d((1, 3))(x, first).shape == (2, 1, 1, 3)
    assert MaxUnpool2d((3, 1))(x, first).shape == (2, 1, 3, 1)
    for size in ((1, 1), (1, 3), (3, 1)):
        assert (
            MaxUnpool2d(2, 2)(x, first, size).tolist()
            == [[[[3.0 if r == s == 0 else 0 for s in range(size[1])] for r in range(size[0])]]] * 2
        )


def test_output_size_has_gradients_too():
    class Sized(MaxUnpool2d):
        def forward(self, x, indices, training=True):
            return super().forward(x, indices, (5, 8), training)

    rng = np.random.default_rng(106)
    indices = np.argsort(rng.random((2, 3, 40)), axis=2)[:, :, :8].reshape(2, 3, 2, 4)
    assert check_layer(Sized(2), rng.normal(size=(2, 3, 2, 4)), indices, complex_step=True, tolerance=1e-12)


def test_unpooling_keeps_dtype_and_takes_any_whole_numbers():
    x = np.ones((1, 2, 2, 3), np.float32)
    for dtype in (np.int64, np.int32, np.uint8):
        y, cache = MaxUnpool2d(2).forward(x, np.arange(12, dtype=dtype).reshape(x.shape))
        dx, _ = MaxUnpool2d(2).backward(y, cache)
        assert y.dtype == dx.dtype == np.float32 and y.sum() == 12 and dx.shape == x.shape


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "exactly one of size and scale_factor must be given, got size=None, scale_factor=None"),
        ({"size": 4, "scale_factor": 2}, "exactly one of size and scale_factor must be given, got size=4, scale"),
        ({"size": 0}, "size must be a whole number >= 1 or a pair of them, got 0"),
        ({"size": (2, 3.5)}, "size must be a whole number >= 1 or a pair of them"),
        ({"scale_factor": 0}, "scale_factor must be a number > 0 or a pair of them, got 0"),
        ({"scale_factor": (2, -1)}, r"scale_factor must be a number > 0 or a pair of them, got \(2, -1\)"),
        ({"scale_factor": (2, 2, 2)}, r"scale_factor must be .* got \(2, 2, 2\)"),
        ({"scale_factor": np.nan}, "scale_factor must be .* got nan"),
        ({"scale_factor": np.inf}, "scale_factor must be .* got inf"),
        ({"scale_factor": "2"}, "scale_factor must be .* got '2'"),
        ({"size": 4, "mode": "bicubic"}, "mode must be 'nearest', 'bilinear' or 'bed_of_nails', got 'bicubic'"),
        ({"size": 4, "align_corners": True}, "align_corners=True is for mode 'bilinear', got mode 'nearest'"),
    ],
)
def test_bad_constructor_arguments(options, message):
    with pytest.raises(ValueError, match=f"^Upsample2d: {message}"):
        Upsample2d(**options)


def test_bad_input():
    layer = Upsample2d(scale_factor=0.3)
    with pytest.raises(ValueError, match=r"^Upsample2d: x must have shape \(N, C, H, W\), got \(4, 5\)$"):
        layer.forward(np.zeros((4, 5)))
    with pytest.raises(TypeError, match="^Upsample2d: x must be an array of floats, got int64: convert with"):
        layer.forward(np.zeros((1, 1, 4, 5), np.int64))
    with pytest.raises(ValueError, match=r"^Upsample2d: output size \(0, 1\) for input \(3, 5\), scale_factor \(0\.3"):
        layer.forward(np.zeros((1, 1, 3, 5)))
    with pytest.raises(ValueError, match="^Upsample2d: x must have at least one row and one column"):
        Upsample2d(4).forward(np.zeros((1, 1, 3, 0)))
    wanted = r"^Upsample2d: bed of nails takes whole-numbered scales, got input \(4, 5\), output \(8, 9\)$"
    with pytest.raises(ValueError, match=wanted):
        Upsample2d((8, 9), mode="bed_of_nails").forward(np.zeros((1, 1, 4, 5)))
    with pytest.raises(ValueError, match="^Upsample2d: bed of nails takes whole-numbered scales"):
        Upsample2d(scale_factor=1.5, mode="bed_of_nails").forward(np.zeros((1, 1, 4, 4)))
    layer = Upsample2d(scale_factor=2)
    with pytest.raises(ValueError, match=r"^Upsample2d: dy must have shape \(1, 2, 6, 8\), got \(1, 2, 6, 7\)$"):
        layer.backward(np.zeros((1, 2, 6, 7)), (1, 2, 3, 4))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "kernel_size must be a whole number >= 1"),
        ((2, 0), "stride must be a whole number >= 1"),
        ((2, 2, -1), "padding must be a whole number >= 0"),
    ],
)
def test_bad_unpool_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^MaxUnpool2d: {message}"):
        MaxUnpool2d(*arguments)


def test_bad_unpool_input():
    layer, x, indices = MaxUnpool2d(2), np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 4), np.int64)
    with pytest.raises(TypeError, match="^MaxUnpool2d: indices must be an array of whole numbers, got float64$"):
        layer.forward(x, x)
    with pytest.raises(TypeError, match="^MaxUnpool2d: indices must be an array of whole numbers, got list$"):
        layer.forward(x, [1])
    with pytest.raises(TypeError, match="^MaxUnpool2d: x must be an array of floats, got int64"):
        layer.forward(indices, indices)
    with pytest.raises(ValueError, match=r"^MaxUnpool2d: x must have at least one row and one column"):
        layer.forward(x[:, :, :0], indices[:, :, :0])
    with pytest.raises(ValueError, match=r"^MaxUnpool2d: indices must have shape \(1, 2, 3, 4\), got \(1, 2, 3, 3\)$"):
        layer.forward(x, indices[..., :3])
    for wrong in (-1, 48):
        with pytest.raises(ValueError, match=r"^MaxUnpool2d: indices must be in 0 \.\. 47 for output \(6, 8\), got"):
            layer.forward(x, np.where(np.arange(4) == 2, wrong, indices))
    layer.forward(x, indices + 47)
    wanted = r"^MaxUnpool2d: output size \(6, 6\), which must be in \(5, 7\) \.\. \(7, 9\) for input \(3, 4\), kernel"
    with pytest.raises(ValueError, match=wanted):
        layer.forward(x, indices, (6, 6))
    for size in ((5, 7), (7, 9)):
        assert layer.forward(x, indices, size)[0].shape == (1, 2, *size)
    for size in ((4, 8), (8, 8), (6, 10)):
        with pytest.raises(ValueError, match="^MaxUnpool2d: output size .* must be in"):
            layer.forward(x, indices, size)
    for size in ((1, 6, 8), (6.0, 8), (0, 8)):
        with pytest.raises(ValueError, match="^MaxUnpool2d: output_size must be a whole number"):
            layer.forward(x, indices, size)
    with pytest.raises(ValueError, match=r"^MaxUnpool2d: output size \(0, 6\) for input \(3, 4\), kernel"):
        MaxUnpool2d(2, (1, 2), (2, 1)).forward(x, indices)
    with pytest.raises(ValueError, match=r"^MaxUnpool2d: output size \(6, 0\) for input \(3, 4\), kernel"):
        MaxUnpool2d((2, 3), (2, 1), (0, 3)).forward(x, indices)
    y, cache = layer.forward(x, indices)
    with pytest.raises(ValueError, match=r"^MaxUnpool2d: dy must have shape \(1, 2, 6, 8\), got \(1, 2, 6, 7\)$"):
        layer.backward(y[..., :7], cache)
