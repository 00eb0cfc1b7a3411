"""R-CNN: proposals, each warped and seen by a CNN of its own, then SVMs and box regression.

Training has four stages: fine-tuning of the CNN with 1 + classes outputs; the features of all regions, stored; an SVM
a class; box regression. See vision.detection.region_svm for what follows the features.

Reference: Girshick, Donahue, Darrell and Malik 2014, Rich feature hierarchies for accurate object detection and
semantic segmentation, arXiv:1311.2524 (v5).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import softmax_cross_entropy
from nn.dispatch import array_module
from nn.layer import check_shape
from vision.boxes.region_heads import published_fully_connected
from vision.detection.region_layers import region_backbone
from vision.detection.region_options import PLAIN, RegionOptions
from vision.detection.region_svm import RegionSVM
from vision.detection.warp import warp_regions
from vision.model import Stage
from vision.registry import Tiny, register

TOGETHER = 100  # regions that go through the CNN at once


@dataclass(frozen=True)
class Options(RegionOptions):
    """The paper's, on the published AlexNet of one column; images are scaled before regions are cut out."""

    short_side: int = 600  # pixels of the shorter side
    max_side: int = 1000  # pixels of the longer side at most
    size: int = 224  # pixels of the CNN's input
    padding: int = 16  # pixels of context around the region there
    mode: Literal["warp", "square", "square_alone"] = "warp"  # see vision.detection.warp


class Sampled(NamedTuple):
    """Regions of a step: constants. crops (R, 3, size, size), labels (R,), 0 for background."""

    crops: np.ndarray
    labels: np.ndarray


class Cache(NamedTuple):
    """From loss to backward."""

    backbone: Any
    pooling: Any
    shape: tuple
    head: Any
    dlogits: np.ndarray
    sampled: Sampled


class RCNN(RegionSVM):
    """Crops through backbone, last pooling and two fully connected layers."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        self.backbone, self.pooling = region_backbone(options.backbone, options.width, options.frozen, rng)
        self.needs_weights = options.frozen is not None
        crops = warp_regions(np.zeros((3, 1, 1), np.float32), np.zeros((1, 4)), options.size, options.padding)
        self.init_regions(self.pooling(self.backbone(crops)).size, rng)

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("fine-tune", trains=("backbone", "head"), evaluated=False),
            Stage("features", PLAIN, fit="fit_features", evaluated=False),
            Stage("svm", PLAIN, fit="fit_svms", evaluated=False),
            Stage("boxes", PLAIN, fit="fit_boxes"),
        )

    def pretrained_names(self, arrays):
        """Those of the backbone, and fc6 and fc7 of a published network as the head's."""
        return published_fully_connected(arrays) | super().pretrained_names(arrays)

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({cls}, cache): softmax cross-entropy of 32 objects and 96 regions of background (sec. 2.3).

        They are of the images of the batch, as many of each; the paper draws them from all images.
        """
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        sampled = sampled or self.sample(images, targets, rng)
        x, c_backbone = self.backbone.forward(sampled.crops)
        pooled, c_pooling = self.pooling.forward(x)
        logits, c_head = self.head.forward(pooled.reshape(len(x), pooled[0].size))
        cls, dlogits = softmax_cross_entropy(logits, sampled.labels)
        return {"cls": cls}, Cache(c_backbone, c_pooling, pooled.shape, c_head, dlogits, sampled)

    def backward(self, cache: Cache):
        """Add the gradients to all parameters of the CNN."""
        dpooled = self.head.backward(cache.dlogits, cache.head).reshape(cache.shape)
        dx = self.pooling.backward(dpooled, cache.pooling)
        self.backbone.backward_parameters(dx, cache.backbone)  # nobody wants the gradient of the crops

    def sample(self, images, targets, rng) -> Sampled:
        """The crops of sampled regions."""
        o, xp, crops, labels = self.options, array_module(images), [], []
        for image, rois, own in self.sampled(images, targets, rng):
            crops.append(warp_regions(image, rois, o.size, o.padding, o.mode))
            labels.append(own)
        return Sampled(xp.concatenate(crops), xp.concatenate(labels))

    def pool5(self, image, rois) -> np.ndarray:
        """(R, D): the features of regions (R, 4) of an image (3, H, W)."""
        o, found = self.options, [array_module(image).zeros((0, self.head.widths["pool5"]), image.dtype)]
        for i in range(0, len(rois), TOGETHER):
            crops = warp_regions(image, rois[i : i + TOGETHER], o.size, o.padding, o.mode)
            found.append(self.pooling(self.backbone(crops)).reshape(len(crops), self.head.widths["pool5"]))
        return array_module(image).concatenate(found)


PAPER = {"system": "R-CNN", "paper": "Girshick et al. 2014, arXiv:1311.2524"}
TINY = {
    "proposals": "sliding_windows count=30", "train_regions": 30, "test_regions": 30, "width": 1, "hidden": 5,
    "size": 16, "padding": 2, "samples": 8, "capacity": 50, "dropout": 0.0,
}  # fmt: skip

register(
    "rcnn", "detection",
    {"epochs": 20, "batch_size": 2, "lr": 0.001, "lr_scale": {"head.cls_score": 10.0}, "bias_rate": 2.0, "jitter": 0.0},
    options=Options, tiny=Tiny(TINY | {"backbone": "small_vgg"}), **PAPER,
)(RCNN)  # fmt: skip


@dataclass(frozen=True)
class SmallOptions(Options):
    """A small VGG from random weights, for a CPU: crops of 48 pixels, with the paper's share of context."""

    proposals: str = "selective_search_fast width=320 min_side=8"  # method, with its options: see vision.proposals
    short_side: int = 240  # pixels of the shorter side
    max_side: int = 400  # pixels of the longer side at most
    train_regions: int = 500  # proposals of an image in training, the best ones
    test_regions: int = 1000  # proposals of an image in testing, the best ones
    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "small_vgg"  # the convolutions
    hidden: int = 256  # units of fc6 and fc7
    dropout: float = 0.0  # share of them dropped in fine-tuning
    size: int = 48  # pixels of the CNN's input
    padding: int = 4  # pixels of context around the region there


register(
    "rcnn_small", "detection", {"epochs": 10, "batch_size": 4, "lr": 0.02},
    options=SmallOptions, tiny=Tiny(TINY | {"mode": "square_alone", "features": "pool5"}), **PAPER,
    figures="AP50 0.834 on 72 photographs of blood cells",
)(RCNN)  # fmt: skip
