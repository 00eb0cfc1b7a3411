"""Mask R-CNN: Faster R-CNN with RoIAlign and a third branch, which predicts a mask for each region and class.

Reference: He et al. 2017, Mask R-CNN, arXiv:1703.06870.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import Conv2d, ConvTranspose2d, ReLU, Sequential, binary_cross_entropy_with_logits
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from vision.backbones import Backbone, small_vgg
from vision.boxes import iou
from vision.detection import faster_rcnn
from vision.detection.fast_rcnn import region_pooling
from vision.detection.faster_rcnn import FasterRCNN
from vision.instances.masks import mask_targets
from vision.instances.segmenter import InstanceSegmenter
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(faster_rcnn.SmallOptions):
    """For images of about 160 pixels, trained from random weights on a CPU; the paper's values in brackets."""

    short_side: int = 120  # pixels of the shorter side (800)
    max_side: int = 240  # pixels of the longer side at most
    anchor_scales: tuple[float, ...] = (14, 28, 56)  # sides of square anchors in pixels
    width: int = 16  # channels of the first convolution
    roi_samples: int = 64  # regions that the heads are trained on, per image (64 with one map, 512 with a pyramid)
    pooling: Literal["align", "pool", "warp"] = "align"  # of regions, for boxes and masks: RoIAlign, RoIPool, RoIWarp
    sampling_ratio: int = 2  # samples of RoIAlign in a bin along each axis (sec. 3: four of them)
    nms_iou: float = 0.5  # IoU above which NMS drops a detection
    mask_pooled: int = 14  # cells of a pooled region along each side, for the mask branch
    mask_convs: int = 2  # 3x3 convolutions of the mask branch (4)
    mask_channels: int = 48  # their channels (256)


class MaskHead(Layer):
    """pooled (P, C, m, m) -> mask logits (P, classes, 2 m, 2 m): 3x3 convolutions, one transposed, and one of 1x1.

    Each class has a mask of its own, so that classes do not compete: a sigmoid, not a softmax. Reference: fig. 4.
    """

    def __init__(self, in_channels: int, classes: int, options, *, rng: np.random.Generator):
        layers, channels = [], in_channels
        for _ in range(options.mask_convs):
            layers += [Conv2d(channels, options.mask_channels, 3, padding=1, rng=rng), ReLU()]
            channels = options.mask_channels
        layers += [ConvTranspose2d(channels, options.mask_channels, 2, 2, rng=rng), ReLU()]
        self.network = Sequential(*layers, Conv2d(options.mask_channels, classes, 1, rng=rng))

    def forward(self, x, training=True):
        return self.network.forward(x, training)

    def backward(self, dy, cache):
        return self.network.backward(dy, cache)


def mask_loss(logits, labels, targets):
    """The binary cross-entropy of the true class's mask, mean over its cells and the regions (sec. 3, "L_mask").

    logits (P, classes, m, m), labels (P,) in 1 .. classes, targets (P, m, m). -> value, gradient of the logits.
    """
    xp, region = array_module(logits), array_module(logits).arange(len(logits))
    own = logits[region, labels - 1]  # (P, m, m)
    value, down = binary_cross_entropy_with_logits(own, targets, normaliser=own.size)
    dlogits = xp.zeros_like(logits)  # the masks of other classes do not contribute
    dlogits[region, labels - 1] = down
    return value, dlogits


def mask_grids(logits, labels):
    """Probabilities (P, m, m) of the class that the box branch chose, from logits (P, classes, m, m)."""
    xp = array_module(logits)
    x = logits[xp.arange(len(logits)), labels - 1]
    e = xp.exp(-abs(x))  # cannot overflow
    return xp.where(x >= 0, 1, e) / (1 + e)


class Sampled(NamedTuple):
    """What a step samples before the losses: constants, no gradient goes through them."""

    regions: faster_rcnn.Sampled
    foreground: np.ndarray  # (P,): indices of the regions that are objects
    masks: np.ndarray  # (P, m, m): their targets


class Cache(NamedTuple):
    """From loss to backward: each part's cache, the gradients of the losses, and what was sampled."""

    backbone: Any
    rpn: Any
    pool: Any
    head: Any
    mask_pool: Any
    mask_head: Any
    drpn: tuple
    dhead: tuple
    dmasks: np.ndarray
    branch: Any
    sampled: Sampled


class MaskRCNN(InstanceSegmenter, FasterRCNN):
    """Faster R-CNN on one map, with RoIAlign in place of RoIPool, and the mask branch beside its head."""

    def __init__(self, classes, backbone: Backbone, options: Options, *, rng: np.random.Generator):
        super().__init__(classes, backbone, options, rng=rng)
        o, scale = options, 1 / backbone.stride
        self.roi_pool = region_pooling(o, o.pooled_size, scale, o.sampling_ratio)
        self.mask_align = region_pooling(o, o.mask_pooled, scale, o.sampling_ratio)
        self.mask_head = MaskHead(backbone.out_channels, len(self.classes), o, rng=rng)

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({rpn_cls, rpn_box, cls, box, mask}, cache). Only regions of objects have a mask."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        features, c_backbone = self.backbone.forward(images)
        rpn_out, c_rpn = self.rpn.forward(features)
        sampled = sampled or self.propose_and_sample(rpn_out, self.rpn.anchors(features), targets, rng)
        regions, fg = sampled.regions, sampled.foreground
        pooled, c_pool = self.roi_pool.forward(features, regions.rois, regions.image_index)
        head_out, c_head = self.head.forward(pooled)
        shapes, c_mask_pool = self.mask_align.forward(features, regions.rois[fg], regions.image_index[fg])
        mask_out, c_mask = self.masks(shapes)
        rpn_losses, drpn = self.rpn.loss(rpn_out, regions.anchor_labels, regions.anchor_deltas)
        head_losses, dhead = self.head.loss(head_out, regions.roi_labels, regions.roi_deltas)
        value, dmasks = mask_loss(mask_out, regions.roi_labels[fg], sampled.masks)
        more, c_branch = self.branch_loss(features, sampled)
        cache = Cache(c_backbone, c_rpn, c_pool, c_head, c_mask_pool, c_mask, drpn, dhead, dmasks, c_branch, sampled)
        return rpn_losses | head_losses | {"mask": value} | more, cache

    def backward(self, cache: Cache):
        """Add the gradients of the total loss to all parameters."""
        dshapes = self.mask_head.backward(cache.dmasks, cache.mask_head)
        dfeatures, _, _ = self.mask_align.backward(dshapes, cache.mask_pool)
        dpooled = self.head.backward(cache.dhead, cache.head)
        dfeatures = dfeatures + self.roi_pool.backward(dpooled, cache.pool)[0]  # features fork: gradients add up
        dfeatures = dfeatures + self.rpn.backward(cache.drpn, cache.rpn) + self.branch_backward(cache.branch)
        self.backbone.backward_parameters(dfeatures, cache.backbone)

    def branch_loss(self, features, sampled) -> tuple[dict, Any]:
        """(losses, cache) of a further branch on the features: none here."""
        return {}, None

    def branch_backward(self, cache):
        """The gradient that a further branch gives to the features."""
        return 0

    def masks(self, x, training=True):
        """(mask logits, cache) of pooled regions."""
        return self.mask_head.forward(x, training)

    def propose_and_sample(self, rpn_out, anchors, targets, rng) -> Sampled:
        """Faster R-CNN's samples, and the mask of each region that is an object: that of the box it overlaps most."""
        regions = super().propose_and_sample(rpn_out, anchors, targets, rng)
        xp = array_module(regions.rois)
        fg, size, masks = xp.flatnonzero(regions.roi_labels), 2 * self.options.mask_pooled, []
        for n, target in enumerate(targets):
            own = regions.rois[fg[regions.image_index[fg] == n]]
            if len(own):
                matched = iou(own, target["boxes"]).argmax(axis=1)
                masks.append(mask_targets(target["masks"], own, matched, size))
        none = xp.zeros((0, size, size), regions.rois.dtype)
        return Sampled(regions, fg, xp.concatenate([none, *masks]))

    def detections(self, features, rois, n: int, image_size: tuple[int, int]) -> dict:
        """Detections in the regions, then the masks of their boxes: boxes, labels, scores, mask_grids (D, m, m)."""
        found, xp = super().detections(features, rois, n, image_size), array_module(rois)
        shapes = self.mask_align(features, found["boxes"], xp.full(len(found["boxes"]), n, np.int64))
        logits, _ = self.masks(shapes, training=False)
        return found | {"mask_grids": mask_grids(logits, found["labels"])}


@register(
    "mask_rcnn_small", "instances", {"epochs": 12, "batch_size": 2, "lr": 0.01},
    options=Options, tiny=Tiny({
        "width": 2, "stride": 8, "hidden": 8, "anchor_scales": (16, 32), "anchor_samples": 32,
        "roi_samples": 16, "min_size": 2, "mask_pooled": 3, "mask_convs": 1, "mask_channels": 5,
    }),
    system="Mask R-CNN", paper="He et al. 2017, arXiv:1703.06870",
    figures="generated scenes: mask AP50 0.990, AP 0.843; nuclei: F1 of objects 0.825",
)  # fmt: skip
def mask_rcnn_small(classes, options: Options, rng) -> MaskRCNN:
    """On a narrow VGG with one map, as the paper's C4 variant has one."""
    options = replace(options, rpn_channels=options.rpn_channels or 8 * options.width)
    return MaskRCNN(classes, small_vgg(width=options.width, stride=options.stride, rng=rng), options, rng=rng)
