"""Proposals and the sample of RoIs against slow references and examples worked by hand."""

import numpy as np
import pytest

from vision.boxes.anchors import base_anchors, grid_anchors
from vision.boxes.boxes import encode, iou
from vision.boxes.matching import anchor_targets, sample_rois
from vision.boxes.rpn import propose

IMAGE = (60, 90)


def slow_propose(scores, deltas, anchors, image_size, pre_nms, post_nms, nms_iou, min_size):
    """Sec. 3.3, a box at a time. Returns the indices of the anchors and their boxes."""
    h, w = image_size
    found = []
    for i, ((x1, y1, x2, y2), (tx, ty, tw, th)) in enumerate(zip(anchors.tolist(), deltas.tolist())):
        x, y = (x1 + x2) / 2 + tx * (x2 - x1), (y1 + y2) / 2 + ty * (y2 - y1)
        bw, bh = np.exp(tw) * (x2 - x1), np.exp(th) * (y2 - y1)
        corners = [x - bw / 2, y - bh / 2, x + bw / 2, y + bh / 2]
        box = [min(max(c, 0), limit) for c, limit in zip(corners, (w, h, w, h))]
        if box[2] - box[0] >= min_size and box[3] - box[1] >= min_size:
            found.append((-scores[i], i, np.array(box)))
    kept = []
    for _, i, box in sorted(found, key=lambda entry: entry[:2])[:pre_nms]:
        if all(iou(box[None], other[None])[0, 0] <= nms_iou for _, other in kept):
            kept.append((i, box))
    return kept[:post_nms]


@pytest.mark.parametrize("pre_nms, post_nms, nms_iou", [(1000, 1000, 0.7), (100, 1000, 0.5), (1000, 20, 0.3)])
def test_propose_equals_the_slow_reference(pre_nms, post_nms, nms_iou):
    rng = np.random.default_rng(0)
    anchors = grid_anchors(base_anchors((12, 30), dtype=np.float64), (6, 9), 10)
    scores, deltas = rng.normal(size=len(anchors)), rng.normal(0, 0.3, anchors.shape)
    options = {"pre_nms": pre_nms, "post_nms": post_nms, "nms_iou": nms_iou, "min_size": 9}
    boxes, kept_scores = propose(scores, deltas, anchors, IMAGE, **options)
    expected = slow_propose(scores, deltas, anchors, IMAGE, **options)
    np.testing.assert_array_equal(kept_scores, [scores[i] for i, _ in expected])
    np.testing.assert_allclose(boxes, [box for _, box in expected], rtol=0, atol=1e-11)


def test_propose_with_the_defaults_of_the_paper():
    rng = np.random.default_rng(1)
    anchors = grid_anchors(base_anchors(), (37, 62), 16)
    scores, deltas = rng.random(len(anchors), np.float32), rng.normal(0, 0.2, anchors.shape).astype(np.float32)
    boxes, kept = propose(scores, deltas, anchors, (600, 1000))
    assert len(boxes) == len(kept) == 2000 and boxes.dtype == kept.dtype == np.float32
    assert (np.diff(kept) <= 0).all()
    assert (boxes >= 0).all() and (boxes <= [1000, 600, 1000, 600]).all()
    assert np.triu(iou(boxes, boxes), 1).max() <= 0.7
    fewer, _ = propose(scores, deltas, anchors, (600, 1000), pre_nms=6000, post_nms=300)
    np.testing.assert_array_equal(fewer, boxes[:300])


def test_propose_drops_small_boxes_and_those_of_a_diverged_network():
    anchors = np.array(
        [[0, 0, 20, 20], [0, 0, 20, 15.9], [30, 0, 46, 16], [80, 0, 100, 20], [0, 30, 20, 50]], np.float32
    )
    deltas = np.zeros((5, 4), np.float32)
    deltas[4, 2] = np.nan
    scores = np.array([0.1, 0.9, 0.5, 0.8, 0.7], np.float32)  # the fourth is 10 wide after clipping
    boxes, kept = propose(scores, deltas, anchors, IMAGE)
    np.testing.assert_array_equal(boxes, anchors[[2, 0]])
    np.testing.assert_array_equal(kept, scores[[2, 0]])
    nothing, _ = propose(scores, deltas * np.nan, anchors, IMAGE)
    assert nothing.shape == (0, 4)


def scene(rng, n=400):
    """Proposals around three objects, and anywhere."""
    gt = np.array([[5, 5, 35, 40], [40, 10, 60, 30], [30, 35, 85, 55]], np.float32)
    near = gt[rng.integers(0, 3, n)] + rng.normal(0, 5, (n, 4))
    corner = rng.uniform(0, [60, 40], (n, 2))
    anywhere = np.concatenate([corner, corner + rng.uniform(5, 20, (n, 2))], axis=1)
    proposals = np.concatenate([near, anywhere]).astype(np.float32)
    return proposals[(proposals[:, 2:] > proposals[:, :2] + 1).all(axis=1)], gt, np.array([3, 1, 2])


def rows(boxes):
    return {tuple(box) for box in boxes.tolist()}


@pytest.mark.parametrize("objects, positive", [(1, 5), (40, 128)])
def test_256_anchors_are_128_and_128_or_more_negative_ones_where_positive_ones_lack(objects, positive):
    """Sec. 3.1.3: where an image has fewer than 128 positive ones, negative ones fill up the 256."""
    rows = 100 * np.arange(40, dtype=np.float32)
    gt = np.stack([0 * rows + 100, rows, 0 * rows + 150, rows + 50], axis=1)[:objects]
    shifts = np.array([0, 1, 2, 3, 4], np.float32)  # five anchors on each object
    on_objects = (gt[:, None] + shifts[:, None] * [1, 0, 1, 0]).reshape(-1, 4)
    off = np.stack([0 * rows + 400, rows, 0 * rows + 450, rows + 50], axis=1).repeat(10, axis=0)
    anchors = np.concatenate([on_objects, off]).astype(np.float32)
    labels, _ = anchor_targets(anchors, gt, (4000, 600), np.random.default_rng(0))
    assert (labels == 1).sum() == positive and (labels == 0).sum() == 256 - positive


@pytest.mark.parametrize("seed", range(5))
def test_sample_rois_by_the_rules(seed):
    rng = np.random.default_rng(seed)
    proposals, gt, gt_labels = scene(rng)
    rois, labels, deltas = sample_rois(proposals, gt, gt_labels, rng, num_classes=3)
    assert rois.shape == deltas.shape == (128, 4) and labels.shape == (128,)
    assert rois.dtype == deltas.dtype == np.float32 and labels.dtype == np.int64
    assert np.count_nonzero(labels) == 32 and (labels[:32] > 0).all()
    assert len(rows(rois)) == 128 and rows(rois) <= rows(proposals) | rows(gt)
    for roi, label, delta in zip(rois, labels, deltas):
        overlaps = iou(roi[None], gt)[0]
        if label:
            assert overlaps.max() >= 0.5 and label == gt_labels[overlaps.argmax()]
            target = encode(gt[overlaps.argmax()], roi)
            np.testing.assert_allclose(delta * (0.1, 0.1, 0.2, 0.2), target, rtol=1e-5, atol=1e-6)
        else:
            assert 0.1 <= overlaps.max() < 0.5 and (delta == 0).all()


def test_sample_rois_draws_at_random():
    proposals, gt, gt_labels = scene(np.random.default_rng(0))
    first, second, other = (
        sample_rois(proposals, gt, gt_labels, np.random.default_rng(s), num_classes=3)[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert len(rows(first[:32]) & rows(other[:32])) < 25  # foreground
    assert len(rows(first[32:]) & rows(other[32:])) < 75  # background


def test_sample_rois_at_the_thresholds_themselves():
    gt = np.array([[0, 0, 10, 10]], float)
    proposals = np.array([[0, 0, 10, 5], [0, 0, 10, 4.9], [0, 0, 10, 1], [0, 0, 10, 0.9]])
    rng = np.random.default_rng(0)
    rois, labels, _ = sample_rois(proposals, gt, np.array([1]), rng, num_classes=1, samples=4, foreground_fraction=0.5)
    assert labels.tolist() == [1, 1, 0, 0]
    assert rows(rois[:2]) == rows(gt) | rows(proposals[:1]) and rows(rois[2:]) == rows(proposals[1:3])
    assert len(sample_rois(proposals, gt, np.array([1]), rng, num_classes=1)[0]) == 5  # none twice


def test_sample_rois_normalises_targets():
    gt, roi = np.array([[20, 10, 60, 30]], float), np.array([[16, 8, 56, 32]], float)
    options = {"num_classes": 1, "delta_mean": (0.1, 0.2, 0.3, 0.4), "delta_std": (1, 2, 3, 4)}
    rois, labels, deltas = sample_rois(roi, gt, np.array([1]), np.random.default_rng(0), samples=8, **options)
    assert labels.tolist() == [1, 1] and rows(rois) == rows(roi) | rows(gt)
    raw = np.array([[4 / 40, -0.0 / 24, 0, np.log(20 / 24)], [0, 0, 0, 0]])
    expected = (raw - options["delta_mean"]) / options["delta_std"]
    np.testing.assert_allclose(deltas[np.argsort(rois[:, 0])], expected, atol=1e-15)


def test_sample_rois_takes_easy_background_when_there_is_too_little():
    gt = np.array([[0, 0, 20, 20]], np.float32)
    hard = np.array([[10, 0, 30, 20], [0, 10, 20, 30]], np.float32)  # IoU 1/3
    easy = np.array([[40 + i, 30, 60 + i, 50] for i in range(20)], np.float32)
    proposals = np.concatenate([easy, hard])
    rng = np.random.default_rng(0)
    rois, labels, _ = sample_rois(proposals, gt, np.array([1]), rng, num_classes=1, samples=8)
    assert labels.tolist() == [1] + [0] * 7 and rows(rois[1:3]) == rows(hard) and rows(rois[3:]) <= rows(easy)

    rois, labels, _ = sample_rois(proposals, gt, np.array([1]), rng, num_classes=1, samples=8, background_iou=(0, 0.5))
    assert labels.tolist() == [1] + [0] * 7

    rois, labels, _ = sample_rois(easy, gt, np.array([1]), rng, num_classes=1, samples=64)
    assert labels.tolist() == [1] + [0] * 20  # fewer than `samples`, none twice

    rois, labels, _ = sample_rois(
        proposals, gt, np.array([1]), rng, num_classes=1, samples=3, background_iou=(0.1, 0.3)
    )
    assert rows(rois[1:]) <= rows(easy)  # not those between background and foreground


def test_sample_rois_without_objects_without_proposals_without_either():
    proposals, gt, gt_labels = scene(np.random.default_rng(0))
    no_boxes, no_labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    rng = np.random.default_rng(0)
    rois, labels, deltas = sample_rois(proposals, no_boxes, no_labels, rng, num_classes=3)
    assert len(rois) == 128 and not labels.any() and not deltas.any()
    rois, labels, deltas = sample_rois(no_boxes, gt, gt_labels, rng, num_classes=3)
    assert rows(rois) == rows(gt) and sorted(labels.tolist()) == [1, 2, 3] and not deltas.any()
    rois, labels, deltas = sample_rois(no_boxes, gt, gt_labels, rng, num_classes=3, add_ground_truth=False)
    assert rois.shape == deltas.shape == (0, 4) and labels.shape == (0,)
    rois, labels, deltas = sample_rois(no_boxes, no_boxes, no_labels, rng, num_classes=3)
    assert rois.shape == deltas.shape == (0, 4) and labels.shape == (0,)


def test_sample_rois_without_the_ground_truth():
    proposals, gt, gt_labels = scene(np.random.default_rng(0))
    options = {"num_classes": 3, "samples": 10**4, "foreground_fraction": 1}
    with_it, _, _ = sample_rois(proposals, gt, gt_labels, np.random.default_rng(0), **options)
    without, _, _ = sample_rois(proposals, gt, gt_labels, np.random.default_rng(0), **options, add_ground_truth=False)
    assert len(with_it) == len(proposals) + 3 and rows(without) == rows(proposals)


BOX = np.array([[0, 0, 10, 10.0]])
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: propose(np.ones(2), BOX, BOX, IMAGE), r"propose: deltas must have shape \(A=2, 4\), got \(1, 4\)"),
        (lambda: propose(np.ones((1, 1)), BOX, BOX, IMAGE), r"propose: scores must have shape \(A\), got \(1, 1\)"),
        (lambda: sample_rois(BOX, BOX, np.array([4]), RNG, num_classes=3), r"gt_labels must lie in 1..3, got \[4\]"),
        (lambda: sample_rois(BOX, BOX, np.array([0]), RNG, num_classes=3), r"gt_labels must lie in 1..3, got \[0\]"),
        (lambda: sample_rois(BOX, BOX, np.array([1, 2]), RNG, num_classes=3), r"gt_labels must be integers .*\(2,\)"),
        (
            lambda: sample_rois(BOX, BOX * 0, np.array([1]), RNG, num_classes=3),
            r"sample_rois: gt_boxes must have x2 > x1",
        ),
        (lambda: sample_rois(BOX[0], BOX, np.array([1]), RNG, num_classes=3), r"proposals must have shape \(M, 4\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
