"""Matching: targets of anchors and regions, and the sample of them that a step is trained on.

Pure functions of boxes and a random generator: no gradient goes through them.
"""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from vision.boxes.anchors import inside
from vision.boxes.boxes import check_labels, check_positive_size, encode, iou
from vision.boxes.sampling import largest, shuffled


def anchor_targets(
    anchors: np.ndarray,
    gt_boxes: np.ndarray,
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    positive_iou: float = 0.7,
    negative_iou: float = 0.3,
    samples: int = 256,
    positive_fraction: float = 0.5,
    border: float = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of the region proposal network at each anchor of one image.

    Positive (1): the anchor or anchors with the highest IoU with some ground-truth box, and every anchor with an
    IoU of positive_iou or more. Negative (0): below negative_iou with all boxes, and not positive. All others, and
    all anchors that cross the image boundary by more than `border` pixels, do not count (-1). At most
    samples * positive_fraction positives, then negatives up to `samples`, are drawn at random; the rest becomes -1.

    anchors (A, 4), gt_boxes (G, 4), G = 0 allowed, image_size (h, w) without padding
    -> labels (A,) int64, deltas (A, 4): `encode` of the box that the anchor overlaps most, 0 where not positive.
    Raises ValueError for ground truth of zero size.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1.2 (labels), 3.1.3 (sampling), 3.3 (boundary)
    """
    check_shape("anchor_targets", anchors=(anchors, ("A", 4)), gt_boxes=(gt_boxes, ("G", 4)))
    check_positive_size("anchor_targets", gt_boxes=gt_boxes)
    xp, is_inside = array_module(anchors), inside(anchors, image_size, border)
    labels = xp.full(len(anchors), -1, np.int64)
    deltas = xp.zeros_like(anchors)
    # A GPU takes all anchors, with overlap 0 for those outside: to list the ones inside would synchronise.
    candidates = np.flatnonzero(is_inside) if xp is np else xp.arange(len(anchors))
    is_inside = is_inside[candidates]
    overlap = iou(anchors[candidates], gt_boxes) * is_inside[:, None]
    highest = largest(overlap, axis=1)
    best_for_a_box = ((overlap == largest(overlap, axis=0)) & (overlap > 0)).any(axis=1)
    is_positive = is_inside & (best_for_a_box | (highest >= positive_iou))
    is_negative = is_inside & ~is_positive & (highest < negative_iou)

    positive, negative = shuffled([is_positive, is_negative], samples, rng)
    positive = positive[: int(samples * positive_fraction)]
    negative = negative[: samples - len(positive)]
    labels[candidates[positive]] = 1
    labels[candidates[negative]] = 0
    if len(positive):
        gt = overlap[positive].argmax(axis=1)
        deltas[candidates[positive]] = encode(gt_boxes[gt], anchors[candidates[positive]])
    return labels, deltas


def sample_rois(
    proposals: np.ndarray,
    gt_boxes: np.ndarray,
    gt_labels: np.ndarray,
    rng: np.random.Generator,
    *,
    num_classes: int,
    samples: int = 128,
    foreground_fraction: float = 0.25,
    foreground_iou: float = 0.5,
    background_iou: tuple[float, float] = (0.1, 0.5),
    delta_mean: Sequence[float] = (0, 0, 0, 0),
    delta_std: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
    add_ground_truth: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The RoIs of one image that the detection head is trained on, with their classes and regression targets.

    Each proposal belongs to the ground-truth box it overlaps most. Foreground: IoU >= foreground_iou, at most
    samples * foreground_fraction of them. Background: IoU in the interval background_iou = [low, high), to fill up to
    `samples`. Where the interval holds too few, proposals below it are taken too, so that an image without
    objects, or with good proposals only, still gives examples. The ground-truth boxes are added to the proposals.

    proposals (M, 4), gt_boxes (G, 4), gt_labels (G,) in 1..num_classes (background not counted); M = 0, G = 0 allowed
    -> rois (R, 4), labels (R,) int64, deltas (R, 4) = (encode(box, roi) - delta_mean) / delta_std, with R <= samples.
    Foreground comes first; the label and the deltas of background are 0.
    Raises ValueError for labels outside 1..num_classes and for ground truth of zero size.

    Reference: Girshick 2015, arXiv:1504.08083, sec. 2.3 (sampling: "Mini-batch sampling"; targets normalised)
    """
    check_shape("sample_rois", proposals=(proposals, ("M", 4)), gt_boxes=(gt_boxes, ("G", 4)))
    check_positive_size("sample_rois", gt_boxes=gt_boxes)
    check_labels("sample_rois", gt_boxes, num_classes, gt_labels=gt_labels)
    xp = array_module(proposals)
    rois = xp.concatenate([proposals, gt_boxes.astype(proposals.dtype)]) if add_ground_truth else proposals
    overlap = iou(rois, gt_boxes)
    foreground, background = choose_rois(overlap, rng, samples, foreground_fraction, foreground_iou, background_iou)
    chosen = xp.concatenate([foreground, background])
    labels = xp.zeros(len(chosen), np.int64)
    deltas = xp.zeros((len(chosen), 4), rois.dtype)
    if n := len(foreground):
        gt = overlap[foreground].argmax(axis=1)
        labels[:n] = gt_labels[gt]
        wanted = encode(gt_boxes[gt], rois[foreground]).astype(np.float64)
        for i, (mean, std) in enumerate(zip(delta_mean, delta_std)):
            deltas[:n, i] = (wanted[:, i] - mean) / std
    return rois[chosen], labels, deltas


def choose_rois(overlap, rng, samples: int, fraction: float, foreground_iou: float, background_iou):
    """The indices of foreground and background that sample_rois draws, from the overlap (M, G) with the objects."""
    highest, (low, high) = largest(overlap, axis=1), background_iou
    masks = highest >= foreground_iou, (highest >= low) & (highest < high), highest < low
    foreground, hard, easy = shuffled(masks, samples, rng)
    foreground = foreground[: int(samples * fraction)]
    return foreground, array_module(overlap).concatenate([hard, easy])[: samples - len(foreground)]
