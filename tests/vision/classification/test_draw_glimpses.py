"""The path of glimpses on a picture."""

import numpy as np
import pytest

from vision.classification.draw_glimpses import draw_glimpses

BLUE, RED = (38, 99, 255), (255, 38, 38)


def boxes(*corners, size=4, scales=2):
    return np.array([[[x, y, x + size * 2**k, y + size * 2**k] for k in range(scales)] for x, y in corners], float)


def test_outlines_and_path():
    image = np.full((28, 28, 3), 40, np.uint8)
    path = boxes((2, 3), (10, 3), (18, 20), scales=1)
    picture = draw_glimpses(image, path)
    assert picture.shape == (12 * 28, 12 * 28, 3)
    assert (image == 40).all()
    blue, red = ((abs(picture.astype(int) - colour) < 3).all(axis=2) for colour in (BLUE, RED))
    for mask, (x, y) in ((blue, (2, 3)), (red, (18, 20))):
        top, left, side = 12 * y, 12 * x, 12 * 4
        assert mask[top, [left, left + side - 1]].all() and mask[top + side - 1, [left, left + side - 1]].all()
        assert not mask[top - 1, left : left + 9].any() and not mask[top : top + 9, left - 1].any()
        assert mask[top + side // 2, left + side // 2]  # and a disc in the middle
    assert red[12 * 13 : 12 * 14, 12 * 15 : 12 * 17].any()  # the line from the second to the third glimpse
    assert (picture[: 12 * 2] == 40).all()


def test_coarser_scales_are_thinner():
    picture = draw_glimpses(np.zeros((28, 28, 3), np.uint8), boxes((8, 8)))
    row = (picture[12 * 9] > 0).any(axis=1)
    assert row[12 * 8 : 12 * 8 + 3].all() and not row[12 * 8 + 3]  # from inside: the finest scale, three pixels
    assert row[12 * 16 - 1] and not row[12 * 16 - 2]  # the right side of the coarser one, a single pixel


def test_large_images_and_squares_outside():
    image = np.zeros((700, 500, 3), np.uint8)
    assert draw_glimpses(image, boxes((-20, -20), (690, 10), size=30)).shape == image.shape


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8 in RGB, got float64 \(4, 4\)"):
        draw_glimpses(np.zeros((4, 4)), boxes((0, 0)))
    with pytest.raises(ValueError, match=r"boxes must have shape \(T, scales, 4\), got \(2, 4\)"):
        draw_glimpses(np.zeros((4, 4, 3), np.uint8), boxes((0, 0))[0])
