"""Faster R-CNN small in PyTorch's tensor operations: the net, targets, proposals and sampling of vision.detection.

`m` is the Mirror of a FasterRCNN, `o` its options. The random choices are drawn from the same NumPy generator, so that
both sides train on the same regions.
"""

import torch
from torch.nn import functional

from scripts.benchmarks.torch_layers import nms


def loss(m, batch, rng):
    (images, targets), o, stride = batch, m.layer.options, m.layer.rpn.stride
    features = m.backbone.features(images)
    hidden = functional.relu(m.rpn.conv(features), inplace=True)
    scores, deltas = by_anchor(m.rpn.cls_logits(hidden), 2), by_anchor(m.rpn.bbox_pred(hidden), 4)
    with torch.no_grad():
        anchors = grid_anchors(torch.tensor(m.layer.rpn.base_anchors, device=images.device), features.shape[2:], stride)
        (anchor_labels, anchor_deltas), rois, index, (labels, box_deltas) = choose(
            o, anchors, scores, deltas, targets, rng
        )
    hidden = m.head.classifier(m.roi_pool(features, rois, index).flatten(1))
    logits, box = m.head.cls_score(hidden), m.head.bbox_pred(hidden).reshape(len(rois), -1, 4)

    positive, locations = anchor_labels == 1, anchor_labels.numel() // len(m.layer.rpn.base_anchors)
    rpn_box = smooth_l1(deltas[positive], anchor_deltas[positive], o.rpn_beta) * o.rpn_lambda / locations
    positive = labels.nonzero()[:, 0]
    head_box = smooth_l1(box[positive, labels[positive] - 1], box_deltas[positive]) / max(len(rois), 1)
    return {
        "rpn_cls": functional.cross_entropy(scores.reshape(-1, 2), anchor_labels.reshape(-1), ignore_index=-1),
        "rpn_box": rpn_box, "cls": functional.cross_entropy(logits, labels), "box": head_box,
    }  # fmt: skip


def predict(m, images):
    """boxes, labels and scores of each image, one after the other: what FasterRCNN.predict finds."""
    o, size, found = m.layer.options, images.shape[2:], []
    features = m.backbone.features(images)
    hidden = functional.relu(m.rpn.conv(features), inplace=True)
    scores, deltas = by_anchor(m.rpn.cls_logits(hidden), 2), by_anchor(m.rpn.bbox_pred(hidden), 4)
    base = torch.tensor(m.layer.rpn.base_anchors, device=images.device)
    anchors = grid_anchors(base, features.shape[2:], m.layer.rpn.stride)
    for n, (score, delta) in enumerate(zip(scores, deltas)):
        proposed = score[:, 1] - score[:, 0], delta, anchors, size, o.test_pre_nms, o.test_post_nms
        rois = propose(o, *proposed)
        hidden = m.head.classifier(m.roi_pool(features, rois, torch.full((len(rois),), n)).flatten(1))
        found += detections(o, m.head.cls_score(hidden), m.head.bbox_pred(hidden), rois, size)
    return tuple(found)


def detections(o, logits, deltas, rois, size):
    """boxes, labels, scores of one image."""
    scores = logits.softmax(dim=1)[:, 1:].flatten()
    deltas = deltas.reshape(len(rois), -1, 4) * deltas.new_tensor(o.delta_std)
    boxes = clip(decode(deltas, rois[:, None].expand_as(deltas)).reshape(-1, 4), size)
    kept = (scores >= o.score_threshold).nonzero()[:, 0]
    labels = torch.arange(len(boxes), device=rois.device) % (logits.shape[1] - 1) + 1
    apart = boxes[kept] + (labels[kept] * (max(size) + 1))[:, None]  # boxes of two classes do not overlap
    kept = kept[nms(apart, scores[kept], o.nms_iou, o.detections_per_image)]
    return boxes[kept], labels[kept], scores[kept]


def smooth_l1(prediction, target, beta=1.0):
    return functional.smooth_l1_loss(prediction, target, reduction="sum", beta=beta)


def choose(o, anchors, scores, deltas, targets, rng):
    """What FasterRCNN.propose_and_sample decides: labels and deltas of anchors, regions and their labels."""
    of_anchors, of_regions = [], []
    for score, delta, target in zip(scores, deltas, targets):
        proposed = score[:, 1] - score[:, 0], delta, anchors, target["image_size"]
        proposals = propose(o, *proposed, o.train_pre_nms, o.train_post_nms)
        of_anchors.append(anchor_targets(o, anchors, target["boxes"], target["image_size"], rng))
        of_regions.append(sample(o, proposals, target["boxes"], target["labels"], rng))
    rois, labels, roi_deltas = (torch.cat(parts) for parts in zip(*of_regions))
    counts = torch.tensor([len(part[0]) for part in of_regions], device=rois.device)
    index = torch.arange(len(targets), device=rois.device).repeat_interleave(counts)
    return [torch.stack(parts) for parts in zip(*of_anchors)], rois, index, (labels, roi_deltas)


def propose(o, scores, deltas, anchors, image_size, pre_nms, post_nms):
    boxes = clip(decode(deltas, anchors), image_size)
    large = (boxes[:, 2:] - boxes[:, :2] >= o.min_size).all(dim=1).nonzero()[:, 0]
    top = large[scores[large].argsort(descending=True, stable=True)[:pre_nms]]
    return boxes[top[nms(boxes[top], scores[top], o.proposal_nms_iou, post_nms)]]


def anchor_targets(o, anchors, boxes, image_size, rng):
    h, w = image_size
    labels = torch.full((len(anchors),), -1, device=anchors.device)
    deltas = torch.zeros_like(anchors)
    limit = anchors.new_tensor([w, h])
    inside = ((anchors[:, :2] >= 0).all(dim=1) & (anchors[:, 2:] <= limit).all(dim=1)).nonzero()[:, 0]
    overlap = iou(anchors[inside], boxes)
    highest, best = overlap.max(dim=1)
    best_for_a_box = ((overlap == overlap.max(dim=0).values) & (overlap > 0)).any(dim=1)
    is_positive = best_for_a_box | (highest >= o.positive_iou)
    positive = drawn(is_positive, rng, int(o.anchor_samples * o.anchor_positive_fraction))
    negative = drawn(~is_positive & (highest < o.negative_iou), rng, o.anchor_samples - len(positive))
    labels[inside[negative]] = 0
    labels[inside[positive]] = 1
    deltas[inside[positive]] = encode(boxes[best[positive]], anchors[inside[positive]])
    return labels, deltas


def sample(o, proposals, boxes, classes, rng):
    rois = torch.cat([proposals, boxes])
    highest, best = iou(rois, boxes).max(dim=1)
    foreground = drawn(highest >= o.foreground_iou, rng, int(o.roi_samples * o.foreground_fraction))
    low, high = o.background_iou
    hard = drawn((highest >= low) & (highest < high), rng)
    easy = drawn(highest < low, rng)
    chosen = torch.cat([foreground, torch.cat([hard, easy])[: o.roi_samples - len(foreground)]])
    labels = torch.zeros(len(chosen), dtype=torch.long, device=rois.device)
    deltas = rois.new_zeros(len(chosen), 4)
    labels[: len(foreground)] = classes[best[foreground]]
    target = encode(boxes[best[foreground]], rois[foreground])
    deltas[: len(foreground)] = target / target.new_tensor(o.delta_std)
    return rois[chosen], labels, deltas


def drawn(mask, rng, limit=None):
    """The indices where the mask holds, in random order, at most `limit` of them."""
    found = mask.nonzero()[:, 0]
    return found[torch.as_tensor(rng.permutation(len(found)), device=mask.device)[:limit]]


def by_anchor(y, each):
    """(N, k * each, H, W) -> (N, H * W * k, each)."""
    n, _, h, w = y.shape
    return y.reshape(n, -1, each, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, each)


def grid_anchors(base, size, stride):
    y, x = ((torch.arange(n, device=base.device) + 0.5) * stride for n in size)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return (torch.stack([x, y, x, y], dim=-1)[:, :, None] + base).reshape(-1, 4)


def iou(a, b):
    corner = torch.maximum(a[:, None, :2], b[:, :2])
    size = (torch.minimum(a[:, None, 2:], b[:, 2:]) - corner).clamp(min=0)
    shared = size[..., 0] * size[..., 1]
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b))
    return shared / (area_a[:, None] + area_b - shared)


def encode(boxes, anchors):
    centre, size = centre_and_size(boxes)
    from_centre, from_size = centre_and_size(anchors)
    return torch.cat([(centre - from_centre) / from_size, torch.log(size / from_size)], dim=1)


def decode(deltas, anchors):
    centre, size = centre_and_size(anchors)
    centre = deltas[..., :2] * size + centre
    half = deltas[..., 2:].clamp(max=4.135166556742356).exp() * size / 2  # log(1000 / 16)
    return torch.cat([centre - half, centre + half], dim=-1)


def centre_and_size(boxes):
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def clip(boxes, size):
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([size[1], size[0]] * 2))
