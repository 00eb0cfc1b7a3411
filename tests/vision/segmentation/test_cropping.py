"""Parts of maps, and their transposes."""

import numpy as np
import pytest

from nn import Conv2d
from nn.gradcheck import check_contract, check_layer
from tests.vision.segmentation.systems import normal
from vision.segmentation.cropping import SameConv2d, centre, cut_to, uncut, uncut_to


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


@pytest.mark.parametrize("kernel_size", [3, 4])
def test_convolutions_that_keep_the_size(kernel_size):
    layer = SameConv2d(2, 3, kernel_size, rng=np.random.default_rng(0)).astype(np.float64)
    x, before = normal(2, 2, 5, 7), kernel_size // 2
    after = kernel_size - 1 - before
    plain = Conv2d(2, 3, kernel_size).astype(np.float64)
    plain.load_state_dict(layer.state_dict())
    padded = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    np.testing.assert_allclose(layer(x), plain(padded), rtol=1e-12)
    check_layer(layer, x)
    check_contract(layer, (x,), (x[:1, :, :3],))
