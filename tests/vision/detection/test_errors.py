"""Kinds of errors on detections made by hand, and their pictures."""

import numpy as np
import pytest

from vision.detection import pictures
from vision.detection.errors import detection_errors, errors_table
from vision.detection.pictures import draw_curves, draw_errors

A, B, C, D = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]
NEAR_A, FAR = [6, 0, 16, 10], [80, 80, 90, 90]  # IoU 40 / 160 with A


def image(boxes, labels, scores=None, **fields):
    made = {"boxes": np.array(boxes, np.float32).reshape(-1, 4), "labels": np.array(labels, np.int64)}
    return made | ({} if scores is None else {"scores": np.array(scores)}) | fields


def errors(found, truth, classes=("cat", "dog")):
    return detection_errors([found], [truth], classes)


def test_each_kind_once():
    """Four cats and a dog; of five detections of cats the four best count."""
    truth = image([A, B, C, D, [90, 0, 99, 9]], [1, 1, 1, 1, 2])
    found = image([A, A, [23, 0, 33, 10], [90, 0, 99, 9], C], [1] * 5, [0.9, 0.8, 0.7, 0.6, 0.5])
    cats = errors(found, truth)["cat"]
    assert cats["objects"] == 4
    assert [cats[kind] for kind in ("correct", "duplicate", "badly placed", "confused", "background")] == [
        2,
        1,
        0,
        1,
        0,
    ]
    assert cats["missed"] == 2  # C, whose detection is the fifth, and D; the dog was at least seen


def test_badly_placed_and_background():
    got = errors(image([NEAR_A, FAR], [1, 1], [0.9, 0.8]), image([A, B], [1, 1]))["cat"]
    assert (got["badly placed"], got["background"], got["correct"], got["missed"]) == (1, 1, 0, 1)


def test_the_own_class_comes_before_another_one():
    """A detection that touches an object of its class is badly placed, though it covers one of another class."""
    got = errors(image([NEAR_A], [1], [0.9]), image([A, NEAR_A], [1, 2]))
    assert got["cat"]["badly placed"] == 1 and got["cat"]["confused"] == 0
    assert got["dog"]["missed"] == 1


def test_best_first_over_all_images():
    """One object in two images: the better detection is the one that counts."""
    truth = [image([A], [1]), image(np.zeros((0, 4)), [])]
    found = [image([A], [1], [0.3]), image([A], [1], [0.6])]
    assert detection_errors(found, truth, ["cat"])["cat"]["background"] == 1


def test_difficult_and_crowded_objects_do_not_count():
    flags = {"difficult": np.array([True, False, False]), "crowd": np.array([False, True, False])}
    got = errors(image([A, B, C], [1] * 3, [0.9, 0.8, 0.7]), image([A, B, C], [1] * 3, **flags))["cat"]
    assert (got["objects"], got["correct"], got["missed"]) == (1, 1, 0)


def test_a_class_without_objects_and_the_table():
    got = errors(image([A], [2], [0.9]), image([A], [1]))
    assert set(got["dog"].values()) == {0}
    lines = errors_table(got).splitlines()
    assert [line.split()[0] for line in lines] == ["class", "cat", "all"]
    assert lines[2].split()[1:] == ["1", "0", "0", "0", "0", "0", "1"]


def test_lists_of_unequal_length():
    with pytest.raises(ValueError, match="one entry per image, got 1 detections, 0 ground_truth"):
        detection_errors([image([A], [1], [0.5])], [], ["cat"])


def test_curves_are_those_of_the_classes_with_the_most_objects(monkeypatch):
    class Data:
        classes = ("cat", "dog")

    class Detector:
        pictures = staticmethod(lambda dataset: {})

    drawn = {}
    monkeypatch.setattr(pictures, "MOST", 1)
    monkeypatch.setattr(pictures, "draw_curves", drawn.update)
    first = image([B], [1], [0.5]), image([B], [1])
    second = image([A], [2], [0.5]), image([A, B], [2, 2])
    pictures.draw_detector(Detector, Data(), None, [first, second])
    assert list(drawn) == ["dog"]


def test_pictures():
    counts = errors(image([A, A], [1, 1], [0.9, 0.8]), image([A, B], [1, 1]))
    curve = np.array([0.5, 0.5]), np.array([1.0, 0.5])
    for picture in (draw_errors(counts), draw_curves({"cat": curve, "dog": None})):
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.std() > 5
