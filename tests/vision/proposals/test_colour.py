"""Colour spaces: values by hand, and scikit-image's."""

import numpy as np
import pytest

from vision.proposals.colour import SPACES, hsv, lab, normalised_rg_intensity

PICTURE = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def test_hue_of_pure_colours_and_of_grey():
    pure = np.array([[[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]]], np.uint8)
    np.testing.assert_allclose(hsv(pure)[0, :, 0], np.arange(6) / 6, rtol=0, atol=1e-15)
    assert (hsv(pure)[..., 1:] == 1).all()
    grey = np.full((1, 1, 3), 51, np.uint8)
    np.testing.assert_allclose(hsv(grey)[0, 0], [0, 0, 0.2], rtol=0, atol=1e-15)


def test_normalised_colours_do_not_change_with_shading():
    bright = np.array([[[200, 100, 50], [0, 0, 0]]], np.uint8)
    a, b = normalised_rg_intensity(bright), normalised_rg_intensity(bright // 2)
    np.testing.assert_allclose(a[..., :2], b[..., :2], rtol=0, atol=1e-15)
    np.testing.assert_allclose(a[0, 1], [1 / 3, 1 / 3, 0], rtol=0, atol=1e-15)  # black has no colour


@pytest.mark.parametrize("name", SPACES)
def test_all_spaces_are_about_0_to_1(name):
    x = SPACES[name](PICTURE)
    assert x.shape[:2] == PICTURE.shape[:2] and x.shape[2] in (1, 3)
    assert -0.01 <= x.min() and x.max() <= 1.01


def test_as_scikit_image():
    color = pytest.importorskip("skimage.color")
    np.testing.assert_allclose(hsv(PICTURE), color.rgb2hsv(PICTURE), rtol=0, atol=1e-12)
    scale, shift = np.array([100, 255, 255]), np.array([0, 128, 128])
    np.testing.assert_allclose(lab(PICTURE) * scale - shift, color.rgb2lab(PICTURE), rtol=0, atol=1e-10)
