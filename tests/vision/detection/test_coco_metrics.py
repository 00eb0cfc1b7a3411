"""COCO's metrics by hand, and against a plain transcript of its rules. pycocotools: see the folder parity."""

import numpy as np
import pytest

from vision.detection.coco_metrics import COCOMetrics, precision_at_recalls, take
from vision.detection.coco_overlaps import PERSON_SIGMAS, box_overlap, keypoint_similarity

A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]


def image(boxes, labels=None, **more):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.ones(len(boxes), np.int64) if labels is None else np.array(labels)
    return {"boxes": boxes, "labels": labels} | {key: np.array(value) for key, value in more.items()}


def measured(*pairs, classes=("cat",), kind="boxes"):
    metrics = COCOMetrics(classes, kind)
    for detected, truth in pairs:
        metrics.add(detected, truth)
    return metrics.result()


def test_all_found():
    found = measured((image([A, B], scores=[0.9, 0.8]), image([B, A])))
    assert {found[key] for key in ("AP", "AP50", "AP75", "AP_small", "AR_10", "AR_100", "AR_small")} == {1.0}
    assert found["AR_1"] == 0.5  # one detection of two objects
    assert np.isnan([found["AP_medium"], found["AR_large"]]).all()  # no object of this size
    assert found["classes"] == {"cat": 1.0}


def test_a_hundred_and_one_recall_points():
    # Right, wrong, right of 4 objects: p = 1 up to recall 1/4, 2/3 up to 1/2, then 0.
    p = precision_at_recalls(np.array([[1, 0, 1]]), np.array([[0, 1, 0]]), 4)[0]
    np.testing.assert_allclose(p, [1] * 26 + [2 / 3] * 25 + [0] * 50)
    far = [80, 80, 90, 90]
    found = measured((image([A, far, B], scores=[0.9, 0.8, 0.7]), image([A, B, C, [60, 0, 70, 10]])))
    np.testing.assert_allclose(found["AP"], (26 + 25 * 2 / 3) / 101)
    assert found["AR_100"] == 0.5


def test_thresholds():
    # IoU 0.8: right at 0.50 ... 0.80, wrong at 0.85, 0.90, 0.95.
    found = measured((image([[0, 0, 10, 8]], scores=[0.9]), image([A])))
    assert (found["AP50"], found["AP75"]) == (1, 1)
    np.testing.assert_allclose([found["AP"], found["AR_100"]], 0.7)


def test_a_second_detection_of_an_object_takes_the_next_best_one():
    # VOC would count the second detection as false; here it takes the object beside it.
    near = [2, 0, 12, 10]
    found = measured((image([[0, 0, 10, 10], [0.5, 0, 10.5, 10]], scores=[0.9, 0.8]), image([A, near])))
    assert found["AP50"] == 1


def test_crowds_and_difficult_objects_are_ignored():
    inside = [[0, 0, 4, 4], [4, 4, 9, 9]]  # small parts of the crowd A: its share of the detection counts
    truth = image([A, B], crowd=[True, False])
    found = measured((image([*inside, B], scores=[0.9, 0.8, 0.7]), truth))
    assert found["AP"] == 1
    np.testing.assert_allclose(box_overlap(image(inside), truth)[:, 0], 1)
    difficult = image([A, B], difficult=[True, False])
    assert measured((image([A, B], scores=[0.9, 0.8]), difficult))["AP"] == 1
    assert measured((image([A, A, B], scores=[0.9, 0.8, 0.7]), difficult))["AP"] == pytest.approx(0.5)  # A once only


def test_sizes_are_those_of_the_annotation():
    truth = image([A, [0, 0, 40, 40]], area=[2000, 100])  # the areas of the masks, whatever the boxes
    found = measured((image([A], scores=[0.9]), truth))
    assert (found["AP_medium"], found["AP_small"]) == (1, 0)


def test_only_a_hundred_detections_of_a_class_count():
    boxes = np.tile([80, 80, 90, 90], (100, 1)).tolist()
    found = image([*boxes, A], scores=[0.9] * 100 + [0.1])
    assert measured((found, image([A])))["AR_100"] == 0
    assert measured((image([*boxes[1:], A], scores=[0.9] * 99 + [0.1]), image([A])))["AR_100"] == 1


def naive_take(overlap, crowd, ignored, threshold):
    order = sorted(range(len(crowd)), key=lambda g: ignored[g])
    taken, match = set(), []
    for row in overlap:
        best, m = threshold, -1
        for g in order:
            if g in taken and not crowd[g]:
                continue
            if m >= 0 and not ignored[m] and ignored[g]:
                break
            if row[g] >= best:
                best, m = row[g], g
        taken.add(m)
        match.append(m)
    return match


def test_take_against_a_loop():
    rng = np.random.default_rng(0)
    for _ in range(60):
        d, g = rng.integers(1, 9, 2)
        overlap, crowd = rng.integers(0, 21, (d, g)) / 20, rng.random(g) < 0.2
        ignored = (rng.random((3, g)) < 0.3) | crowd
        match = take(overlap, crowd, ignored)
        for a in range(3):
            for t, threshold in enumerate(np.linspace(0.5, 0.95, 10)):
                assert match[a, t].tolist() == naive_take(overlap, crowd, ignored[a], threshold)


def test_key_points():
    points = np.zeros((1, 17, 3), np.float32)
    points[0, :5] = [[10, 10, 2], [12, 8, 2], [8, 8, 2], [14, 10, 1], [6, 10, 1]]
    truth = image([[0, 0, 20, 40]], keypoints=points, area=[500.0])
    moved = points.copy()
    moved[0, 0, 0] += 3  # of the nose alone
    away = np.exp(-9 / (2 * 500 * (2 * PERSON_SIGMAS[0]) ** 2))
    np.testing.assert_allclose(keypoint_similarity({"keypoints": moved}, truth), [[(4 + away) / 5]], rtol=1e-12)
    found = image([[0, 0, 20, 40]], keypoints=moved, scores=[0.5])
    assert measured((found, image([[0, 0, 20, 40]], keypoints=points, area=[1025.0])), kind="keypoints")["AP"] >= 0.7
    assert np.isnan(measured((found, truth | {"keypoints": 0 * points}), kind="keypoints")["AP"])  # nothing labelled


def test_bad_input():
    with pytest.raises(ValueError, match="kind must be one of boxes, masks, keypoints, got 'points'"):
        COCOMetrics(["cat"], "points")
    with pytest.raises(ValueError, match=r"image 0: objects: labels must lie in 1\.\.1, got \[2\]"):
        measured((image([A], scores=[0.5]), image([A], labels=[2])))
    with pytest.raises(ValueError, match="image 0: scores must be one for each detection, none of them NaN"):
        measured((image([A], scores=[np.nan]), image([A])))
    with pytest.raises(ValueError, match="image 0: detections: labels must be integers of shape"):
        measured((image([A, B], labels=[1], scores=[0.5]), image([A])))
    assert np.isnan(measured()["AP"])  # no image
