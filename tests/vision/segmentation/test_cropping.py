"""Parts of maps, and their transposes."""

import numpy as np
import pytest

from tests.vision.segmentation.systems import normal
from vision.segmentation.cropping import centre, cut_to, uncut, uncut_to


def test_centre():
    x = np.arange(30).reshape(1, 5, 6)
    np.testing.assert_array_equal(centre(x, (2, 3)), x[:, 1:3, 1:4])
    assert centre(x, (5, 6)).shape == x.shape and np.shares_memory(centre(x, (1, 1)), x)


def test_uncut_is_the_transpose_of_centre():
    """sum(centre(x) * dy) = sum(x * uncut(dy)) for all x and dy."""
    x, dy = normal(2, 3, 5, 6), normal(2, 3, 2, 3, seed=2)
    assert (centre(x, (2, 3)) * dy).sum() == pytest.approx((x * uncut(dy, x.shape)).sum(), rel=1e-12)
    assert uncut(x, x.shape) is x


def test_uncut_to_is_the_transpose_of_cut_to():
    x, dy = normal(2, 3, 5, 6), normal(2, 3, 2, 3, seed=2)
    np.testing.assert_array_equal(cut_to(x, (2, 3), 1), x[:, :, 1:3, 1:4])
    assert (cut_to(x, (2, 3), 2) * dy).sum() == pytest.approx((x * uncut_to(dy, x.shape, 2)).sum(), rel=1e-12)
    assert uncut_to(x, x.shape) is x


def test_a_part_beyond_the_end():
    with pytest.raises(ValueError, match=r"cut_to: \(2, 2\) from \(1, 1\) on cannot be cut out of \(1, 1, 2, 2\)"):
        cut_to(normal(1, 1, 2, 2), (2, 2), 1)
    with pytest.raises(
        ValueError, match=r"centre: \(4, 12\) cannot be cut out of \(1, 2, 9\): give labels in the size"
    ):
        centre(normal(1, 2, 9), (4, 12))
