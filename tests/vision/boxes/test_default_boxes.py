"""Default boxes: the paper's counts, the matching by hand, and hard negatives."""

import numpy as np
import pytest

from vision.boxes.boxes import encode, iou
from vision.boxes.default_boxes import (
    best_pairs,
    default_boxes,
    default_shapes,
    hard_negatives,
    match_default_boxes,
    unmatched,
)

SQUARES = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20]], np.float32)


def test_shapes_by_hand():
    """s_k = 30, s_{k+1} = 60, a = 2: squares of 30 and sqrt(1800), then 30 sqrt(2) x 30 / sqrt(2) and upright."""
    made = default_shapes(30, 60, (2,))
    np.testing.assert_allclose(made, [(30, 30), (42.426, 42.426), (42.426, 21.213), (21.213, 42.426)], atol=1e-3)
    assert len(default_shapes(30, 60, (2, 3))) == 6


def test_boxes_are_centred_in_cells_by_row_column_and_shape():
    shapes = default_shapes(8, 12, (2,))
    made = default_boxes(shapes, (2, 3), (20, 60))
    assert made.shape == (2 * 3 * 4, 4)
    row, column, k = 1, 2, 3
    box = made[(row * 3 + column) * 4 + k]
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, [50, 15])
    np.testing.assert_allclose(box[2:] - box[:2], shapes[k], rtol=1e-6)


def test_8732_boxes_of_ssd300():
    """38^2 4 + 19^2 6 + 10^2 6 + 5^2 6 + 3^2 4 + 1 4."""
    sizes, ratios = (30, 60, 111, 162, 213, 264, 315), ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    counts = [
        len(default_boxes(default_shapes(small, large, r), (cells, cells), (300, 300)))
        for small, large, r, cells in zip(sizes, sizes[1:], ratios, (38, 19, 10, 5, 3, 1))
    ]
    assert counts == [5776, 2166, 600, 150, 36, 4]
    assert sum(counts) == 8732


def test_an_object_gets_its_best_box_whatever_the_overlap_and_others_above_the_threshold():
    gt = np.array([[0, 0, 3, 3], [9, 0, 20, 10.0]], np.float32)  # IoU 0.09 with the first square; 0.91 with the second
    labels, deltas = match_default_boxes(SQUARES, gt, np.array([2, 1]), 2)
    assert labels.tolist() == [2, 1, 0, 0]
    np.testing.assert_allclose(deltas[0], encode(gt[0], SQUARES[0]) / [0.1, 0.1, 0.2, 0.2], rtol=1e-6)
    assert not deltas[2:].any()


def test_two_objects_never_share_their_best_box():
    """Both overlap the first square most; the better pair takes it, the other one the second best."""
    gt = np.array([[0, 0, 9, 9], [0, 0, 12, 8.0]], np.float32)
    assert iou(SQUARES, gt).argmax(axis=0).tolist() == [0, 0]
    labels, _ = match_default_boxes(SQUARES, gt, np.array([1, 2]), 2)
    assert labels.tolist() == [1, 2, 0, 0]


def test_pairs_against_a_plain_search():
    rng = np.random.default_rng(0)
    for _ in range(20):
        overlap = rng.random((7, 4)) * (rng.random((7, 4)) > 0.4)
        pairs, left = [], {(a, g): overlap[a, g] for a in range(7) for g in range(4) if overlap[a, g] > 0}
        while left:
            a, g = max(left, key=left.get)
            pairs.append((a, g))
            left = {pair: value for pair, value in left.items() if pair[0] != a and pair[1] != g}
        assert best_pairs(overlap) == pairs


def test_objects_without_a_box_are_counted():
    gt = np.array([[0, 0, 9, 9], [1, 1, 9, 9], [30, 30, 40, 40]], np.float32)  # two in one square, one far away
    assert unmatched(SQUARES, gt) == 2
    assert unmatched(SQUARES, gt[:1]) == unmatched(SQUARES, gt[:0]) == 0


def test_no_objects():
    labels, deltas = match_default_boxes(SQUARES, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 3)
    assert not labels.any() and not deltas.any()


def test_hard_negatives_are_the_largest_losses_of_each_image():
    losses = np.array([[5.0, 1, 2, 9, 3, 4], [1, 2, 3, 4, 5, 6]])
    positive = np.array([[0, 0, 0, 1, 0, 0], [0] * 6], bool)
    chosen = hard_negatives(losses, positive, 3)
    assert chosen.tolist() == [[True, False, False, False, True, True], [False] * 6]
    everything = hard_negatives(losses, positive, 100)
    assert everything[0].tolist() == [True, True, True, False, True, True]


def test_bad_input():
    with pytest.raises(ValueError, match="default_shapes: sizes and ratios must be positive"):
        default_shapes(0, 3, (2,))
    with pytest.raises(ValueError, match=r"gt_labels must lie in 1..2, got \[3\]"):
        match_default_boxes(SQUARES, SQUARES[:1], np.array([3]), 2)
    with pytest.raises(ValueError, match="drop such boxes first"):
        match_default_boxes(SQUARES, SQUARES[:1] * 0, np.array([1]), 2)
