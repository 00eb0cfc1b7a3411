"""Multi-task network cascades: boxes, then a mask for each box, then a class for each mask, all on shared features.

    stage 1: boxes by an RPN, whatever the class              L1
    stage 2: a mask for each box                              L2, of the boxes
    stage 3: a class for each box and its mask                L3, of the boxes and masks
    stages 4 and 5: 2 and 3 again, on the boxes that stage 3 has moved

The gradient of L2 and L3 reaches the coordinates of the boxes, and so the RPN and stage 3, through RoI warping. Which
boxes are taken, and what they should become, are constants.

Reference: Dai et al. 2016, arXiv:1512.04412 (v1). Not as there: box_gradient is 0.1, since a network with random
weights learns to move all boxes away from objects, where they are easily told to be background, faster than the RPN's
own loss moves them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import binary_cross_entropy_with_logits, smooth_l1, softmax, softmax_cross_entropy
from nn.dispatch import array_module
from nn.gpu.device import to_device
from nn.layer import check_shape
from vision.backbones import Backbone, small_vgg
from vision.backbones.alexnet import OnAlexNet
from vision.boxes import RPN
from vision.boxes.boxes import clip, decode, decode_backward
from vision.boxes.nms import nms
from vision.instances import mask_rcnn
from vision.instances.cascade import MasksAndClasses, StageOutputs
from vision.instances.mask_rcnn_published import published_backbone
from vision.instances.mask_voting import vote
from vision.instances.mnc_targets import Chosen, Sampled, Wanted, sample_regions, stage_targets
from vision.instances.segmenter import InstanceSegmenter
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(mask_rcnn.Options, OnAlexNet):
    """For images of about 160 pixels, trained from random weights on a CPU."""

    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "small_vgg"  # the others up to conv5, at stride 16
    frozen: str | None = None  # stage of the published ones up to which nothing is trained: pool2, conv5, ...
    cascade: Literal[3, 5] = 5  # stages
    mask_hidden: int = 256  # units below the mask of a box (sec. 3.2)
    pooling: Literal["align", "pool", "warp"] = "align"  # not used: regions are warped
    pooled_size: int = 7  # not used: see mask_pooled
    rounding: Literal["caffe", "split"] = "caffe"  # not used: regions are warped
    sampling_ratio: int = 2  # not used: regions are warped
    dropout: float = 0.0  # not used: there is none
    mask_convs: int = 2  # not used: masks are made by mask_hidden units
    mask_channels: int = 48  # not used: masks are made by mask_hidden units
    nms_iou: float = 0.3  # IoU above which NMS drops a detection
    vote_iou: float = 0.5  # IoU from which on the mask of a dropped detection votes; above 1 none does
    box_gradient: float = 0.1  # times the gradient of L2 and L3 by the boxes' coordinates; the paper's 1, constants: 0


class Cache(NamedTuple):
    """From loss to backward: caches of the layers, the boxes before clipping, and the gradients of the losses."""

    backbone: Any
    rpn: Any
    anchors: np.ndarray
    deltas: np.ndarray
    passes: list[tuple]  # (cache of stages 2 and 3, boxes (R, 4), before clipping, gradients of the outputs)
    outputs: list[StageOutputs]
    drpn: tuple
    sampled: Sampled


class MNC(InstanceSegmenter):
    """images (N, 3, H, W) to boxes, classes and masks, by three or five stages."""

    def __init__(self, classes: Sequence[str], backbone: Backbone, options: Options, *, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        self.backbone, self.std = backbone, np.array(options.delta_std, np.float32)
        self.rpn = RPN(backbone.out_channels, backbone.stride, options, rng=rng)
        self.head = MasksAndClasses(backbone.out_channels, len(self.classes), backbone.stride, options, rng=rng)

    @property
    def rounds(self) -> int:
        """How often stages 2 and 3 are passed."""
        return (self.options.cascade - 1) // 2

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({rpn_cls, rpn_box, mask, cls, box, and mask2, cls2, box2 of stages 4 and 5}, cache)."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        features, c_backbone = self.backbone.forward(images)
        (scores, deltas), c_rpn = self.rpn.forward(features)
        anchors, new = self.rpn.anchors(features), sampled is None
        if new:
            sampled = sample_regions(self.rpn, scores, deltas, anchors, targets, rng)
        losses, drpn = self.rpn.loss((scores, deltas), sampled.anchor_labels, sampled.anchor_deltas)
        chosen, passes, all_outputs = sampled.chosen, [], []
        free = self.first_boxes(deltas, anchors, chosen)
        for k in range(self.rounds):
            boxes = within(free, chosen.limit)
            outputs, cache = self.head.forward(features, boxes, chosen.image_index)
            if new:
                how = self.options.foreground_iou, self._std(boxes), self.head.side
                sampled.wanted.append(stage_targets(boxes, outputs.logits, chosen.image_index, targets, *how))
            more, dy = self.losses(outputs, sampled.wanted[k])
            losses |= {name + (str(k + 1) if k else ""): value for name, value in more.items()}
            passes.append((cache, boxes, free, dy))
            all_outputs.append(outputs)
            free = self.moved(outputs.deltas, boxes, sampled.wanted[k].moved)
        return losses, Cache(c_backbone, c_rpn, anchors, deltas, passes, all_outputs, drpn, sampled)

    def backward(self, cache: Cache):
        """Add the gradients of all losses to all parameters."""
        xp, chosen, dfeatures, dfree = array_module(cache.deltas), cache.sampled.chosen, 0, None
        for k in reversed(range(self.rounds)):
            c_head, boxes, free, dy = cache.passes[k]
            through = 0  # by the boxes of the next pass
            if dfree is not None:
                ddeltas, through = self.moved_backward(dfree, cache.outputs[k].deltas, boxes, cache.sampled.wanted[k])
                dy = dy._replace(deltas=dy.deltas + ddeltas)
            df, dboxes = self.head.backward(dy, c_head)
            dfeatures = dfeatures + df  # features fork: gradients add up
            dfree = (dboxes + through) * ((free.real > 0) & (free.real < chosen.limit))  # clipped sides stay
            dfree = self.options.box_gradient * dfree
        dscores, ddeltas = cache.drpn
        own = xp.flatnonzero(chosen.anchor >= 0)  # the others are the objects' own boxes
        at = chosen.image_index[own], chosen.anchor[own]
        moved, _ = decode_backward(dfree[own], cache.deltas[at], cache.anchors[at[1]])
        ddeltas = ddeltas.copy()
        ddeltas[at] += moved  # no anchor is chosen twice
        dfeatures = dfeatures + self.rpn.backward((dscores, ddeltas), cache.rpn)
        self.backbone.backward_parameters(dfeatures, cache.backbone)  # nobody wants the gradient of the images

    def first_boxes(self, deltas, anchors, chosen: Chosen):
        """(R, 4): the chosen anchors moved by their deltas (N, A, 4), not clipped; objects' own boxes as they are."""
        xp = array_module(deltas)
        at = xp.maximum(chosen.anchor, 0)
        boxes = decode(deltas[chosen.image_index, at], anchors[at])
        return xp.where(chosen.anchor[:, None] >= 0, boxes, chosen.box.astype(boxes.dtype))

    def moved(self, deltas, boxes, label):
        """(R, 4): boxes moved by the deltas (R, classes, 4) of a class (R,), not clipped."""
        return decode(deltas[array_module(deltas).arange(len(boxes)), label] * self._std(deltas), boxes)

    def moved_backward(self, dfree, deltas, boxes, wanted: Wanted):
        """(ddeltas (R, classes, 4), dboxes (R, 4))."""
        xp, std = array_module(deltas), self._std(deltas)
        at = xp.arange(len(boxes)), wanted.moved
        down, dboxes = decode_backward(dfree, deltas[at] * std, boxes)
        ddeltas = xp.zeros_like(deltas)
        ddeltas[at] = down * std
        return ddeltas, dboxes

    def losses(self, outputs: StageOutputs, wanted: Wanted):
        """({mask, cls, box}, gradients of the outputs): L2 on boxes with an object, L3 on all of them."""
        xp, fg = array_module(outputs.logits), wanted.foreground
        own = outputs.mask_logits[fg]
        mask, down = binary_cross_entropy_with_logits(own, wanted.masks, normaliser=own.size)
        dmasks = xp.zeros_like(outputs.mask_logits)
        dmasks[fg] = down
        cls, dlogits = softmax_cross_entropy(outputs.logits, wanted.labels)
        own_class = wanted.labels[:, None] == xp.arange(1, 1 + len(self.classes))
        target = xp.broadcast_to(wanted.deltas[:, None], outputs.deltas.shape)
        weights, count = own_class[..., None], len(outputs.logits)
        box, ddeltas = smooth_l1(outputs.deltas, target, 1.0, weights, normaliser=count)
        return {"mask": mask, "cls": cls, "box": box}, StageOutputs(dmasks, dlogits, ddeltas)

    def predict(self, images, image_sizes=None) -> list[dict]:
        """boxes, labels, scores and masks (D, h, w) bool of each image, on the CPU; image_sizes [(h, w), ...] where
        padded."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        features, sizes, found = self.backbone(images), image_sizes or [images.shape[2:]] * len(images), []
        scores, deltas = self.rpn(features)
        anchors = self.rpn.anchors(features)
        for n, size in enumerate(sizes):
            boxes = self.rpn.propose(scores[n], deltas[n], anchors, size, training=False)
            found.append(self.detections(*to_device(self.candidates(features, boxes, n, size), "cpu"), size))
        return found

    def candidates(self, features, boxes, n: int, size: tuple[int, int]):
        """boxes (I, 4), scores (I, classes) and masks (I, m, m) of image n, from the RPN's boxes (M, 4): those of
        stage 3, and those of stage 5 on the boxes that stage 3 has moved ("Inference")."""
        xp, found = array_module(boxes), []
        for _ in range(self.rounds):
            outputs = self.head(features, boxes, xp.full(len(boxes), n, np.int64))
            masks = 1 / (1 + xp.exp(-xp.clip(outputs.mask_logits, -50, 50)))
            found.append((boxes, softmax(outputs.logits, axis=1)[:, 1:], masks))
            boxes = clip(self.moved(outputs.deltas, boxes, outputs.logits[:, 1:].argmax(axis=1)), size)
        return tuple(map(xp.concatenate, zip(*found)))

    def detections(self, boxes, scores, grids, size: tuple[int, int]) -> dict:
        """The instances among the candidates, after NMS by class and mask voting."""
        o = self.options
        sure = np.flatnonzero(scores.ravel() >= o.score_threshold)
        candidate, label = np.divmod(sure, len(self.classes))
        boxes, labels, scores, grids = boxes[candidate], label + 1, scores.ravel()[sure], grids[candidate]
        kept = nms(boxes, scores, o.nms_iou, labels, max_keep=o.detections_per_image)
        masks = vote(kept, boxes, labels, scores, grids, size, o.vote_iou)
        return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept], "masks": masks}

    def dense(self, images) -> dict[str, np.ndarray]:
        """The features, and the RPN's scores (N, A, 2) and deltas (N, A, 4)."""
        features = self.backbone(images)
        scores, deltas = self.rpn(features)
        return {"features": features, "rpn_scores": scores, "rpn_deltas": deltas}

    def _std(self, like):
        return array_module(like).asarray(self.std, like.real.dtype)


def within(boxes, limit):
    """Boxes (R, 4) clipped to 0 .. limit (R, 4); comparisons look at the real part."""
    xp = array_module(boxes)
    return xp.where(boxes.real < 0, 0, xp.where(boxes.real > limit, limit, boxes))


@register(
    "mnc_small", "instances", {"epochs": 12, "batch_size": 2, "lr": 0.01},
    options=Options, tiny=Tiny({
        "width": 2, "stride": 8, "hidden": 6, "anchor_scales": (16, 32), "anchor_samples": 32, "roi_samples": 8,
        "min_size": 2, "mask_pooled": 4, "mask_hidden": 5, "box_gradient": 1.0,
    }),
    system="Multi-task network cascades", paper="Dai et al. 2016, arXiv:1512.04412",
    figures="generated scenes: mask AP50 0.994, AP 0.780",
)  # fmt: skip
def mnc_small(classes, options: Options, rng) -> MNC:
    """On a narrow VGG, or on the published convolutions of AlexNet or VGG-16."""
    options = replace(options, rpn_channels=options.rpn_channels or 8 * options.width)
    if options.backbone == "small_vgg":
        return MNC(classes, small_vgg(width=options.width, stride=options.stride, rng=rng), options, rng=rng)
    model = MNC(classes, published_backbone(options, rng), options, rng=rng)
    model.needs_weights = options.frozen is not None
    return model
