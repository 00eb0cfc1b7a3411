"""RoIWarp against a loop over points, with the gradients of map and boxes; worked examples; what it refuses."""

import numpy as np
import pytest

from nn.layers.max_pool import MaxPool2d
from nn.layers.roi_align import RoIAlign
from nn.layers.roi_warp import RoIWarp
from tests.nn.naive_bilinear import weights

pytestmark = pytest.mark.usefixtures("both_versions")


def naive(x, boxes, image_index, dy, scale, shift):
    """y, dx and dboxes, one point at a time."""
    y, dx, dboxes = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(boxes.shape)
    for k, i, j in np.ndindex(len(boxes), *dy.shape[2:]):
        x1, y1, x2, y2 = boxes[k]
        down, across = (i + 0.5) / dy.shape[2], (j + 0.5) / dy.shape[3]
        row, column = scale * (y1 + down * (y2 - y1)) - shift, scale * (x1 + across * (x2 - x1)) - shift
        weight, by_row, by_column = weights(x.shape[2:], row, column)
        for c, n in ((c, image_index[k]) for c in range(x.shape[1])):
            y[k, c, i, j] = (weight * x[n, c]).sum()
            dx[n, c] += weight * dy[k, c, i, j]
            drow, dcolumn = ((slopes * x[n, c]).sum() * dy[k, c, i, j] * scale for slopes in (by_row, by_column))
            dboxes[k] += dcolumn * (1 - across), drow * (1 - down), dcolumn * across, drow * down
    return y, dx, dboxes


@pytest.mark.parametrize("channels", [2, 6])
@pytest.mark.parametrize("bins, scale, aligned", [((2, 3), 1.0, False), ((4, 1), 0.25, True), ((3, 3), 2.0, False)])
def test_equals_the_loop_over_points(bins, scale, aligned, channels):
    rng = np.random.default_rng([90, channels, *bins])
    boxes = np.concatenate([rng.uniform(-2, 6, (9, 4)), [[1, 2, 1, 2], [30, 1, 33, 4], [0, 0, 7, 5]]]) / scale
    x, image_index = rng.normal(size=(3, channels, 5, 7)), rng.integers(0, 3, len(boxes))
    dy = rng.normal(size=(len(boxes), channels, *bins))
    layer = RoIWarp(bins, scale, aligned)
    y, cache = layer.forward(x, boxes, image_index)
    results = (y, *layer.backward(dy, cache))
    assert len(results) == 4 and results[3] is None
    for result, wanted in zip(results, naive(x, boxes, image_index, dy, scale, 0.5 * aligned)):
        np.testing.assert_allclose(result, wanted, rtol=1e-11, atol=1e-12)


def test_by_hand():
    x = np.array([[[[0.0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23]]]])
    layer, box = RoIWarp((1, 2), 0.5), np.array([[1.0, 0, 5, 2]])  # row 1/2, columns 1 and 2
    y, cache = layer.forward(x, box, np.array([0]))
    assert y.tolist() == [[[[6, 7]]]]
    dx, dboxes, _ = layer.backward(np.array([[[[1.0, 100]]]]), cache)
    assert dx[0, 0].tolist() == [[0, 0.5, 50, 0], [0, 0.5, 50, 0], [0, 0, 0, 0]]
    # 10 a row and 1 a column, half a cell a pixel; the points are 1/4 and 3/4 of the way from x1 to x2
    assert dboxes.tolist() == [[0.5 * (0.75 + 25), 5 * 50.5, 0.5 * (0.25 + 75), 5 * 50.5]]


def test_inside_the_map_it_is_roi_align_with_one_sample_a_bin():
    rng = np.random.default_rng(91)
    x, boxes = rng.normal(size=(2, 3, 8, 9)), np.array([[8.0, 5, 28, 27], [1, 2, 33, 30]])
    for aligned in (False, True):
        y = RoIWarp((3, 4), 0.25, aligned)(x, boxes, np.array([1, 0]))
        np.testing.assert_allclose(y, RoIAlign((3, 4), 0.25, 1, aligned)(x, boxes, np.array([1, 0])), rtol=1e-12)


def test_a_box_finds_an_image_by_its_gradient():
    """What the gradient to the boxes is for: descent on the box alone moves it to where the wanted crop came from."""
    rows, columns = np.mgrid[:16, :16] / 3
    x = np.stack([np.sin(rows), np.cos(rows), np.sin(columns), np.cos(columns)])[None]
    layer, wanted, box = RoIWarp(4), np.array([[3.0, 4, 11, 13]]), np.array([[4.2, 3.1, 12.5, 12.2]])
    goal = layer(x, wanted, np.array([0]))
    for _ in range(300):
        y, cache = layer.forward(x, box, np.array([0]))
        box = box - 0.3 * layer.backward(y - goal, cache)[1]
    np.testing.assert_allclose(box, wanted, atol=1e-3)


def test_max_pooling_is_a_layer_of_its_own():
    x = np.random.default_rng(92).normal(size=(1, 2, 8, 8))
    warped = RoIWarp(6)(x, np.array([[1.0, 1, 7, 6]]), np.array([0]))
    assert MaxPool2d(2)(warped).shape == (1, 2, 3, 3)


@pytest.mark.parametrize("box_type", [np.float32, np.float64])
def test_dtypes_and_no_regions(box_type):
    for k in (0, 3):
        x, boxes = np.ones((2, 6, 4, 5), np.float32), np.full((k, 4), 1.3, box_type)
        y, cache = RoIWarp(2).forward(x, boxes, np.zeros(k, int))
        dx, dboxes, _ = RoIWarp(2).backward(y, cache)
        assert y.shape == (k, 6, 2, 2) and dx.shape == x.shape and dboxes.shape == boxes.shape
        assert y.dtype == dx.dtype == np.float32 and dboxes.dtype == box_type


def test_bad_input():
    for arguments, message in (
        ((0,), "output_size must be a whole number >= 1 or a pair of them, got 0"),
        ((2, -1.0), r"spatial_scale must be > 0, got -1\.0"),
        ((2, 1.0, "no"), "aligned must be True or False, got 'no'"),
    ):
        with pytest.raises(ValueError, match=f"^RoIWarp: {message}$"):
            RoIWarp(*arguments)
    x, boxes = np.zeros((2, 3, 4, 5)), np.zeros((1, 4))
    with pytest.raises(ValueError, match=r"^RoIWarp: boxes must have shape \(K, 4\), got \(4,\)$"):
        RoIWarp(2).forward(x, boxes[0], np.array([0]))
    with pytest.raises(ValueError, match=r"^RoIWarp: image_index must be in 0 .. 1, got 2$"):
        RoIWarp(2).forward(x, boxes, np.array([2]))
    with pytest.raises(ValueError, match=r"^RoIWarp: boxes must be finite, got NaN or infinity$"):
        RoIWarp(2).forward(x, boxes * np.nan, np.array([0]))
    y, cache = RoIWarp(2).forward(x, boxes, np.array([0]))
    with pytest.raises(ValueError, match=r"^RoIWarp: dy must have shape \(1, 3, 2, 2\), got \(1, 3, 2, 1\)$"):
        RoIWarp(2).backward(y[..., :1], cache)
