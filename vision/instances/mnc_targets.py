"""What the stages of a multi-task network cascade are trained on: constants, no gradient goes through them.

Reference: Dai et al. 2016, arXiv:1512.04412, sec. 3 and "Implementation details".
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module
from vision.boxes import RPN, iou
from vision.boxes.boxes import clip, decode, encode
from vision.boxes.matching import choose_rois
from vision.boxes.rpn import best_boxes
from vision.detection.faster_rcnn import stacked
from vision.instances.masks import mask_targets


class Chosen(NamedTuple):
    """The regions of a step: which anchor of its image each comes from, or -1 for an object's own box."""

    anchor: np.ndarray  # (R,)
    image_index: np.ndarray  # (R,)
    box: np.ndarray  # (R, 4): the object's box where anchor is -1
    limit: np.ndarray  # (R, 4): width and height of its image, twice


class Wanted(NamedTuple):
    """What stages 2 and 3 should say of boxes (R, 4)."""

    labels: np.ndarray  # (R,), 0 for background
    deltas: np.ndarray  # (R, 4), normalised
    foreground: np.ndarray  # (P,): indices of the boxes with an object
    masks: np.ndarray  # (P, m, m)
    moved: np.ndarray  # (R,): the class whose deltas move the box for the next stage


class Sampled(NamedTuple):
    """Constants of a step."""

    anchor_labels: np.ndarray
    anchor_deltas: np.ndarray
    chosen: Chosen
    wanted: list[Wanted]  # of each pass


def sample_regions(rpn: RPN, scores, deltas, anchors, targets, rng: np.random.Generator) -> Sampled:
    """Targets of the anchors (A, 4), and the regions that the later stages are trained on, from the RPN's scores
    (N, A, 2) and deltas (N, A, 4)."""
    o, xp, of_anchors, regions = rpn.options, array_module(scores), [], []
    for n, target in enumerate(targets):
        of_anchors.append(rpn.match(anchors, target, rng))
        objectness, size = scores[n, :, 1] - scores[n, :, 0], target["image_size"]
        boxes = clip(decode(deltas[n], anchors), size)
        limits = o.train_pre_nms, o.train_post_nms, o.proposal_nms_iou, o.min_size
        kept = best_boxes(objectness, boxes, *limits)
        candidates = xp.concatenate([boxes[kept], target["boxes"].astype(boxes.dtype)])
        index = xp.concatenate([kept, xp.full(len(target["boxes"]), -1, np.int64)])
        how = o.roi_samples, o.foreground_fraction, o.foreground_iou, o.background_iou
        picked = xp.concatenate(choose_rois(iou(candidates, target["boxes"]), rng, *how))
        limit = xp.broadcast_to(xp.asarray([size[1], size[0]] * 2, boxes.dtype), (len(picked), 4))
        of_image = xp.full(len(picked), n, np.int64)
        regions.append((index[picked], of_image, candidates[picked], limit))
    return Sampled(*stacked(of_anchors), Chosen(*(xp.concatenate(each) for each in zip(*regions))), [])


def stage_targets(boxes, logits, image_index, targets, foreground_iou: float, std, side: int) -> Wanted:
    """The object that each box (R, 4) overlaps most, from an IoU of foreground_iou on: class, deltas divided by std
    (4,), and mask of side x side cells. logits (R, 1 + classes): the likeliest class moves the box.
    """
    xp = array_module(boxes)
    labels, deltas = xp.zeros(len(boxes), np.int64), xp.zeros_like(boxes)
    foreground, masks = [xp.zeros(0, np.int64)], [xp.zeros((0, side, side), boxes.dtype)]
    for n, target in enumerate(targets):
        own = xp.flatnonzero(image_index == n)
        if not len(target["boxes"]) or not len(own):
            continue
        overlap = iou(boxes[own], target["boxes"])
        fg = own[overlap.max(axis=1) >= foreground_iou]
        gt = iou(boxes[fg], target["boxes"]).argmax(axis=1)
        labels[fg] = target["labels"][gt]
        deltas[fg] = encode(target["boxes"][gt], boxes[fg]) / std
        foreground.append(fg)
        if len(fg):
            masks.append(mask_targets(target["masks"], boxes[fg], gt, side).astype(boxes.dtype))
    return Wanted(labels, deltas, xp.concatenate(foreground), xp.concatenate(masks), logits[:, 1:].argmax(axis=1))
