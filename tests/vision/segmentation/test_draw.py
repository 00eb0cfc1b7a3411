"""Colours over photographs, and the legend that names them."""

import numpy as np
import pytest

from vision.segmentation.draw import class_colours, draw_labels, legend, overlay

CLASSES = ("background", "cat", "dog")
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
LABELS = np.random.default_rng(1).integers(-1, 3, (20, 30))


def test_overlay_mixes_each_class_with_its_colour():
    got, colours = overlay(IMAGE, LABELS, CLASSES, opacity=0.25), class_colours(3)
    for r, c in np.ndindex(20, 30):
        wanted = IMAGE[r, c]
        if LABELS[r, c] > 0:  # neither background nor unknown
            wanted = np.floor(0.75 * IMAGE[r, c] + 0.25 * colours[LABELS[r, c]] + 0.5)
        np.testing.assert_array_equal(got[r, c], wanted)
    assert (overlay(IMAGE, LABELS, ("sky", "cat", "dog"))[LABELS == 0] != IMAGE[LABELS == 0]).any()


def test_colours_differ():
    assert len(np.unique(class_colours(36), axis=0)) == 36
    np.testing.assert_array_equal(class_colours(40)[36:], class_colours(4))


def test_a_picture_has_found_and_true_labels():
    truth = np.full_like(LABELS, 2)
    alone, both = draw_labels(IMAGE, LABELS, CLASSES), draw_labels(IMAGE, LABELS, CLASSES, truth)
    factor = 11  # 30 pixels become about 320
    assert alone.shape[1] == 30 * factor and both.shape[1] == 60 * factor
    large = overlay(IMAGE, LABELS, CLASSES).repeat(factor, axis=0).repeat(factor, axis=1)
    np.testing.assert_array_equal(alone[: 20 * factor], large)
    np.testing.assert_array_equal(both[: 20 * factor, : 30 * factor], large)
    assert not (both[: 20 * factor, 30 * factor :] == large).all()
    assert both.dtype == np.uint8


def has(picture, colour):
    return (picture == colour).all(axis=2).any()


def test_the_legend_has_the_colours_shown_in_as_many_lines_as_needed():
    colours = class_colours(3)
    one = legend(CLASSES, 400, [0, 2])
    assert has(one, colours[2]) and not has(one, colours[1]) and not has(one, colours[0])
    narrow = legend(CLASSES, 90)
    assert narrow.shape[1] == 90 and len(narrow) > 2 * len(one) - 10
    assert has(narrow, colours[1]) and has(narrow, colours[2])
    assert legend(CLASSES, 50, []).shape[1] == 50
    titled = legend(CLASSES, 400, [], "found")
    assert titled.shape == legend(CLASSES, 400, []).shape and (titled < 100).any()


@pytest.mark.parametrize(
    "image, labels, message",
    [
        (IMAGE[..., 0], LABELS, r"overlay: image must be \(H, W, 3\) uint8 .* got uint8 \(20, 30\)"),
        (IMAGE.astype(float), LABELS, "got float64"),
        (IMAGE, LABELS[1:], r"and \(19, 30\)"),
        (IMAGE, LABELS + 1, r"overlay: labels must lie in -1 .. 2, got 0 .. 3"),
    ],
)
def test_mistakes_are_named(image, labels, message):
    with pytest.raises(ValueError, match=message):
        overlay(image, labels, CLASSES)
