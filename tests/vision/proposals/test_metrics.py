"""Recall, average recall and MABO by hand."""

import numpy as np
import pytest

from vision.proposals.metrics import average_recall, best_overlaps, mean_average_best_overlap, recall

OBJECTS = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
BOXES = np.array([[0, 0, 10, 5], [0, 0, 10, 10], [20, 0, 30, 8]], np.float32)


def test_best_overlaps_of_the_first_boxes():
    overlaps = best_overlaps(BOXES, OBJECTS, [1, 2, 3, 100])
    assert overlaps == pytest.approx(np.array([[0.5, 0], [1, 0], [1, 0.8], [1, 0.8]]))
    assert best_overlaps(BOXES[:0], OBJECTS, [5]).tolist() == [[0, 0]]
    assert best_overlaps(BOXES, OBJECTS[:0], [5]).shape == (1, 0)


def test_recall_and_its_mean_over_thresholds():
    overlaps = np.array([[0.5, 0.0], [1.0, 0.8]])
    assert recall(overlaps, 0.5).tolist() == [0.5, 1] and recall(overlaps, 0.9).tolist() == [0, 0.5]
    thresholds = (np.arange(100_000) + 0.5) / 200_000 + 0.5
    integral = np.mean([recall(overlaps, t) for t in thresholds], axis=0)
    assert average_recall(overlaps) == pytest.approx(integral, abs=1e-5)
    assert np.isnan(recall(overlaps[:, :0], 0.5)).all()


def test_mabo_counts_each_class_once():
    overlaps, labels = np.array([0.9, 0.7, 0.2]), np.array([4, 4, 7])
    assert mean_average_best_overlap(overlaps, labels) == pytest.approx((0.8 + 0.2) / 2)
    assert np.isnan(mean_average_best_overlap(overlaps[:0], labels[:0]))


def test_bad_input():
    with pytest.raises(ValueError, match="boxes must have shape"):
        best_overlaps(BOXES[:, :3], OBJECTS, [1])
    for counts in ([0], []):
        with pytest.raises(ValueError, match="counts must be at least 1"):
            best_overlaps(BOXES, OBJECTS, counts)
