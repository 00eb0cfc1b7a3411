"""From the region proposal network to the detection head: proposals, and the sample of them it is trained on."""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from vision.detection.boxes import check_labels, check_positive_size, clip, decode, encode, iou, nms_among
from vision.detection.sampling import largest, shuffled


def propose(
    scores: np.ndarray,
    deltas: np.ndarray,
    anchors: np.ndarray,
    image_size: tuple[int, int],
    *,
    pre_nms: int = 12000,
    post_nms: int = 2000,
    nms_iou: float = 0.7,
    min_size: float = 16,
) -> tuple[np.ndarray, np.ndarray]:
    """Region proposals of one image, best first.

    Anchors moved by their deltas, clipped to the image; those narrower or lower than min_size pixels are dropped;
    the pre_nms best by score go through non-maximum suppression at nms_iou; the post_nms best of them are returned.

    scores (A,) objectness, a logit or a probability, deltas (A, 4), anchors (A, 4), image_size (h, w)
    -> boxes (M, 4), scores (M,), M <= post_nms, possibly 0. The defaults are those of training: nms_iou and post_nms
    from the paper, pre_nms and min_size from its code. For testing they are pre_nms = 6000, post_nms = 300.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.3
    """
    check_shape("propose", scores=(scores, ("A",)), deltas=(deltas, ("A", 4)), anchors=(anchors, ("A", 4)))
    boxes = clip(decode(deltas, anchors), image_size)
    # A comparison with NaN is False: boxes of a network that has diverged are dropped here, and its loss tells.
    large = (boxes[:, 2:] - boxes[:, :2] >= min_size).all(axis=1)
    keep = nms_among(large, boxes, scores, nms_iou, pre_nms=pre_nms, max_keep=post_nms)
    return boxes[keep], scores[keep]


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
    objects, or with good proposals only, still teaches something. The ground truth itself joins the proposals.

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
    highest, (low, high) = largest(overlap, axis=1), background_iou

    masks = highest >= foreground_iou, (highest >= low) & (highest < high), highest < low
    foreground, hard, easy = shuffled(masks, samples, rng)
    foreground = foreground[: int(samples * foreground_fraction)]
    background = xp.concatenate([hard, easy])[: samples - len(foreground)]

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
