"""Mask R-CNN on the published convolutions of AlexNet or VGG-16, for a few hundred photographs.

Reference: He et al. 2017, Mask R-CNN, arXiv:1703.06870, on the features of Krizhevsky 2014, arXiv:1404.5997, or of
Simonyan and Zisserman 2015, arXiv:1409.1556.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vision.backbones import AlexNet, Backbone, vgg16
from vision.backbones.alexnet import OnAlexNet
from vision.instances import keypoint_rcnn, mask_rcnn
from vision.instances.keypoint_rcnn import KeypointRCNN
from vision.instances.mask_rcnn import MaskRCNN
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(mask_rcnn.Options, OnAlexNet):
    """For photographs of about 300 pixels; the features are held, or trained above a stage."""

    short_side: int = 240  # pixels of the shorter side
    max_side: int = 400  # pixels of the longer side at most
    anchor_scales: tuple[float, ...] = (48, 96, 192)  # sides of square anchors in pixels
    backbone: Literal["alexnet", "vgg16"] = "alexnet"  # published convolutions up to conv5, at a stride of 16
    frozen: str | None = "conv5"  # stage up to which nothing is trained: pool2, conv5, ...; none: all is trained
    width: int = 16  # not used: the published networks have their own
    stride: int = 4  # not used: it is 16
    rpn_channels: int = 128  # channels of the RPN's 3x3 convolution
    mask_channels: int = 64  # channels of the mask branch


@dataclass(frozen=True)
class KeypointOptions(Options, keypoint_rcnn.Options):
    """With key points, of people 17."""


def published_backbone(options: Options, rng: np.random.Generator) -> Backbone:
    """The convolutions, frozen up to a stage."""
    if options.backbone == "alexnet":
        backbone = AlexNet(1, padding=options.conv1_padding, rng=rng).up_to("conv5")
    else:
        backbone = vgg16(rng=rng)
    if options.frozen is not None:
        backbone.freeze(options.frozen)
    return backbone


RECIPE = {"epochs": 12, "batch_size": 2, "lr": 0.005}
TINY = {
    "hidden": 6, "rpn_channels": 4, "anchor_scales": (24, 48), "anchor_samples": 32, "roi_samples": 8, "min_size": 2,
    "mask_pooled": 3, "mask_convs": 1, "mask_channels": 4, "pooled_size": 3,
}  # fmt: skip


@register(
    "mask_rcnn_published", "instances", RECIPE, options=Options, tiny=Tiny(TINY, size=(64, 80)),
    system="Mask R-CNN", paper="He et al. 2017, arXiv:1703.06870",
    figures="298 photographs of pets: mask AP50 0.897",
)  # fmt: skip
def mask_rcnn_published(classes, options: Options, rng: np.random.Generator) -> MaskRCNN:
    """Boxes and masks."""
    model = MaskRCNN(classes, published_backbone(options, rng), options, rng=rng)
    model.needs_weights = options.frozen is not None
    return model


@register(
    "keypoint_rcnn_published", "instances", RECIPE, options=KeypointOptions,
    tiny=Tiny(TINY | {"keypoints": 4, "keypoint_convs": 1, "keypoint_channels": 4}, size=(64, 80)),
    system="Mask R-CNN with key points", paper="He et al. 2017, arXiv:1703.06870, sec. 5",
    figures="29 photographs of persons: mask AP50 0.604",
)  # fmt: skip
def keypoint_rcnn_published(classes, options: KeypointOptions, rng: np.random.Generator) -> KeypointRCNN:
    """Boxes, masks and key points."""
    model = KeypointRCNN(classes, published_backbone(options, rng), options, rng=rng)
    model.needs_weights = options.frozen is not None
    return model
