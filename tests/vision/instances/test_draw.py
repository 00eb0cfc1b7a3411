"""Pictures of instances: contours and colours."""

import numpy as np
import pytest

from vision.instances.draw import contour, draw_instances

IMAGE = np.full((60, 80, 3), 120, np.uint8)


def scene():
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 10:40, 10:40], masks[1, 10:40, 40:70] = True, True  # they touch
    boxes = np.array([[10, 10, 40, 40], [40, 10, 70, 40]], np.float32)
    return {"masks": masks, "boxes": boxes, "labels": np.array([1, 1]), "scores": np.array([0.9, 0.8])}


def test_contour():
    mask = np.zeros((6, 7), bool)
    mask[1:5, 0:5] = True
    wanted = mask.copy()
    wanted[2:4, 1:4] = False
    np.testing.assert_array_equal(contour(mask), wanted)
    assert (contour(mask, 2) == mask).all()


def test_touching_instances_have_different_colours_and_contours():
    picture = draw_instances(IMAGE, scene(), ["cell"])
    f = picture.shape[0] // 60
    left, right, outside = picture[30 * f, 20 * f], picture[30 * f, 60 * f], picture[55 * f, 5 * f]
    assert not (left == right).all() and (outside == 120).all()
    assert not (picture[30 * f, 40 * f - 1] == picture[30 * f, 40 * f]).all()
    with_truth = draw_instances(IMAGE, scene(), ["cell"], scene()["masks"][:1] & False)
    assert with_truth.shape == picture.shape
    assert (draw_instances(IMAGE, {key: value[:0] for key, value in scene().items()}) == 120).all()


def test_masks_of_another_size_are_refused():
    wrong = scene() | {"masks": np.zeros((2, 60, 81), bool)}
    with pytest.raises(ValueError, match=r"masks must have the image's size \(60, 80\), got \(60, 81\)"):
        draw_instances(IMAGE, wrong)


def test_key_points_are_discs_in_their_objects_colours():
    points = np.array([[[20, 20, 0.9], [30, 30, 0.01]], [[50.0, 30, 0.5], [5, 55, 0.5]]])
    picture, plain = draw_instances(IMAGE, scene() | {"keypoints": points}, ["cell"]), draw_instances(IMAGE, scene())
    f = picture.shape[0] // 60
    at = lambda x, y: picture[int(y * f), int(x * f)].tolist()  # noqa: E731
    assert at(20, 20) == picture[10 * f, 10 * f].tolist() != at(50, 30) == picture[10 * f, 40 * f].tolist()
    assert at(5, 55) == at(50, 30)  # outside of its mask, too
    assert at(30, 30) == plain[30 * f, 30 * f].tolist() != at(20, 20)  # nobody is sure of it
