"""Mask voting: the masks of dropped boxes are averaged into the mask that stays, by hand."""

import numpy as np

from vision.instances.mask_voting import vote


def test_the_dropped_vote_by_their_scores():
    """Two boxes of 4 x 4 pixels, one moved by a pixel: a share of 12 / 20 = 0.6. A third of another class, a fourth far
    away, and a fifth that stays itself have no vote."""
    boxes = np.array([[1, 1, 5, 5], [2, 1, 6, 5], [1, 1, 5, 5], [7, 1, 11, 5], [1, 1, 5, 5]], float)
    labels, scores = np.array([1, 1, 2, 1, 1]), np.array([0.9, 0.6, 0.8, 0.7, 0.5])
    grids = np.ones((5, 4, 4))
    grids[1] = 0.7
    grids[[2, 3, 4]] = 0
    grids[0, :, :2] = 0.4
    masks = vote(np.array([0, 4]), boxes, labels, scores, grids, (7, 12))
    # column 1: 0.9 * 0.4 / 1.5 = 0.24; 2: (0.36 + 0.42) / 1.5 = 0.52; 3 and 4: 0.88; 5: 0.42 / 1.5 = 0.28
    wanted = np.zeros((7, 12), bool)
    wanted[1:5, 2:5] = True
    np.testing.assert_array_equal(masks[0], wanted)
    assert not masks[1].any()  # (0 + 0.42) / 1.1 at most
    alone = vote(np.array([0]), boxes, labels, scores, grids, (7, 12), similar_iou=1.1)[0]
    wanted[1:5, 2] = False
    np.testing.assert_array_equal(alone, wanted)


def test_two_that_stay_do_not_vote_for_each_other():
    boxes, ones = np.array([[0, 0, 4, 4]] * 2, float), np.ones(2)
    grids = np.stack([np.ones((4, 4)), np.zeros((4, 4))])
    assert vote(np.array([0, 1]), boxes, ones, ones, grids, (4, 4)).sum(axis=(1, 2)).tolist() == [16, 0]


def test_nothing_found():
    none = np.zeros(0, np.int64)
    assert vote(none, np.zeros((0, 4)), none, none, np.zeros((0, 4, 4)), (5, 6)).shape == (0, 5, 6)
