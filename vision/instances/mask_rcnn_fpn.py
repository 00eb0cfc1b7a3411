"""Mask R-CNN on a feature pyramid: the paper's ResNet-50-FPN, under torchvision's names, and a small one.

Reference: He et al. 2017, Mask R-CNN, arXiv:1703.06870; Lin et al. 2017, arXiv:1612.03144. Its detector is that of
vision/detection/faster_rcnn_fpn.py.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from nn import Conv2d, ConvTranspose2d, ReLU, Sequential
from nn.dispatch import array_module
from vision.boxes.pyramid import PyramidAlign
from vision.detection import faster_rcnn_fpn
from vision.detection.faster_rcnn_fpn import BoxHeads, FasterRCNNFPN, Named
from vision.instances.mask_rcnn import Cache, MaskRCNN
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(faster_rcnn_fpn.Options):
    """The paper's; where it is silent, torchvision's."""

    mask_pooled: int = 14  # cells of a pooled region along each side, for the mask branch
    mask_convs: int = 4  # 3x3 convolutions of the mask branch
    mask_channels: int = 256  # their channels


class RoIHeads(BoxHeads):
    """The branches of regions: boxes as BoxHeads, masks by convolutions.

    As in torchvision, masks have a channel for the background, too, which nothing uses.
    """

    def __init__(self, channels: int, classes: int, options, *, rng: np.random.Generator):
        super().__init__(channels, classes, options, rng=rng)
        o, widths = options, [channels] + options.mask_convs * [options.mask_channels]
        pairs = pairwise(widths)
        self.mask_head = Sequential(*(Sequential(Conv2d(a, b, 3, padding=1, rng=rng), ReLU()) for a, b in pairs))
        conv5 = ConvTranspose2d(widths[-1], o.mask_channels, 2, 2, rng=rng)
        self.mask_predictor = Named(conv5_mask=conv5, mask_fcn_logits=Conv2d(o.mask_channels, 1 + classes, 1, rng=rng))

    def masks(self, x, training=True):
        """((P, classes, 2 m, 2 m) logits, cache) of pooled regions (P, C, m, m)."""
        y, c_head = self.mask_head.forward(x, training)
        y, c_conv5 = self.mask_predictor.conv5_mask.forward(y, training)
        y, c_relu = self.relu.forward(y, training)
        y, c_logits = self.mask_predictor.mask_fcn_logits.forward(y, training)
        return y[:, 1:], (c_head, c_conv5, c_relu, c_logits)

    def masks_backward(self, dy, cache):
        """The gradient of the pooled regions."""
        (c_head, c_conv5, c_relu, c_logits), xp = cache, array_module(dy)
        d = self.mask_predictor.mask_fcn_logits.backward(xp.concatenate([0 * dy[:, :1], dy], axis=1), c_logits)
        d = self.mask_predictor.conv5_mask.backward(self.relu.backward(d, c_relu), c_conv5)
        return self.mask_head.backward(d, c_head)


class MaskRCNNFPN(MaskRCNN, FasterRCNNFPN):
    """Faster R-CNN on a pyramid, with the mask branch. loss and predict are those of Mask R-CNN on one map."""

    heads = RoIHeads
    old_names: ClassVar[dict[str, str]] = FasterRCNNFPN.old_names | {
        f"mask_head.mask_fcn{i + 1}.": f"mask_head.{i}.0." for i in range(4)
    }

    def __init__(self, classes, options: Options, *, rng: np.random.Generator):
        FasterRCNNFPN.__init__(self, classes, options, rng=rng)
        o, strides = options, self.backbone.strides[:-1]
        self.mask_align = PyramidAlign(o.mask_pooled, strides, o.sampling_ratio, o.canonical)

    def masks(self, x, training=True):
        """(mask logits, cache) of pooled regions."""
        return self.roi_heads.masks(x, training)

    def backward(self, cache: Cache):
        """Add the gradients of the total loss to all parameters."""
        dshapes = self.roi_heads.masks_backward(cache.dmasks, cache.mask_head)
        dpooled = self.roi_heads.backward(cache.dhead, cache.head)
        of_masks, _, _ = self.mask_align.backward(dshapes, cache.mask_pool)
        of_boxes, _, _ = self.roi_pool.backward(dpooled, cache.pool)
        *finer, dlast = self.rpn.backward(cache.drpn, cache.rpn)  # nothing else is on the coarsest level
        dmaps = [a + b + c for a, b, c in zip(finer, of_boxes, of_masks)]  # maps fork: gradients add up
        self.backbone.backward_parameters((*dmaps, dlast), cache.backbone)


@register(  # sec. 3.1: 120,000 steps of 16 images, then 40,000 at a tenth of the rate; the rest as in FPN's paper
    "mask_rcnn_resnet50_fpn", "instances", faster_rcnn_fpn.RECIPE | {"epochs": 22},
    options=Options, tiny=Tiny({
        "width": 1, "blocks": (1, 1, 1, 1), "pyramid_channels": 4, "hidden": 8, "anchor_scales": (8, 16, 24, 32, 48),
        "anchor_samples": 800, "roi_samples": 12, "min_size": 2, "mask_pooled": 3, "mask_convs": 1, "mask_channels": 4,
        "canonical": 24, "pooled_size": 3,
    }),
    system="Mask R-CNN", paper="He et al. 2017, arXiv:1703.06870",
    figures="ResNet-50-FPN: 44,401,393 parameters, as published; not trained here",
)  # fmt: skip
def mask_rcnn_resnet50_fpn(classes, options: Options, rng) -> MaskRCNNFPN:
    """The paper's, as in torchvision: 44,401,393 trainable parameters for 90 classes and the background."""
    return MaskRCNNFPN(classes, options, rng=rng)


@dataclass(frozen=True)
class SmallOptions(faster_rcnn_fpn.SmallOptions, Options):
    """For images of about 160 pixels, trained from random weights on a CPU."""

    short_side: int = 120  # pixels of the shorter side
    max_side: int = 240  # pixels of the longer side at most
    anchor_scales: tuple[float, ...] = (14, 28, 56, 112, 224)  # sides of square anchors in pixels, one a level
    roi_samples: int = 64  # regions that the heads are trained on, per image
    nms_iou: float = 0.5  # IoU above which NMS drops a detection
    canonical: float = 56.0  # side of a region that is pooled from the third level
    mask_convs: int = 2  # 3x3 convolutions of the mask branch
    mask_channels: int = 48  # their channels


@register(
    "mask_rcnn_fpn_small", "instances", {"epochs": 12, "batch_size": 2, "lr": 0.01},
    options=SmallOptions, tiny=Tiny({
        "width": 2, "blocks": (1, 1, 1, 1), "pyramid_channels": 4, "hidden": 8, "anchor_scales": (8, 16, 24, 32, 48),
        "anchor_samples": 800, "roi_samples": 12, "min_size": 2, "mask_pooled": 3, "mask_convs": 1, "mask_channels": 4,
        "canonical": 24, "pooled_size": 3, "frozen_norm": True,  # statistics of a few cells put ReLUs near their kinks
    }),
    system="Mask R-CNN", paper="He et al. 2017, arXiv:1703.06870",
    figures="small FPN on generated scenes: mask AP50 0.965, AP 0.766",
)  # fmt: skip
def mask_rcnn_fpn_small(classes, options: SmallOptions, rng) -> MaskRCNNFPN:
    """On a narrow ResNet-18."""
    return MaskRCNNFPN(classes, options, rng=rng)
