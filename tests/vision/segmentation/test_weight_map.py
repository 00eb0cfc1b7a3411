"""The weights of eq. 2, against loops over pixels."""

import math

import numpy as np
import pytest

from vision.segmentation import weight_map
from vision.segmentation.weight_map import distance


def by_loops(cells, w0, sigma):
    """Eq. 2 as it is written, w_c = 1."""
    weights = np.ones(cells.shape)
    for r, c in np.ndindex(cells.shape):
        if cells[r, c] == 0:
            nearest = sorted(
                min(math.hypot(r - y, c - x) for y, x in zip(*np.nonzero(cells == k))) for k in set(cells[cells > 0])
            )
            if len(nearest) > 1:
                weights[r, c] += w0 * math.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * sigma**2))
    return weights


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_random_cells(count):
    rng = np.random.default_rng(count)
    cells = np.zeros((11, 17), int)
    for k in range(1, count + 1):
        r, c = rng.integers(0, 8), rng.integers(0, 13)
        cells[r : r + 3, c : c + 4] = 7 * k  # indices need not be 1, 2, 3
    got = weight_map(cells, w0=8.0, sigma=2.5)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, by_loops(cells, 8.0, 2.5), rtol=1e-6)


def test_cells_beyond_reach_of_each_other():
    """Only the neighbourhood of a cell is computed; further away the weight is 1."""
    cells = np.zeros((20, 60), int)
    cells[3:6, 4:9], cells[8:10, 12:14], cells[15:20, 50:60] = 1, 2, 3
    np.testing.assert_allclose(weight_map(cells, 10.0, 1.5), by_loops(cells, 10.0, 1.5), rtol=1e-6)


def test_a_gap_of_one_pixel_between_two_cells():
    """d1 = d2 = 1 there: 10 exp(-4 / 50) more than elsewhere."""
    cells = np.ones((4, 20), int)
    cells[:, 10:] = 2
    cells[:, 9] = 0
    weights = weight_map(cells)
    np.testing.assert_allclose(weights[:, 9], 1 + 10 * math.exp(-4 / 50), rtol=1e-6)
    np.testing.assert_allclose(weights[:, :9], 1)
    np.testing.assert_array_equal(weight_map(cells, w0=0), 1)


def test_only_ground_and_only_cells():
    np.testing.assert_array_equal(weight_map(np.zeros((3, 4), int)), 1)
    np.testing.assert_array_equal(weight_map(np.ones((3, 4), int)), 1)


def test_distance():
    mask = np.random.default_rng(0).random((9, 13)) < 0.05
    mask[2, 3] = True
    inside = np.argwhere(mask)
    wanted = [[min(math.hypot(r - y, c - x) for y, x in inside) for c in range(13)] for r in range(9)]
    np.testing.assert_allclose(distance(mask), wanted, rtol=1e-12)
    assert np.isinf(distance(np.zeros((2, 2), bool))).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((2, 3)),), r"weight_map: cells must be whole numbers of shape \(H, W\), got float64 \(2, 3\)"),
        ((np.zeros((1, 2, 3), int),), r"got int64 \(1, 2, 3\)"),
        ((np.array([[0, -1, 3]]),), "weight_map: cells must have indices from 0, the background, got -1"),
        ((np.zeros((2, 3), int), -1.0), "weight_map: need w0 >= 0 and sigma > 0, got -1.0 and 5.0"),
        ((np.zeros((2, 3), int), 10.0, 0.0), "got 10.0 and 0.0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        weight_map(*arguments)
