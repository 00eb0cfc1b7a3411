"""RoIPool in both roundings against a loop over regions and bins; the worked example of a 5 x 4 region in 2 x 2."""

import math

import numpy as np
import pytest

from nn import RoIPool

pytestmark = pytest.mark.usefixtures("both_versions")
ROUNDINGS = ["caffe", "split"]


def bins(low, high, scale, count, size, rounding):
    """[start, stop) of each bin along one axis, from the definition in plain floats."""
    start, end = math.floor(low * scale + 0.5), math.floor(high * scale + 0.5)
    length = max(end - start + 1, 1)
    for i in range(count):
        first = math.floor(i * length / count)
        stop = math.ceil((i + 1) * length / count) if rounding == "caffe" else math.floor((i + 1) * length / count)
        stop = max(stop, first + 1)
        yield [v for v in range(start + first, start + stop) if 0 <= v < size]


def naive(x, boxes, image_index, output_size, scale, rounding, dy):
    """y and dx, one bin at a time; the first of equal values in reading order wins."""
    y, dx = np.zeros((len(boxes), x.shape[1], *output_size)), np.zeros(x.shape)
    for k, ((x1, y1, x2, y2), n) in enumerate(zip(boxes.tolist(), image_index.tolist())):
        for i, rows in enumerate(bins(y1, y2, scale, output_size[0], x.shape[2], rounding)):
            for j, cols in enumerate(bins(x1, x2, scale, output_size[1], x.shape[3], rounding)):
                for c in range(x.shape[1] if rows and cols else 0):
                    row, col = max(((r, s) for r in rows for s in cols), key=lambda at: x[n, c, at[0], at[1]])
                    y[k, c, i, j] = x[n, c, row, col]
                    dx[n, c, row, col] += dy[k, c, i, j]
    return y, dx


def regions(seed, k, height, width, scale):
    """Boxes of all kinds: inside, across each border, wholly outside, as large as the image, tiny, inverted."""
    rng = np.random.default_rng([100, seed])
    low = rng.uniform(-0.3, 1, (k, 2)) * (width, height)
    boxes = np.concatenate([low, low + rng.uniform(0, 1, (k, 2)) * (width, height)], axis=1)
    special = [
        [0, 0, width - 1, height - 1],
        [-5, -5, width + 5, height + 5],
        [2.2, 1.3, 2.2, 1.3],
        [1.6, 1.6, 1.9, 1.9],
        [width + 3, 0, width + 6, 2],
        [0, -9, 2, -6],
        [3, 3, 1, 1],
        [0.5, 0.5, 2.5, 1.5],  # rounding to even would differ
    ]
    return np.concatenate([boxes, special]) / scale, rng


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("output_size, scale", [((2, 2), 1.0), ((3, 2), 0.25), ((7, 7), 1 / 16), ((1, 4), 2.0)])
def test_equals_the_loop_over_regions(output_size, scale, seed, rounding):
    n, c, h, w = 3, 2, 9, 12
    boxes, rng = regions(seed, 15, h, w, scale)
    image_index = rng.integers(0, n, len(boxes))
    x = rng.integers(-9, 9, (n, c, h, w)).astype(float) if seed % 2 else rng.normal(size=(n, c, h, w))  # ties, or none
    dy = rng.normal(size=(len(boxes), c, *output_size))
    wanted_y, wanted_dx = naive(x, boxes, image_index, output_size, scale, rounding, dy)
    layer = RoIPool(output_size, scale, rounding)
    for given in (x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)):
        y, cache = layer.forward(given, boxes, image_index)
        dx, dboxes, dindex = layer.backward(dy, cache)
        assert np.array_equal(y, wanted_y) and dboxes is None and dindex is None
        np.testing.assert_allclose(dx, wanted_dx, rtol=1e-12, atol=1e-13)


X = np.array([[3, 0, 8, 1], [2, 5, 4, 0], [9, 1, 7, 6], [1, 2, 0, 3], [0, 4, 5, 2]], float)  # 5 rows, 4 columns
EXAMPLE = {  # bins of the rows, y, dx for dy = [[1, 10], [100, 1000]]; columns are [0, 2) and [2, 4) in both
    "caffe": (
        [(0, 3), (2, 5)],  # row 2 is in both
        [[9, 8], [9, 7]],
        [[0, 0, 10, 0], [0, 0, 0, 0], [101, 0, 1000, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ),
    "split": (
        [(0, 2), (2, 5)],
        [[5, 8], [9, 7]],
        [[0, 0, 10, 0], [0, 1, 0, 0], [100, 0, 1000, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ),
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_worked_example_of_a_5_x_4_region_in_2_x_2(rounding):
    rows, wanted_y, wanted_dx = EXAMPLE[rounding]
    layer, box = RoIPool(2, 1 / 16, rounding), np.array([[0.0, 0, 48, 64]])  # in pixels of stride 16: cells 0..3, 0..4
    assert list(bins(0, 64, 1 / 16, 2, 5, rounding)) == [list(range(*edges)) for edges in rows]
    assert list(bins(0, 48, 1 / 16, 2, 4, rounding)) == [[0, 1], [2, 3]]
    y, cache = layer.forward(X[None, None], box, np.array([0]))
    assert y.tolist() == [[wanted_y]]
    assert layer.backward(np.array([[[[1.0, 10], [100, 1000]]]]), cache)[0].tolist() == [[wanted_dx]]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_worked_example_in_the_middle_of_a_larger_image(rounding):
    """The same region at rows 2..6 and columns 3..6 of the second image: bins are counted from its own corner."""
    x = np.full((2, 1, 9, 8), 100.0)
    x[1, 0, 2:7, 3:7] = X
    y, cache = RoIPool(2, 0.5, rounding).forward(x, np.array([[6.0, 4, 12, 12]]), np.array([1]))
    assert y.tolist() == [[EXAMPLE[rounding][1]]]
    dx = RoIPool(2, 0.5, rounding).backward(np.array([[[[1.0, 10], [100, 1000]]]]), cache)[0]
    assert dx[1, 0, 2:7, 3:7].tolist() == EXAMPLE[rounding][2] and dx.sum() == 1111


def test_corners_are_rounded_half_up():
    layer, x = RoIPool(1, 1.0), np.arange(6.0).reshape(1, 1, 1, 6)
    for right, wanted in ((0.49, 0), (0.5, 1), (1.5, 2), (2.5, 3), (2.51, 3)):
        assert layer(x, np.array([[0, 0, right, 0]]), np.array([0])).item() == wanted


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_bin_outside_the_image_gives_0_and_no_gradient(rounding):
    x = np.full((1, 1, 4, 4), -5.0)
    y, cache = RoIPool(2, 1.0, rounding).forward(x, np.array([[2.0, 2, 9, 5]]), np.array([0]))
    assert y.tolist() == [[[[-5, 0], [0, 0]]]]
    assert RoIPool(2, 1.0, rounding).backward(np.ones((1, 1, 2, 2)), cache)[0].sum() == 1


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_zero_regions(rounding):
    x = np.ones((2, 3, 4, 5), np.float32)
    layer = RoIPool((3, 2), 1.0, rounding)
    y, cache = layer.forward(x, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    dx = layer.backward(y, cache)[0]
    assert y.shape == (0, 3, 3, 2) and dx.shape == x.shape and dx.dtype == np.float32 and not dx.any()


@pytest.mark.parametrize("place", range(4))
def test_nan_wins(place):
    x = np.array([1.0, 4, 3, 2])
    x[place] = np.nan
    y, cache = RoIPool(1, 1.0).forward(x.reshape(1, 1, 2, 2), np.array([[0.0, 0, 1, 1]]), np.array([0]))
    assert np.isnan(y).all() and RoIPool(1, 1.0).backward(np.ones((1, 1, 1, 1)), cache)[0].ravel()[place] == 1


def test_minus_infinity_is_a_value():
    x = np.full((1, 1, 2, 2), -np.inf)
    y, cache = RoIPool(1, 1.0).forward(x, np.array([[0.0, 0, 1, 1]]), np.array([0]))
    assert y.item() == -np.inf and RoIPool(1, 1.0).backward(np.ones((1, 1, 1, 1)), cache)[0][0, 0, 0, 0] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_image_index_of_any_integer_type(dtype):
    x = np.arange(3 * 150.0).reshape(3, 1, 150, 1)  # 2 * 150 is too large for a byte
    assert RoIPool(1, 1.0)(x, np.zeros((1, 4)), np.array([2], dtype)).item() == 300


def test_dtype():
    x, boxes = np.random.default_rng(101).normal(size=(1, 2, 5, 6)).astype(np.float32), np.array([[0.0, 0, 3, 3]])
    for box_type in (np.float32, np.float64):
        y, cache = RoIPool(2, 1.0).forward(x, boxes.astype(box_type), np.array([0]))
        assert y.dtype == np.float32 and RoIPool(2, 1.0).backward(y, cache)[0].dtype == np.float32


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 1.0), "output_size must be a whole number >= 1 or a pair of them, got 0"),
        ((2, 0.0), "spatial_scale must be > 0, got 0.0"),
        ((2, float("nan")), "spatial_scale must be > 0, got nan"),
        ((2, 1.0, "align"), "rounding must be 'caffe' or 'split', got 'align'"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^RoIPool: {message}$"):
        RoIPool(*arguments)


@pytest.mark.parametrize(
    "boxes, image_index, message",
    [
        (np.zeros((2, 5)), np.array([0, 0]), r"boxes must have shape \(K, 4\), got \(2, 5\)"),
        (np.zeros((2, 4)), np.array([0]), r"image_index must be whole numbers of shape \(2,\), got \(1,\) int64"),
        (np.zeros((1, 4)), np.array([0.0]), r"image_index must be whole numbers of shape \(1,\), got \(1,\) float64"),
        (np.zeros((2, 4)), np.array([0, 3]), r"image_index must be in 0 .. 2, got 3"),
        (np.zeros((2, 4)), np.array([0, -1]), r"image_index must be in 0 .. 2, got -1"),
        (np.array([[0, 0, np.nan, 1]]), np.array([0]), "boxes must be finite, got NaN or infinity"),
        (np.array([[0, -np.inf, 1, 1]]), np.array([0]), "boxes must be finite, got NaN or infinity"),
    ],
)
def test_bad_regions(boxes, image_index, message):
    with pytest.raises(ValueError, match=f"^RoIPool: {message}$"):
        RoIPool(2, 1.0).forward(np.zeros((3, 1, 4, 4)), boxes, image_index)


def test_bad_dy():
    y, cache = RoIPool(2, 1.0).forward(np.zeros((1, 3, 4, 4)), np.zeros((5, 4)), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"^RoIPool: dy must have shape \(5, 3, 2, 2\), got \(5, 3, 2, 1\)$"):
        RoIPool(2, 1.0).backward(y[..., :1], cache)
