"""RoIAlign against a loop over regions, bins and samples; worked examples of its borders; what it refuses."""

import itertools
import math

import numpy as np
import pytest

import nn
from nn.cpu import roi_matrices
from nn.layers.grid_sample import GridSample
from nn.layers.roi_align import Regions, RoIAlign, bins

pytestmark = pytest.mark.usefixtures("both_versions")
OPTIONS = list(itertools.product((-1, 0, 1, 2, 3), (False, True), ("average", "max")))


def corner_weights(shape, row, column):
    """{cell: weight} of a sample, by torchvision's rules for the border."""
    h, w = shape
    if row < -1 or row > h or column < -1 or column > w:
        return {}
    row, column = max(row, 0), max(column, 0)
    top, left = int(row), int(column)
    bottom, right = top + 1, left + 1
    if top >= h - 1:
        top = bottom = h - 1
        row = float(top)
    if left >= w - 1:
        left = right = w - 1
        column = float(left)
    found = {}
    for i, along in ((top, 1 - (row - top)), (bottom, row - top)):
        for j, across in ((left, 1 - (column - left)), (right, column - left)):
            found[i, j] = found.get((i, j), 0) + along * across
    return found


def naive(x, boxes, image_index, dy, count, scale, sampling_ratio, aligned, reduction):
    """y and dx, one sample at a time."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for k, n in enumerate(image_index):
        x1, y1, x2, y2 = boxes[k] * scale - 0.5 * aligned
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = max(height, 1), max(width, 1)
        size = height / count[0], width / count[1]
        across, down = (sampling_ratio if sampling_ratio > 0 else max(0, math.ceil(s)) for s in size[::-1])
        for c, i, j in np.ndindex(x.shape[1], *count):
            samples = []
            for u, v in itertools.product(range(down), range(across)):
                row = y1 + i * size[0] + (u + 0.5) * size[0] / down
                column = x1 + j * size[1] + (v + 0.5) * size[1] / across
                weight = corner_weights(x.shape[2:], row, column)
                samples.append((sum(w * x[n, c][at] for at, w in weight.items()), weight))
            if reduction == "max" and samples:
                samples = [max(samples, key=lambda s: s[0])]  # the first of equal ones
            for value, weight in samples:
                y[k, c, i, j] += value / len(samples)
                for at, w in weight.items():
                    dx[n, c][at] += dy[k, c, i, j] * w / len(samples)
    return y, dx


def regions(seed, k, height, width, scale):
    """Boxes of all kinds: inside, across each border, wholly outside, as large as the image, tiny, inverted."""
    rng = np.random.default_rng([80, seed])
    low = rng.uniform(-0.3, 1, (k, 2)) * (width, height)
    boxes = np.concatenate([low, low + rng.uniform(0, 1, (k, 2)) * (width, height)], axis=1)
    special = [
        [0, 0, width, height],
        [-1, -1, width - 1, height - 1],
        [-7.3, -6.1, width + 5.2, height + 4.4],
        [2.2, 1.3, 2.2, 1.3],
        [1.6, 1.6, 1.9, 1.9],
        [width + 3, 0, width + 6, 2],
        [0, -9, 2, -6],
        [3, 3, 1, 1],
        [3, 1, 1, 4],
    ]
    return np.concatenate([boxes, special]) / scale, rng


@pytest.mark.parametrize("sampling_ratio, aligned, reduction", OPTIONS)
@pytest.mark.parametrize("size, scale, channels", [((2, 3), 1.0, 2), ((3, 1), 0.25, 5)])
def test_equals_the_loop_over_samples(size, scale, channels, sampling_ratio, aligned, reduction, monkeypatch):
    monkeypatch.setattr(roi_matrices, "CHANNELS_TOGETHER", 2)
    n, h, w = 2, 5, 6
    boxes, rng = regions(channels, 6, h, w, scale)
    x, image_index = rng.normal(size=(n, channels, h, w)), rng.integers(0, n, len(boxes))
    dy = rng.normal(size=(len(boxes), channels, *size))
    wanted_y, wanted_dx = naive(x, boxes, image_index, dy, size, scale, sampling_ratio, aligned, reduction)
    layer = RoIAlign(size, scale, sampling_ratio, aligned, reduction)
    for given in (x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)):
        y, cache = layer.forward(given, boxes, image_index)
        dx, dboxes, dindex = layer.backward(dy, cache)
        np.testing.assert_allclose(y, wanted_y, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(dx, wanted_dx, rtol=1e-12, atol=1e-13)
        assert dboxes is None and dindex is None


@pytest.mark.parametrize("sampling_ratio", [-1, 1, 2])
def test_a_ramp_gives_its_values_in_the_middle_of_the_bins(sampling_ratio):
    """Bilinear interpolation and averages of it are exact for a linear image, here the coordinates themselves."""
    x = np.stack(np.mgrid[:12, :15])[None].astype(float)
    box = np.array([[8.4, 5.0, 43.2, 33.8]])  # rows 1.25 .. 8.45, columns 2.1 .. 10.8 at stride 4
    for aligned in (False, True):
        y = RoIAlign((3, 2), 0.25, sampling_ratio, aligned)(x, box, np.array([0])) + 0.5 * aligned
        rows, columns = 1.25 + 7.2 * np.array([1, 3, 5]) / 6, 2.1 + 8.7 * np.array([1, 3]) / 4
        np.testing.assert_allclose(y[0, 0], np.repeat(rows[:, None], 2, axis=1), rtol=1e-12)
        np.testing.assert_allclose(y[0, 1], np.repeat(columns[None], 3, axis=0), rtol=1e-12)


X = np.array([[[[1.0, 2], [5, 8]]]])


def one(layer, *box):
    return layer(X, np.array([box], float), np.array([0])).ravel().tolist()


def test_borders_by_hand():
    """One sample in the middle of a region of 1 x 1: the square [-1, 2] x [-1, 2] counts, clipped to the centres."""
    layer = RoIAlign(1, 1.0, sampling_ratio=1)
    assert one(layer, -0.5, -0.5, 0.5, 0.5) == [1]  # at (0, 0)
    assert one(layer, 0, 0, 1, 1) == [4]  # at (1/2, 1/2)
    assert one(layer, -1.5, -1.5, -0.5, -0.5) == [1]  # at (-1, -1): still counts
    assert one(layer, -1.5, -1.75, -0.5, -0.75) == [0]  # a row above
    assert one(layer, 1.5, 1.5, 2.5, 2.5) == [8]  # at (2, 2): still counts
    assert one(layer, 1.75, 1.5, 2.75, 2.5) == [0]  # right of it
    assert one(layer, 0, 1.5, 1, 2.5) == [6.5]  # between the cells of the last row


def test_aligned_takes_off_half_a_cell_and_keeps_small_regions_small():
    assert one(RoIAlign(1, 1.0, 1, aligned=True), 0, 0, 1, 1) == [1]
    assert one(RoIAlign(1, 1.0, 1, aligned=True), 0.5, 1, 1.5, 1) == [4]  # at row 1/2, column 1/2, of no height
    assert one(RoIAlign(1, 1.0, 1), 0.5, 0, 0.5, 0) == [5]  # as if 1 x 1: at row 1/2, column 1


def test_average_and_maximum_by_hand():
    """Samples at 1/4 and 3/4 of the cells' distance."""
    x = lambda r, c: 1 * (1 - r) * (1 - c) + 2 * (1 - r) * c + 5 * r * (1 - c) + 8 * r * c  # noqa: E731
    values = [x(r, c) for r in (0.25, 0.75) for c in (0.25, 0.75)]
    assert one(RoIAlign(1, 1.0, 2), 0, 0, 1, 1) == [pytest.approx(sum(values) / 4)]
    assert one(RoIAlign(1, 1.0, 2, reduction="max"), 0, 0, 1, 1) == [values[3]]
    assert one(RoIAlign(2, 1.0, 1), 0, 0, 1, 1) == values


def test_the_number_of_samples_is_at_least_one_a_cell():
    regions = Regions(np.array([[0, 0, 9.1, 4], [0, 0, 9, 4.1], [5, 5, 5, 5]]), None, (2, 3), 1.0, -1, False, "max")
    assert [axis.samples.tolist() for axis in bins(regions)] == [[2, 3, 1], [4, 3, 1]]
    regions = regions._replace(boxes=np.array([[5.0, 5, 5, 2]]), aligned=True)
    assert [axis.samples.tolist() for axis in bins(regions)] == [[0], [0]]


@pytest.mark.parametrize("box", [[1.0, 1, 1, 3], [1.0, 1, 3, 1]])
def test_no_samples_give_0_and_no_gradient(box):
    for reduction in ("average", "max"):
        layer = RoIAlign(2, 1.0, aligned=True, reduction=reduction)
        y, cache = layer.forward(np.full((1, 3, 4, 4), -5.0), np.array([box]), np.array([0]))
        assert not y.any() and not layer.backward(np.ones(y.shape), cache)[0].any()


def test_a_sample_outside_is_a_0_for_the_maximum_too():
    layer, x = RoIAlign(1, 1.0, 2, reduction="max"), np.full((1, 1, 3, 3), -5.0)
    y, cache = layer.forward(x, np.array([[-4.0, 0, 0, 2]]), np.array([0]))  # columns -3 and -1
    assert y.item() == 0 and not layer.backward(np.ones(y.shape), cache)[0].any()


def test_equals_a_grid_of_samples():
    """With one sample a bin inside the image, it is GridSample at the middles of the bins."""
    rng = np.random.default_rng(81)
    x, box = rng.normal(size=(1, 3, 7, 9)), np.array([[1.2, 0.7, 7.4, 5.9]])
    row, column = 0.7 + 5.2 * (np.arange(4) + 0.5) / 4, 1.2 + 6.2 * (np.arange(3) + 0.5) / 3
    grid = np.stack(np.broadcast_arrays(column / 4 - 1, row[:, None] / 3 - 1), axis=-1)[None]
    y = RoIAlign((4, 3), 1.0, 1)(x, box, np.array([0]))
    np.testing.assert_allclose(y, GridSample(align_corners=True)(x, grid), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reduction", ["average", "max"])
def test_zero_regions(reduction):
    x = np.ones((2, 3, 4, 5), np.float32)
    layer = RoIAlign((3, 2), 1.0, reduction=reduction)
    y, cache = layer.forward(x, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    dx = layer.backward(y, cache)[0]
    assert y.shape == (0, 3, 3, 2) and dx.shape == x.shape and dx.dtype == np.float32 and not dx.any()
    empty = layer(x[:0], np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert empty.shape == (0, 3, 3, 2)


def test_huge_regions_take_no_longer_than_the_map():
    """1,000 x 1,000 samples a bin, of which but the few on the map are looked at; the textbook looks at all."""
    reach = 50.0 if nn.config.plain else 1000.0
    box = np.array([[-reach, -reach, reach, reach]])
    y = RoIAlign(2, 1.0)(np.full((1, 1, 3, 3), 7.0), box, np.array([0]))
    # rows and columns -0.5 in the first bin, 0.5, 1.5 and 2.5 in the second
    np.testing.assert_allclose(y[0, 0] * reach**2 / 7, [[1, 3], [3, 9]], rtol=1e-9)


def test_nan_wins_the_maximum():
    x = np.array([[[[1.0, np.nan], [3, 2]]]])
    layer = RoIAlign(1, 1.0, 2, reduction="max")
    assert np.isnan(layer(x, np.array([[-0.5, -0.5, 1.5, 1.5]]), np.array([0]))).all()


@pytest.mark.parametrize("reduction", ["average", "max"])
@pytest.mark.parametrize("box_type", [np.float32, np.float64])
def test_dtype(box_type, reduction):
    x, boxes = np.random.default_rng(82).normal(size=(1, 7, 5, 6)).astype(np.float32), np.array([[0.3, 0, 3, 3.7]])
    layer = RoIAlign(2, 1.0, reduction=reduction)
    y, cache = layer.forward(x, boxes.astype(box_type), np.array([0], np.int32))
    assert y.dtype == np.float32 and layer.backward(y, cache)[0].dtype == np.float32
    np.testing.assert_allclose(y, layer(x.astype(float), boxes, np.array([0])), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_image_index_of_any_integer_type(dtype):
    x = np.repeat(np.arange(3.0), 400).reshape(3, 1, 400, 1)  # 2 * 400 is too large for a byte
    assert RoIAlign(1, 1.0)(x, np.zeros((1, 4)), np.array([2], dtype)).item() == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "output_size must be a whole number >= 1 or a pair of them, got 0"),
        ((2, 0.0), "spatial_scale must be > 0, got 0.0"),
        ((2, float("nan")), "spatial_scale must be > 0, got nan"),
        ((2, 1.0, -2), "sampling_ratio must be a whole number >= -1, got -2"),
        ((2, 1.0, 1.5), "sampling_ratio must be a whole number >= -1, got 1.5"),
        ((2, 1.0, True), "sampling_ratio must be a whole number >= -1, got True"),
        ((2, 1.0, 2, 1), "aligned must be True or False, got 1"),
        ((2, 1.0, 2, True, "mean"), "reduction must be 'average' or 'max', got 'mean'"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^RoIAlign: {message}$"):
        RoIAlign(*arguments)


@pytest.mark.parametrize(
    "boxes, image_index, message",
    [
        (np.zeros((2, 5)), np.array([0, 0]), r"boxes must have shape \(K, 4\), got \(2, 5\)"),
        (np.zeros((2, 4)), np.array([0]), r"image_index must be whole numbers of shape \(2,\), got \(1,\) int64"),
        (np.zeros((1, 4)), np.array([0.0]), r"image_index must be whole numbers of shape \(1,\), got \(1,\) float64"),
        (np.zeros((1, 4)), [0], r"image_index must be whole numbers of shape \(1,\), got list"),
        (np.zeros((2, 4)), np.array([0, 3]), r"image_index must be in 0 .. 2, got 3"),
        (np.zeros((2, 4)), np.array([0, -1]), r"image_index must be in 0 .. 2, got -1"),
        (np.array([[0, 0, np.nan, 1]]), np.array([0]), "boxes must be finite, got NaN or infinity"),
        (np.array([[0, -np.inf, 1, 1]]), np.array([0]), "boxes must be finite, got NaN or infinity"),
    ],
)
def test_bad_regions(boxes, image_index, message):
    with pytest.raises(ValueError, match=f"^RoIAlign: {message}$"):
        RoIAlign(2, 1.0).forward(np.zeros((3, 1, 4, 4)), boxes, image_index)


def test_bad_x_and_dy():
    with pytest.raises(
        ValueError, match=r"^RoIAlign: x must have at least one row and one column, got \(1, 3, 4, 0\)$"
    ):
        RoIAlign(2).forward(np.zeros((1, 3, 4, 0)), np.zeros((1, 4)), np.array([0]))
    y, cache = RoIAlign(2, 1.0).forward(np.zeros((1, 3, 4, 4)), np.zeros((5, 4)), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"^RoIAlign: dy must have shape \(5, 3, 2, 2\), got \(5, 3, 2, 1\)$"):
        RoIAlign(2, 1.0).backward(y[..., :1], cache)
