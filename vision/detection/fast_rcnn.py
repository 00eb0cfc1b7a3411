"""Fast R-CNN: convolutions once an image, proposals pooled from their map, one stage of training with two losses.

Reference: Girshick 2015, Fast R-CNN, arXiv:1504.08083.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import RoIAlign, RoIPool, RoIWarp
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from vision.backbones import AlexNet, Backbone, small_vgg, vgg16
from vision.backbones.alexnet import OnAlexNet
from vision.boxes import RegionHead, clip
from vision.boxes.deformable_pooling import DeformableRegionPool
from vision.boxes.region_heads import Regions, published_fully_connected
from vision.detection.detector import Detector, check_proposals
from vision.detection.truncated import Truncated
from vision.model import Stage
from vision.options import ImageOptions
from vision.registry import Tiny, register

OFFSET_RATE = 0.01  # of the layer that moves deformable pooling's bins, relative to all else


@dataclass(frozen=True)
class RegionOptions(ImageOptions):
    """What detectors with a head on pooled regions share: the paper's, or its code's where the paper is silent."""

    short_side: int = 600  # pixels of the shorter side (sec. 2.4)
    max_side: int = 1000  # pixels of the longer side at most
    # detection head (sec. 2.1, 2.3)
    pooling: Literal["pool", "align", "warp", "deformable"] = "pool"  # of regions; deformable: offsets are learned
    pooled_size: int = 7  # cells of a pooled region along each side
    rounding: Literal["caffe", "split"] = "caffe"  # of RoI pooling: see nn.RoIPool
    hidden: int = 4096  # units of each of the two hidden layers
    dropout: float = 0.5  # share of hidden units dropped in training
    roi_samples: int = 128  # regions that the head is trained on, per image
    foreground_fraction: float = 0.25  # share of objects among them at most
    foreground_iou: float = 0.5  # a region is an object from this IoU on
    background_iou: tuple[float, float] = (0.1, 0.5)  # IoU of regions that count as background: from, to
    delta_std: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)  # box targets are divided by these
    # detections (the code's)
    score_threshold: float = 0.05  # lower scores are no detections
    nms_iou: float = 0.3  # IoU above which NMS drops a detection
    detections_per_image: int = 100  # detections kept at most


class RegionCache(NamedTuple):
    """From region_loss to region_backward."""

    pool: Any
    head: Any
    dhead: tuple


def region_pooling(options: RegionOptions, cells: int, scale: float, samples: int = 2) -> Layer:
    """The pooling that the options name, to cells x cells; samples: of RoIAlign in a cell, along each side."""
    poolings = {
        "pool": lambda: RoIPool(cells, scale, options.rounding),
        "align": lambda: RoIAlign(cells, scale, samples, aligned=True),
        "warp": lambda: RoIWarp(cells, scale, aligned=True),
    }
    return poolings[options.pooling]()


class RegionDetector(Detector):
    """A detector with self.roi_pool and self.head: regions are pooled from one map of features, then classified."""

    def add_head(self, backbone: Backbone, rng: np.random.Generator):
        """Make the pooling of regions and the head."""
        o, scale = self.options, 1 / backbone.stride
        if o.pooling == "deformable":
            self.roi_pool = DeformableRegionPool(backbone.out_channels, o.pooled_size, scale, rng=rng.spawn(1)[0])
        else:
            self.roi_pool = region_pooling(o, o.pooled_size, scale)
        self.head = RegionHead(backbone.out_channels * o.pooled_size**2, len(self.classes), o, rng=rng)

    @property
    def slower(self) -> dict:
        """What differs in the recipe: the offsets of deformable pooling move slowly (Dai et al. 2017, sec. 2.3)."""
        return {"lr_scale": {"roi_pool": OFFSET_RATE}} if self.options.pooling == "deformable" else {}

    def stages(self) -> tuple[Stage, ...]:
        """One."""
        return (Stage(recipe=self.slower),)

    def pretrained_names(self, arrays):
        """Those of the backbone, and fc6 and fc7 of a published network as the head's."""
        return published_fully_connected(arrays) | super().pretrained_names(arrays)

    def region_loss(self, features, sampled: Regions) -> tuple[dict[str, float], RegionCache]:
        """({cls, box}, cache) of the sampled regions on features (N, C, H, W): the two sibling losses of eq. 1."""
        pooled, c_pool = self.roi_pool.forward(features, sampled.rois, sampled.image_index)
        head_out, c_head = self.head.forward(pooled)
        losses, dhead = self.head.loss(head_out, sampled.labels, sampled.deltas)
        return losses, RegionCache(c_pool, c_head, dhead)

    def region_backward(self, cache: RegionCache):
        """The gradient of the features."""
        dpooled = self.head.backward(cache.dhead, cache.head)
        dfeatures, _, _ = self.roi_pool.backward(dpooled, cache.pool)  # regions are constants
        return dfeatures

    def detections(self, features, rois, n: int, image_size: tuple[int, int]) -> dict:
        """What is in the regions rois (M, 4) of image n of the batch."""
        pooled = self.roi_pool(features, rois, array_module(rois).full(len(rois), n, np.int64))
        return self.head.detections(self.head_in_testing(pooled), rois, image_size)

    @property
    def head_in_testing(self) -> RegionHead:
        """The head that predicts."""
        return self.head


@dataclass(frozen=True)
class Options(RegionOptions, OnAlexNet):
    """The paper's: 128 regions a step, of two images; conv1 and conv2 of VGG-16 are not trained (sec. 4.5)."""

    proposals: str = "selective_search_fast"  # method, with its options: see vision.proposals
    regions: int = 2000  # proposals of an image at most, the best ones
    roi_samples: int = 64  # regions that the head is trained on, per image
    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "vgg16"  # the convolutions
    width: int = 12  # channels of small_vgg's first convolution
    stride: int = 16  # pixels between cells: 16; of vgg16 8, too, of small_vgg 4 or 8
    frozen: str | None = "pool2"  # last stage of the backbone that is not trained, such as pool2; none: all are trained
    svd: tuple[int, int] | None = None  # in testing: singular values of fc6 and fc7 that are kept (sec. 3.1: 1024, 256)


class Cache(NamedTuple):
    """From loss to backward."""

    backbone: Any
    regions: RegionCache
    sampled: Regions


class FastRCNN(RegionDetector):
    """Backbone, RoI pooling, head; regions come from elsewhere. Raises ValueError for a target without proposals."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        self.proposals, self.backbone = options.proposals, region_backbone(options, rng)
        if options.frozen is not None:
            self.backbone.freeze(options.frozen)
        self.needs_weights = options.frozen is not None
        self.add_head(self.backbone, rng)

    def stages(self) -> tuple[Stage, ...]:
        """One. Raises ValueError for a model of truncated layers."""
        if self.options.svd:
            raise ValueError("FastRCNN: svd is for testing: train without it, then evaluate with --set svd=[...]")
        return super().stages()

    def loss(self, batch, rng: np.random.Generator, sampled: Regions | None = None):
        """({cls, box}, cache)."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        features, c_backbone = self.backbone.forward(images)
        if sampled is None:
            proposals = [self.regions_of(target).astype(images.dtype) for target in targets]
            sampled = self.head.sample_batch(proposals, targets, rng)
        losses, c_regions = self.region_loss(features, sampled)
        return losses, Cache(c_backbone, c_regions, sampled)

    def backward(self, cache: Cache):
        """Add the gradients of both losses to all parameters."""
        self.backbone.backward_parameters(self.region_backward(cache.regions), cache.backbone)

    def regions_of(self, target: dict) -> np.ndarray:
        """The best proposals (M, 4) of an image, within it."""
        if "proposals" not in target:
            who = target.get("id", "a target")
            raise ValueError(f"FastRCNN: {who} has no proposals; see vision.proposals.WithProposals")
        return clip(target["proposals"][: self.options.regions], target["image_size"])

    def predict(self, images, image_sizes=None, proposals=None) -> list[dict]:
        """Detections in each image (N, 3, H, W), among its proposals (M, 4)."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        sizes = image_sizes or [images.shape[2:]] * len(images)
        check_proposals(self, images, proposals)
        features, found = self.backbone(images), []
        for n, (own, size) in enumerate(zip(proposals, sizes)):
            found.append(self.detections(features, clip(own[: self.options.regions], size), n, size))
        return found

    @property
    def head_in_testing(self) -> RegionHead:
        """The one with truncated layers where options.svd says so."""
        return self.truncated.head if self.options.svd else self.head

    @cached_property
    def truncated(self) -> "Truncated":
        """The head with truncated layers, made once: of the weights at the first prediction."""
        return Truncated(self.head, *self.options.svd)

    def dense(self, images) -> dict[str, np.ndarray]:
        """The features."""
        return {"features": self.backbone(images)}


def region_backbone(options: Options, rng: np.random.Generator) -> Backbone:
    """The convolutions, up to the last one. Raises ValueError for a stride that they do not have."""
    o = options
    if o.backbone == "small_vgg":
        return small_vgg(width=o.width, stride=o.stride, rng=rng)
    if o.backbone == "vgg16":
        return vgg16(stride=o.stride, rng=rng)
    if o.stride != 16:
        raise ValueError(f"region_backbone: stride of alexnet must be 16, got {o.stride}")
    return AlexNet(1, padding=o.conv1_padding, rng=rng).up_to("conv5")


PAPER = {"system": "Fast R-CNN", "paper": "Girshick 2015, arXiv:1504.08083"}
TINY = {
    "proposals": "sliding_windows count=30", "backbone": "small_vgg", "width": 2, "stride": 8, "frozen": None,
    "hidden": 12, "roi_samples": 16, "dropout": 0.0,
}  # fmt: skip

# Sec. 2.3: twice the rate for biases, 30,000 steps at 0.001, 10,000 at 0.0001; flips are all the augmentation.
CAFFE = {"lr": 0.001, "milestones": [0.75], "bias_rate": 2.0, "jitter": 0.0}

register(
    "fast_rcnn", "detection", {"epochs": 16, "batch_size": 2, **CAFFE},
    options=Options, tiny=Tiny(TINY), **PAPER,
)(FastRCNN)  # fmt: skip


@dataclass(frozen=True)
class SmallOptions(Options):
    """For images of about 300 pixels, trained from random weights on a CPU within minutes."""

    proposals: str = "selective_search_fast width=320 min_side=8"  # method, with its options: see vision.proposals
    short_side: int = 240  # pixels of the shorter side
    max_side: int = 400  # pixels of the longer side at most
    hidden: int = 256  # units of each of the two hidden layers
    dropout: float = 0.0  # share of hidden units dropped in training
    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "small_vgg"  # the convolutions
    stride: int = 4  # pixels between cells: 4 or 8; of vgg16 16 or 8, of alexnet 16
    frozen: str | None = None  # last stage of the backbone that is not trained, such as pool2; none: all are trained


register(
    "fast_rcnn_small", "detection", {"epochs": 20, "batch_size": 2, "lr": 0.01},
    options=SmallOptions, tiny=Tiny(TINY | {"pooling": "align"}), **PAPER,
    figures="AP50 0.822 on 72 photographs of blood cells",
)(FastRCNN)  # fmt: skip
