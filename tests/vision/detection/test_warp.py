"""Regions warped with context: by hand, against a naive loop, and out of the image."""

import numpy as np
import pytest

from vision.detection.warp import interpolation, warp_regions, with_context

# x of each pixel in the first channel, y in the second
RAMP = np.stack([*np.meshgrid(np.arange(300.0), np.arange(260.0)), np.ones((260, 300))])


def test_context_by_hand():
    """227 pixels, 16 of them context on each side: the region becomes 195. One of 195 x 195 keeps its scale, so 16
    pixels of the image are around it; one of 97.5 x 390 is enlarged to double width and shrunk to half its height, so
    8 pixels are at the left and right, 32 above and below."""
    box = 100, 100, 197.5, 490
    np.testing.assert_allclose(with_context((30, 40, 225, 235), 227, 16), (14, 24, 241, 251))
    np.testing.assert_allclose(with_context(box, 227, 16), (92, 68, 205.5, 522))
    np.testing.assert_allclose(with_context(box, 227, 16, square=True), (-78.25, 68, 375.75, 522))  # centre +- 227


def test_a_region_in_its_own_scale_is_copied():
    (y,) = warp_regions(RAMP, np.array([[30.0, 40, 225, 235]]), 227, 16)
    np.testing.assert_allclose(y, RAMP[:, 24:251, 14:241], atol=1e-9)


def test_halved_and_doubled():
    """A region of 80 x 20 in 40 x 40: pairs of columns are averaged, rows interpolated; a ramp stays a ramp."""
    (y,) = warp_regions(RAMP, np.array([[100.0, 100, 180, 120]]), 40, 0)
    np.testing.assert_allclose(y[0, 5], 100 + 2 * np.arange(40) + 0.5, atol=1e-9)
    np.testing.assert_allclose(y[1, :, 7], 100 + 0.5 * np.arange(40) - 0.25, atol=1e-9)


def test_what_lies_outside_the_image_is_the_mean():
    (y,) = warp_regions(RAMP, np.array([[5.0, 40, 200, 235]]), 227, 16)  # 11 pixels outside
    assert (y[2, :, :11] == 0).all()
    np.testing.assert_allclose(y[2, :, 11:], 1)
    assert not warp_regions(RAMP, np.array([[900.0, 900, 950, 950]]), 20, 2).any()


def test_square_with_and_without_surroundings():
    """A region of 40 x 20 in the square of 40: 10 rows above and below belong to the surroundings."""
    box = np.array([[100.0, 100, 140, 120]])
    (seen,), (alone,) = (warp_regions(RAMP, box, 40, 0, mode) for mode in ("square", "square_alone"))
    np.testing.assert_allclose(seen, RAMP[:, 90:130, 100:140], atol=1e-9)
    np.testing.assert_allclose(alone[:, 10:30], seen[:, 10:30], atol=1e-9)
    assert not alone[:, :10].any() and not alone[:, 30:].any()
    (context,) = warp_regions(RAMP, box, 50, 5, "square_alone")  # 5 pixels around the region are seen
    assert not context[2, :10].any() and (context[2, 10:40] == 1).all() and not context[2, 40:].any()


def test_against_a_naive_loop():
    rng = np.random.default_rng(0)
    image, box, size = rng.standard_normal((3, 12, 15)), (2.3, -1.7, 9.9, 14.2), 5
    (y,) = warp_regions(image, np.array([box]), size, 1)
    x1, y1, x2, y2 = with_context(box, size, 1)
    sx, sy = (x2 - x1) / size, (y2 - y1) / size
    for i, j in np.ndindex(size, size):
        value, total = 0, 0
        for v, u in np.ndindex(60, 60):
            v, u = v - 20, u - 20
            w = max(1 - abs(y1 + (i + 0.5) * sy - v - 0.5) / max(sy, 1), 0)
            w *= max(1 - abs(x1 + (j + 0.5) * sx - u - 0.5) / max(sx, 1), 0)
            total += w
            if 0 <= v < 12 and 0 <= u < 15:
                value = value + w * image[:, v, u]
        np.testing.assert_allclose(y[:, i, j], value / total, atol=1e-12)


def test_weights_sum_to_one_inside():
    rows, weights = interpolation(3.2, 17.9, 7, 0, 30)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert rows.start == 1 and weights.shape == (7, rows.stop - rows.start)


def test_none():
    assert warp_regions(RAMP, np.zeros((0, 4)), 9, 1).shape == (0, 3, 9, 9)


@pytest.mark.parametrize("options", [{"mode": "round"}, {"padding": 10}, {"padding": -1}])
def test_bad_input(options):
    with pytest.raises(ValueError, match="need a mode of warp, square, square_alone and 2 padding < size"):
        warp_regions(RAMP, np.zeros((1, 4)), 20, **options)
