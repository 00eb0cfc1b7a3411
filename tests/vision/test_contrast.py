"""Images of one range of grey."""

import numpy as np
import pytest

from vision import Preprocess
from vision.contrast import darkened, stretch


def test_values_at_the_percentiles_become_0_and_255():
    image = np.arange(10, 31, dtype=np.uint8).reshape(7, 3, 1)  # 10 is percentile 0, 20 is 50, 30 is 100
    np.testing.assert_array_equal(stretch(image, (0, 100)).ravel(), np.floor(12.75 * np.arange(21) + 0.5))
    half = stretch(image, (0, 50)).ravel()
    assert half[5] == 128 and (half[10:] == 255).all()
    assert (stretch(image, (50, 100)).ravel()[:11] == 0).all()
    assert (stretch(np.full((2, 2), 7, np.uint8), (0, 100)) == 7).all()


def test_bright_backgrounds_become_dark():
    image = np.full((4, 4, 3), 200, np.uint8)
    image[1] = 40
    np.testing.assert_array_equal(darkened(image), 255 - image)
    np.testing.assert_array_equal(darkened(255 - image), 255 - image)


def test_a_photograph_is_evened_out_before_it_is_scaled():
    """Stained tissue becomes like a fluorescence image of another light."""
    small = Preprocess(percentiles=(0, 100), dark_background=True, resize="square", short_side=2, max_side=2)
    dark = np.full((4, 4, 3), 20, np.uint8)
    dark[:2, :2] = 60
    for each in (dark, 2 * dark, 255 - dark, 200 - 3 * dark // 2):
        np.testing.assert_array_equal(small.lit(each), np.where(dark > 20, 255, 0))
        np.testing.assert_array_equal(small.scaled(each), small.scaled(dark))
    np.testing.assert_array_equal(Preprocess(resize="none").scaled(dark), dark)
    for wrong in ((5, 5), (-1, 50), (0, 101), (9, 1)):
        with pytest.raises(ValueError, match="Preprocess: percentiles must be 0 <= low < high <= 100, got"):
            Preprocess(percentiles=wrong)
