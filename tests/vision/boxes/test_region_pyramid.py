"""The pyramid over regions: bins, gradients, and the pyramid of a whole map."""

import numpy as np
import pytest

from nn import SpatialPyramidPool
from nn.gradcheck import check_layer
from vision.boxes.region_pyramid import RegionPyramid, nearest_scale

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("levels, bins", [((6, 3, 2, 1), 50), ((4, 2, 1), 21), ((7,), 49)])
def test_bins(levels, bins):
    """256 channels give 12,800 values for the paper's pyramid, 5,376 for the lecture's 21 bins."""
    pyramid = RegionPyramid(levels, 1.0)
    y = pyramid(np.zeros((1, 256, 9, 9), np.float32), np.array([[0.0, 0, 8, 8]]), np.zeros(1, np.int64))
    assert pyramid.bins == bins and y.shape == (1, 256 * bins)


def test_gradients():
    boxes = np.array([[0.0, 0, 20, 30], [9, 4, 23, 17], [5, 5, 6, 6]])
    x, image_index = RNG.standard_normal((2, 2, 5, 6)), np.array([0, 1, 1])
    check_layer(RegionPyramid((3, 2, 1), 0.25), x, boxes, image_index, constants=(1,))


def test_a_region_of_the_whole_map_is_the_pyramid_of_an_image():
    x = RNG.standard_normal((1, 3, 7, 10))
    y = RegionPyramid((4, 2, 1), 0.5)(x, np.array([[0.0, 0, 18, 12]]), np.zeros(1, np.int64))
    np.testing.assert_array_equal(y, SpatialPyramidPool((4, 2, 1))(x).reshape(1, -1))


def test_nearest_scale_by_hand():
    """Of 100 x 50 pixels, 224 x 224 are nearest at 3 times their sides: 45,000, not 20,000 or 80,000, of 50,176."""
    boxes = np.array([[0, 0, 100, 50], [0, 0, 500, 500], [0, 0, 9, 9]], np.float32)
    assert nearest_scale(boxes, np.array([2.0, 3, 4]), 224).tolist() == [1, 0, 2]


def test_no_levels():
    with pytest.raises(ValueError, match="RegionPyramid: levels must be"):
        RegionPyramid((), 1.0)
