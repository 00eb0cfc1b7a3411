"""Faster R-CNN small in PyTorch's tensor operations: the net, targets, proposals and sampling of vision.detection.

The random choices are drawn from the same NumPy generator, so that both sides train on the same regions.
"""

import torch
from torch import nn
from torch.nn import functional

from scripts.benchmarks.torch_regions import pool_regions, suppress
from vision.detection.faster_rcnn import FasterRCNN


class Detector(nn.Module):
    """With the weights' names and all options of `model`, a FasterRCNN."""

    def __init__(self, model: FasterRCNN):
        super().__init__()
        self.options = o = model.options
        self.classes, self.stride, k = len(model.classes), model.backbone.stride, len(model.rpn.base_anchors)
        self.base_anchors = torch.tensor(model.rpn.base_anchors)
        features = [counterpart(layer) for layer in model.backbone.body]
        self.backbone = nn.ModuleDict({"features": nn.Sequential(*features)})
        channels = model.backbone.out_channels
        self.rpn = nn.ModuleDict({
            "conv": nn.Conv2d(channels, o.rpn_channels, 3, padding=1),
            "cls_logits": nn.Conv2d(o.rpn_channels, 2 * k, 1),
            "bbox_pred": nn.Conv2d(o.rpn_channels, 4 * k, 1),
        })  # fmt: skip
        inputs = channels * o.pooled_size**2
        self.head = nn.ModuleDict({
            "classifier": nn.Sequential(
                nn.Linear(inputs, o.hidden), nn.ReLU(inplace=True), nn.Dropout(o.dropout),
                nn.Linear(o.hidden, o.hidden), nn.ReLU(inplace=True), nn.Dropout(o.dropout),
            ),
            "cls_score": nn.Linear(o.hidden, 1 + self.classes),
            "bbox_pred": nn.Linear(o.hidden, 4 * self.classes),
        })  # fmt: skip

    def loss(self, batch, rng):
        images, targets = batch
        features = self.backbone["features"](images)
        hidden = functional.relu(self.rpn["conv"](features), inplace=True)
        scores, deltas = (by_anchor(self.rpn[n](hidden), d) for n, d in (("cls_logits", 2), ("bbox_pred", 4)))
        with torch.no_grad():
            anchors = grid_anchors(self.base_anchors.to(images.device), features.shape[2:], self.stride)
            of_anchors, rois, index, of_regions = self.choose(anchors, scores, deltas, targets, rng)
        pooled = pool_regions(features, rois, index, 1 / self.stride, self.options.pooled_size)
        hidden = self.head["classifier"](pooled.flatten(1))
        logits, box = self.head["cls_score"](hidden), self.head["bbox_pred"](hidden).reshape(len(rois), -1, 4)
        return self.rpn_losses(scores, deltas, *of_anchors) | head_losses(logits, box, *of_regions)

    def rpn_losses(self, scores, deltas, labels, targets):
        o, positive = self.options, labels == 1
        cls = functional.cross_entropy(scores.reshape(-1, 2), labels.reshape(-1), ignore_index=-1)
        box = functional.smooth_l1_loss(deltas[positive], targets[positive], reduction="sum", beta=o.rpn_beta)
        return {"rpn_cls": cls, "rpn_box": box * o.rpn_lambda / (labels.numel() // len(self.base_anchors))}

    def choose(self, anchors, scores, deltas, targets, rng):
        """What FasterRCNN.propose_and_sample decides: labels and deltas of anchors, regions and their labels."""
        of_anchors, of_regions = [], []
        for score, delta, target in zip(scores, deltas, targets):
            proposals = self.propose(score[:, 1] - score[:, 0], delta, anchors, target["image_size"])
            of_anchors.append(self.anchor_targets(anchors, target["boxes"], target["image_size"], rng))
            of_regions.append(self.sample(proposals, target["boxes"], target["labels"], rng))
        rois, labels, roi_deltas = (torch.cat(parts) for parts in zip(*of_regions))
        counts = torch.tensor([len(part[0]) for part in of_regions], device=rois.device)
        index = torch.arange(len(targets), device=rois.device).repeat_interleave(counts)
        return [torch.stack(parts) for parts in zip(*of_anchors)], rois, index, (labels, roi_deltas)

    def propose(self, scores, deltas, anchors, image_size):
        o = self.options
        boxes = clip(decode(deltas, anchors), image_size)
        large = (boxes[:, 2:] - boxes[:, :2] >= o.min_size).all(dim=1).nonzero()[:, 0]
        top = large[scores[large].argsort(descending=True, stable=True)[: o.train_pre_nms]]
        return boxes[top[suppress(boxes[top], scores[top], o.proposal_nms_iou, o.train_post_nms)]]

    def anchor_targets(self, anchors, boxes, image_size, rng):
        o, (h, w) = self.options, image_size
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

    def sample(self, proposals, boxes, classes, rng):
        o, rois = self.options, torch.cat([proposals, boxes])
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


def head_losses(logits, deltas, labels, targets):
    positive = labels.nonzero()[:, 0]
    box = functional.smooth_l1_loss(deltas[positive, labels[positive] - 1], targets[positive], reduction="sum")
    return {"cls": functional.cross_entropy(logits, labels), "box": box / max(len(logits), 1)}


def counterpart(layer) -> nn.Module:
    """PyTorch's layer for one of the backbone's."""
    kind = type(layer).__name__
    if kind == "Conv2d":
        return nn.Conv2d(layer.in_channels, layer.out_channels, layer.geometry.kernel, padding=layer.geometry.padding)
    if kind == "BatchNorm2d":
        return nn.BatchNorm2d(layer.num_features)
    return nn.ReLU(inplace=True) if kind == "ReLU" else nn.MaxPool2d(layer.geometry.kernel)


def drawn(mask, rng, limit=None):
    """The indices where the mask holds, in random order, at most `limit` of them."""
    found = mask.nonzero()[:, 0]
    return found[torch.as_tensor(rng.permutation(len(found)), device=mask.device)[:limit]]


def by_anchor(y, numbers):
    """(N, k * numbers, H, W) -> (N, H * W * k, numbers)."""
    n, _, h, w = y.shape
    return y.reshape(n, -1, numbers, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, numbers)


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
    centre = deltas[:, :2] * size + centre
    half = deltas[:, 2:].clamp(max=4.135166556742356).exp() * size / 2  # log(1000 / 16)
    return torch.cat([centre - half, centre + half], dim=1)


def centre_and_size(boxes):
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def clip(boxes, size):
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([size[1], size[0]] * 2))
