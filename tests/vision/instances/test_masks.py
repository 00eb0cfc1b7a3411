"""Masks of instances: targets, pasting, suppression and merging, against loops over pixels."""

import numpy as np
import pytest

from nn import RoIAlign
from vision.instances.masks import fitted, mask_nms, mask_targets, merge, paste


def blob(h, w, cy, cx, ry, rx):
    y, x = np.mgrid[:h, :w] + 0.5
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


def test_targets_are_the_part_of_the_mask_inside_the_region():
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 4:12, 6:14], masks[1, :, 20:] = True, True
    rois = np.array([[6, 4, 14, 12], [6, 4, 22, 12], [18, 0, 22, 20], [0, 0, 4, 4]], np.float32)
    targets = mask_targets(masks, rois, np.array([0, 0, 1, 0]), 4)
    assert targets.dtype == np.float32 and targets.shape == (4, 4, 4)
    assert targets[0].all() and not targets[3].any()
    np.testing.assert_array_equal(targets[1], np.tile([1, 1, 0, 0], (4, 1)))  # half of the region is the object
    np.testing.assert_array_equal(targets[2], np.tile([0, 0, 1, 1], (4, 1)))


def bilinear(p, y, x):
    """The value of p (m, m) at (y, x) in cells, its border cells continued."""
    m = len(p)
    y, x = min(max(y, 0), m - 1), min(max(x, 0), m - 1)
    i, j = min(int(y), m - 2), min(int(x), m - 2)
    a, b = y - i, x - j
    return (1 - a) * ((1 - b) * p[i, j] + b * p[i, j + 1]) + a * ((1 - b) * p[i + 1, j] + b * p[i + 1, j + 1])


def test_paste_against_a_loop():
    rng = np.random.default_rng(0)
    h, w, m = 19, 23, 5
    corner = rng.uniform(-6, 15, (12, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.2, 18, (12, 2))], axis=1)
    grids = rng.random((12, m, m))
    wanted = np.zeros((12, h, w), bool)
    for k, (x1, y1, x2, y2) in enumerate(boxes):
        for r in range(h):
            for c in range(w):
                if x1 <= c + 0.5 <= x2 and y1 <= r + 0.5 <= y2:
                    y, x = (r + 0.5 - y1) / (y2 - y1) * m - 0.5, (c + 0.5 - x1) / (x2 - x1) * m - 0.5
                    wanted[k, r, c] = bilinear(grids[k], y, x) >= 0.5
    np.testing.assert_array_equal(paste(grids, boxes, (h, w)), wanted)


def test_a_mask_cut_out_and_pasted_back_is_the_mask():
    masks = np.stack([blob(90, 110, 40, 50, 30, 20), blob(90, 110, 60, 80, 25, 22)])
    boxes = np.array([[30, 10, 70, 70], [58, 35, 102, 85]], np.float32)
    back = paste(mask_targets(masks, boxes, np.arange(2), 28), boxes, (90, 110))
    shared, both = (masks & back).sum(axis=(1, 2)), (masks | back).sum(axis=(1, 2))
    assert (shared / both > 0.95).all()
    assert paste(np.zeros((0, 28, 28)), np.zeros((0, 4)), (90, 110)).shape == (0, 90, 110)


def test_align_and_paste_have_the_same_geometry():
    """A straight edge anywhere inside a box comes back at the same place, to a pixel: nothing is shifted by a half."""
    for edge in range(12, 40, 3):
        mask = np.zeros((1, 48, 48), bool)
        mask[:, :, :edge] = True
        box = np.array([[4, 4, 44, 44]], np.float32)
        covered = RoIAlign(28, 1.0, aligned=True)(mask[:, None].astype(np.float32), box, np.array([0]))[:, 0]
        back = paste(covered, box, (48, 48))[0]
        assert back[4:44, 4:edge].all() and not back[:, edge:].any()


def test_suppression_looks_at_masks_not_at_boxes():
    """Two diagonals of one box do not overlap; nearly equal masks do."""
    upper = np.triu(np.ones((10, 10), bool), 1)
    masks = np.stack([upper, upper.T, upper, np.triu(upper, 2)])
    scores = np.array([0.5, 0.6, 0.9, 0.4])
    assert mask_nms(masks, scores, 0.5).tolist() == [2, 1]
    assert mask_nms(masks[:0], scores[:0], 0.5).tolist() == []


def test_merging_puts_the_best_on_top():
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :, :4], masks[1, :, 2:] = True, True
    assert merge(masks)[0].tolist() == [1, 1, 1, 1, 2, 2]
    assert merge(masks, [0.2, 0.9])[0].tolist() == [1, 1, 2, 2, 2, 2]
    assert not merge(masks[:0]).any()


def test_boxes_that_a_crop_clipped_are_fitted():
    masks = np.zeros((2, 20, 20), bool)
    masks[0, 14:18, 2:18], masks[1, 3:9, 5:11] = True, True
    boxes = np.array([[2, 0, 18, 18], [5.4, 3.2, 11, 9]], np.float32)
    np.testing.assert_array_equal(fitted(boxes, masks), np.array([[2, 14, 18, 18], [5.4, 3.2, 11, 9]], np.float32))
    assert fitted(boxes[:0], masks[:0]).shape == (0, 4)


@pytest.mark.parametrize("shift", [0, 0.49])
def test_sub_pixel_boxes_keep_the_area(shift):
    back = paste(np.ones((1, 7, 7)), np.array([[3 + shift, 4, 13 + shift, 10]]), (20, 20))
    assert back.sum() == 60
