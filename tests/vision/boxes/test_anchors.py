"""Anchors against the paper's values, and their targets against a slow implementation of its sentences."""

import numpy as np
import pytest

from vision.boxes.anchors import base_anchors, grid_anchors, inside
from vision.boxes.boxes import encode, iou
from vision.boxes.matching import anchor_targets

EVERYTHING = {"samples": 10**6}  # no sampling: every anchor that counts


def test_base_anchors_of_the_paper():
    base = base_anchors()
    size = base[:, 2:] - base[:, :2]
    assert base.shape == (9, 4) and base.dtype == np.float32
    np.testing.assert_array_equal(base[:, :2], -base[:, 2:])  # centred
    np.testing.assert_allclose(size.prod(axis=1), [128**2, 256**2, 512**2] * 3, rtol=1e-6)
    np.testing.assert_allclose(size[:, 1] / size[:, 0], np.repeat([0.5, 1, 2], 3), rtol=1e-6)
    np.testing.assert_array_equal(base[3:6, 2], [64, 128, 256])  # the squares


def test_base_anchors_of_another_choice():
    base = base_anchors(scales=(10,), ratios=(4, 0.25), dtype=np.float64)
    np.testing.assert_array_equal(base, [[-2.5, -10, 2.5, 10], [-10, -2.5, 10, 2.5]])
    assert base.dtype == np.float64


def test_grid_anchors_equals_the_loop():
    base = base_anchors((8, 24), (0.5, 1, 2), np.float64)
    expected = []
    for i in range(3):
        for j in range(5):
            x, y = (j + 0.5) * 16, (i + 0.5) * 16
            expected += [[x + x1, y + y1, x + x2, y + y2] for x1, y1, x2, y2 in base.tolist()]
    anchors = grid_anchors(base, (3, 5), 16)
    np.testing.assert_array_equal(anchors, expected)
    assert grid_anchors(base.astype(np.float32), (3, 5), 16).dtype == np.float32


@pytest.mark.parametrize("image_size, total, uncrossed", [((600, 1000), 20646, 8044), ((600, 800), 16650, 5834)])
def test_how_many_anchors_the_paper_trains_on(image_size, total, uncrossed):
    """Sec. 3.3: "for a typical 1000 x 600 image, there will be roughly 20000 (60 x 40 x 9) anchors in total. With the
    cross-boundary anchors ignored, there are about 6000 anchors per image for training."

    At 1000 x 600 there are 20,000 and 8,044 inside; about 6,000 are inside an image of 800 x 600, which is the
    size of a VOC photograph (500 x 375) when its shorter side becomes 600.
    """
    h, w = image_size
    anchors = grid_anchors(base_anchors(), (h // 16, w // 16), 16)
    count = sum(x1 >= 0 and y1 >= 0 and x2 <= w and y2 <= h for x1, y1, x2, y2 in anchors.tolist())
    assert (len(anchors), count, inside(anchors, image_size).sum()) == (total, uncrossed, uncrossed)


def test_inside_counts_the_border_itself():
    anchors = np.array([[0, 0, 30, 20], [-1, 0, 30, 20], [0, 0, 31, 20], [0, 0, 30, 21]], float)
    assert inside(anchors, (20, 30)).tolist() == [True, False, False, False]
    assert inside(anchors, (20, 30), border=1).all()


def slow_labels(anchors, gt_boxes, image_size, positive_iou, negative_iou):
    """Sec. 3.1.2 and 3.3 sentence by sentence, an anchor at a time, before sampling."""
    h, w = image_size
    labels = {}
    for i, (x1, y1, x2, y2) in enumerate(anchors.tolist()):
        if x1 < 0 or y1 < 0 or x2 > w or y2 > h:
            continue  # "all cross-boundary anchors do not contribute to the loss"
        overlaps = [iou(anchors[i : i + 1], gt[None])[0, 0] for gt in gt_boxes]
        if max(overlaps, default=0) < negative_iou:
            labels[i] = 0  # "if its IoU ratio is lower than 0.3 for all ground-truth boxes"
        if max(overlaps, default=0) >= positive_iou:
            labels[i] = 1  # "(ii) an anchor that has an IoU overlap higher than 0.7 with any ground-truth box"
        labels.setdefault(i, -1)  # "neither positive nor negative do not contribute to the training objective"
    for gt in gt_boxes:  # "(i) the anchor/anchors with the highest IoU overlap with a ground-truth box"
        overlaps = {i: iou(anchors[i : i + 1], gt[None])[0, 0] for i in labels}
        for i, overlap in overlaps.items():
            if overlap == max(overlaps.values()) > 0:
                labels[i] = 1
    return np.array([labels.get(i, -1) for i in range(len(anchors))])


@pytest.mark.parametrize("seed", range(12))
def test_targets_equal_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    image_size, scales = (64, 96), (12, 24, 40)
    anchors = grid_anchors(base_anchors(scales, dtype=np.float64), (8, 12), 8)[rng.random(864) < 0.3]
    corner = rng.uniform(0, [70, 40], (seed % 5, 2))
    gt = np.concatenate([corner, corner + rng.uniform(6, 40, corner.shape)], axis=1)
    options = {"positive_iou": 0.6, "negative_iou": 0.2} if seed % 2 else {"positive_iou": 0.7, "negative_iou": 0.3}
    labels, deltas = anchor_targets(anchors, gt, image_size, rng, **options, samples=10**6)
    np.testing.assert_array_equal(labels, slow_labels(anchors, gt, image_size, **options))
    assert labels.dtype == np.int64 and deltas.dtype == anchors.dtype
    for i, label in enumerate(labels):
        if label == 1:
            best = gt[iou(anchors[i : i + 1], gt)[0].argmax()]
            np.testing.assert_allclose(deltas[i], encode(best, anchors[i]))
        else:
            assert (deltas[i] == 0).all()


def test_targets_by_hand():
    anchors = np.array(
        [
            [0, 0, 10, 10],  # IoU 1 with the first box: positive
            [0, 0, 10, 5],  # 0.5: neither
            [20, 20, 30, 30],  # 0.25 with the second box, as the next anchor: the highest IoU, both positive
            [40, 20, 50, 30],
            [60, 60, 70, 70],  # nothing near: negative
            [-1, 0, 10, 10],  # crosses the boundary: neither, though its IoU is 0.91
        ],
        np.float32,
    )
    gt = np.array([[0, 0, 10, 10], [25, 20, 45, 30]], np.float32)
    labels, deltas = anchor_targets(anchors, gt, (80, 80), np.random.default_rng(0), **EVERYTHING)
    assert labels.tolist() == [1, -1, 1, 1, 0, -1]
    np.testing.assert_allclose(deltas[2], [1, 0, np.log(2), 0], rtol=1e-6)
    np.testing.assert_allclose(deltas[3], [-1, 0, np.log(2), 0], rtol=1e-6)
    labels, _ = anchor_targets(anchors, gt, (80, 80), np.random.default_rng(0), border=1, **EVERYTHING)
    assert labels.tolist() == [1, -1, 1, 1, 0, 1]


def test_the_thresholds_themselves():
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 6.9], [0, 0, 10, 3], [0, 0, 10, 2.9]])
    labels, _ = anchor_targets(anchors, anchors[:1], (80, 80), np.random.default_rng(0))
    assert labels.tolist() == [1, 1, -1, -1, 0]  # IoU 0.7 is positive, 0.3 is not negative


def test_a_box_out_of_reach_makes_no_anchor_positive():
    """Its best IoU is 0, which every anchor has: rule (i) must not make them all positive."""
    anchors = np.array([[0, 0, 10, 10], [10, 0, 20, 10]], np.float32)
    gt = np.array([[50, 50, 60, 60]], np.float32)
    labels, _ = anchor_targets(anchors, gt, (80, 80), np.random.default_rng(0))
    assert labels.tolist() == [0, 0]


def test_sampling_256_at_most_half_positive():
    anchors = np.tile(np.array([[0, 0, 10, 10]], np.float32), (1000, 1))
    anchors[300:] += 40
    gt = np.array([[0, 0, 10, 10]], np.float32)
    labels, _ = anchor_targets(anchors, gt, (100, 100), np.random.default_rng(5))
    assert np.bincount(labels + 1).tolist() == [744, 128, 128]
    assert (labels[:300] != 0).all() and (labels[300:] != 1).all()

    few, _ = anchor_targets(anchors[280:], gt, (100, 100), np.random.default_rng(5))
    assert np.bincount(few + 1).tolist() == [720 - 256, 236, 20]  # "we pad the mini-batch with negative ones"

    again, _ = anchor_targets(anchors, gt, (100, 100), np.random.default_rng(5))
    other, _ = anchor_targets(anchors, gt, (100, 100), np.random.default_rng(6))
    assert (again == labels).all() and (other != labels).any()


def test_sampling_is_uniform():
    anchors = np.tile(np.array([[40, 40, 50, 50]], np.float32), (100, 1))
    rng = np.random.default_rng(0)
    times = sum(anchor_targets(anchors, anchors[:0], (90, 90), rng, samples=25)[0] == 0 for _ in range(2000))
    assert abs(times - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)  # each is drawn one time in four


def test_images_without_boxes_and_too_small_for_any_anchor():
    anchors = grid_anchors(base_anchors((16,)), (5, 5), 16)
    none = np.zeros((0, 4), np.float32)
    labels, deltas = anchor_targets(anchors, none, (80, 80), np.random.default_rng(0), samples=20)
    assert (labels == 0).sum() == 20 and (labels == 1).sum() == 0 and (deltas == 0).all()
    gt = np.array([[0, 0, 9, 9]], np.float32)
    for boxes in (none, gt):
        labels, deltas = anchor_targets(anchors, boxes, (9, 9), np.random.default_rng(0))
        assert (labels == -1).all() and (deltas == 0).all()


RNG = np.random.default_rng(0)
ANCHORS = np.array([[0, 0, 10, 10]], np.float32)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: base_anchors(scales=()), r"base_anchors: scales must be one or more positive numbers, got \(\)"),
        (lambda: base_anchors(ratios=(1, 0)), r"base_anchors: ratios must be .* positive numbers, got \(1, 0\)"),
        (lambda: grid_anchors(ANCHORS[0], (2, 2), 16), r"grid_anchors: base must have shape \(k, 4\), got \(4,\)"),
        (
            lambda: anchor_targets(ANCHORS, ANCHORS[0], (9, 9), RNG),
            r"anchor_targets: gt_boxes must have shape .*\(4,\)",
        ),
        (lambda: anchor_targets(ANCHORS, ANCHORS * 0, (9, 9), RNG), r"anchor_targets: gt_boxes must have x2 > x1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
