"""Faster R-CNN: a region proposal network and a detection head on one backbone, trained jointly.

Reference: Ren et al. 2015, Faster R-CNN: towards real-time object detection with region proposal networks,
arXiv:1506.01497 (v3); for the head: Girshick 2015, Fast R-CNN, arXiv:1504.08083. "Jointly" is the paper's approximate
joint training (sec. 3.2): proposals are constants, no gradient goes through their coordinates.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from vision.backbones import Backbone, vgg16
from vision.backbones.alexnet import OnAlexNet
from vision.boxes import RPN
from vision.boxes.region_heads import joined
from vision.detection.fast_rcnn import CAFFE, RegionDetector, RegionOptions, region_backbone
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(RegionOptions):
    """All hyperparameters. The defaults are the papers', or the authors' code's where the papers give none.

    The authors' code, py-faster-rcnn, differs from the papers in two: joint training samples background down to an
    IoU of 0, background_iou=(0.0, 0.5), and the quadratic part of the RPN's box loss is narrower, rpn_beta=1/9.
    Here min_size is in pixels of the resized image that the network sees; py-faster-rcnn multiplies its 16 pixels by
    the image's scale, so that they are pixels of the photograph: for a photograph enlarged 1.6 times, min_size=25.6.
    """

    # anchors (sec. 3.1.1)
    anchor_scales: tuple[float, ...] = (128, 256, 512)  # sides of square anchors in pixels
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height to width
    # RPN: layers, targets, losses (sec. 3.1)
    rpn_channels: int = 512  # channels of the RPN's 3x3 convolution
    positive_iou: float = 0.7  # an anchor is positive from this IoU on
    negative_iou: float = 0.3  # and negative below this one
    anchor_samples: int = 256  # anchors that count in a step, per image
    anchor_positive_fraction: float = 0.5  # share of positive ones among them at most
    rpn_lambda: float = 10.0  # weight of the RPN's box loss
    rpn_beta: float = 1.0  # where its smooth L1 loss becomes linear
    # proposals: in training, in testing (sec. 3.3; the counts before NMS are the code's)
    train_pre_nms: int = 12000  # boxes that go into NMS in training
    train_post_nms: int = 2000  # proposals kept in training
    test_pre_nms: int = 6000  # boxes that go into NMS in testing
    test_post_nms: int = 300  # proposals kept in testing
    proposal_nms_iou: float = 0.7  # IoU above which NMS drops a proposal
    min_size: float = 16.0  # shorter and narrower proposals are dropped, in pixels
    # weights
    from_scratch: bool = False  # new layers start from He's weights, not the paper's small Gaussians


class Sampled(NamedTuple):
    """What a step samples before the losses: constants, no gradient goes through them.

    Anchors: labels (N, A), deltas (N, A, 4). Regions of all images, concatenated: boxes (R, 4), image_index (R,),
    labels (R,) and deltas (R, 4).
    """

    anchor_labels: np.ndarray
    anchor_deltas: np.ndarray
    rois: np.ndarray
    image_index: np.ndarray
    roi_labels: np.ndarray
    roi_deltas: np.ndarray


class Cache(NamedTuple):
    """From loss to backward: each part's cache, the gradients of the losses, and what was sampled."""

    backbone: Any
    rpn: Any
    pool: Any
    head: Any
    drpn: tuple
    dhead: tuple
    sampled: Sampled


class FasterRCNN(RegionDetector):
    """Backbone, RPN, RoI pooling, detection head.

    On a GPU a step synchronises for few values, those that sizes of arrays depend on: for each image the number of
    proposals kept and the numbers of candidates to sample from.
    """

    def __init__(self, classes, backbone: Backbone, options: Options, *, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        self.backbone = backbone
        self.rpn = RPN(backbone.out_channels, backbone.stride, options, rng=rng)
        self.add_head(backbone, rng)

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({rpn_cls, rpn_box, cls, box}, cache). `sampled` repeats the choices of an earlier call: see its cache."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        features, c_backbone = self.backbone.forward(images)
        rpn_out, c_rpn = self.rpn.forward(features)
        if sampled is None:
            sampled = self.propose_and_sample(rpn_out, self.rpn.anchors(features), targets, rng)
        pooled, c_pool = self.roi_pool.forward(features, sampled.rois, sampled.image_index)
        head_out, c_head = self.head.forward(pooled)
        rpn_losses, drpn = self.rpn.loss(rpn_out, sampled.anchor_labels, sampled.anchor_deltas)
        head_losses, dhead = self.head.loss(head_out, sampled.roi_labels, sampled.roi_deltas)
        return rpn_losses | head_losses, Cache(c_backbone, c_rpn, c_pool, c_head, drpn, dhead, sampled)

    def backward(self, cache: Cache):
        """Add the gradients of the total loss to all parameters."""
        dpooled = self.head.backward(cache.dhead, cache.head)
        dfeatures, _, _ = self.roi_pool.backward(dpooled, cache.pool)  # none for boxes and image_index
        dfeatures = dfeatures + self.rpn.backward(cache.drpn, cache.rpn)  # features fork: gradients add up
        self.backbone.backward_parameters(dfeatures, cache.backbone)  # nobody wants the gradient of the images

    def propose_and_sample(self, rpn_out, anchors, targets, rng) -> Sampled:
        """Targets of the anchors, and the regions that the head is trained on, sampled from the RPN's proposals."""
        samples = []
        for scores, deltas, target in zip(*rpn_out, targets):
            proposals = self.rpn.propose(scores, deltas, anchors, target["image_size"], training=True)
            samples.append((self.rpn.match(anchors, target, rng), self.head.sample(proposals, target, rng)))
        of_anchors, of_regions = zip(*samples)
        return Sampled(*stacked(of_anchors), *joined(of_regions))

    def dense(self, images) -> dict[str, np.ndarray]:
        """The features, and for each anchor the RPN's scores (N, A, 2) and deltas (N, A, 4)."""
        features = self.backbone(images)
        scores, deltas = self.rpn(features)
        return {"features": features, "rpn_scores": scores, "rpn_deltas": deltas}

    def predict(self, images, image_sizes=None) -> list[dict]:
        """Detections in each image (N, 3, H, W); image_sizes [(h, w), ...] where images are padded."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        features, sizes = self.backbone(images), image_sizes or [images.shape[2:]] * len(images)
        return self.detections_by(self.rpn(features), features, sizes)

    def detections_by(self, rpn_out, features, image_sizes) -> list[dict]:
        """Detections in each image of a batch, in the regions that the RPN's outputs propose."""
        anchors, found = self.rpn.anchors(features), []
        for n, (scores, deltas, size) in enumerate(zip(*rpn_out, image_sizes)):
            rois = self.rpn.propose(scores, deltas, anchors, size, training=False)
            found.append(self.detections(features, rois, n, size))
        return found


def stacked(samples) -> tuple[np.ndarray, np.ndarray]:
    """labels (N, A) and deltas (N, A, 4) from those of each image's anchors."""
    labels, deltas = zip(*samples)
    return array_module(*labels).stack(labels), array_module(*deltas).stack(deltas)


@dataclass(frozen=True)
class VGG16Options(Options):
    """The paper's detector."""

    width: int = 64  # channels of VGG-16's first convolution, all others in proportion
    stride: int = 16  # pixels between cells: 16, or 8 for small photographs, conv5 being dilated as in DeepLab
    frozen: str | None = None  # stage of VGG-16 up to which nothing is trained; the paper's fine-tuning: pool2


@register(
    "faster_rcnn_vgg16", "detection", {"epochs": 14, "batch_size": 1, **CAFFE},
    options=VGG16Options, tiny=Tiny({
        "width": 4, "frozen": "pool4", "hidden": 8, "rpn_channels": 8, "anchor_scales": (16,), "anchor_samples": 16,
        "roi_samples": 8, "min_size": 4,
    }, scenes=1, size=(32, 32)),
    system="Faster R-CNN", paper="Ren et al. 2015, arXiv:1506.01497",
)  # fmt: skip
def faster_rcnn_vgg16(classes, options: VGG16Options, rng) -> FasterRCNN:
    """The paper's detector."""
    backbone = vgg16(width=options.width, stride=options.stride, rng=rng)
    return held(FasterRCNN(classes, backbone, options, rng=rng), options.frozen, backbone)


def held(model: FasterRCNN, frozen: str | None, *backbones: Backbone) -> FasterRCNN:
    """The model, the first stages of its backbones not trained, up to `frozen`; none: all are."""
    if frozen is not None:
        for backbone in backbones:
            backbone.freeze(frozen)
        model.needs_weights = True
    return model


@dataclass(frozen=True)
class SmallOptions(Options):
    """For images of about 300 pixels, trained from random weights on a CPU within minutes."""

    short_side: int = 240  # pixels of the shorter side
    max_side: int = 400  # pixels of the longer side at most
    anchor_scales: tuple[float, ...] = (24, 48, 96)  # sides of square anchors in pixels
    rpn_channels: int | None = None  # channels of the RPN's 3x3 convolution; none: 8 times width
    train_pre_nms: int = 2000  # boxes that go into NMS in training
    train_post_nms: int = 500  # proposals kept in training
    test_pre_nms: int = 1000  # boxes that go into NMS in testing
    test_post_nms: int = 200  # proposals kept in testing
    min_size: float = 4.0  # shorter and narrower proposals are dropped, in pixels
    hidden: int = 256  # units of each of the two hidden layers
    dropout: float = 0.0  # share of hidden units dropped in training
    background_iou: tuple[float, float] = (0.0, 0.5)  # IoU of regions that count as background
    from_scratch: bool = True  # new layers start from He's weights, not the paper's small Gaussians
    width: int = 12  # channels of the first convolution
    stride: int = 4  # pixels between cells: 4, or 8 for half the work and coarser boxes


@dataclass(frozen=True)
class BackboneOptions(SmallOptions, OnAlexNet):
    """The narrow VGG, or published convolutions, as Fast R-CNN's."""

    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "small_vgg"  # the convolutions
    frozen: str | None = None  # last stage of the backbone that is not trained, such as pool2; none: all are trained
    stride: int = 4  # pixels between cells: 4 or 8; of vgg16 16 or 8, of alexnet 16


@register(
    "faster_rcnn_small", "detection", {"epochs": 30, "batch_size": 2, "lr": 0.01},
    options=BackboneOptions, tiny=Tiny({
        "width": 2, "stride": 8, "hidden": 12, "anchor_scales": (16, 32), "anchor_samples": 32,
        "roi_samples": 16, "min_size": 2,
    }),
    system="Faster R-CNN", paper="Ren et al. 2015, arXiv:1506.01497",
    figures="AP50 0.962 on 200 generated scenes; 0.904 on 72 photographs of blood cells",
)  # fmt: skip
def faster_rcnn_small(classes, options: BackboneOptions, rng) -> FasterRCNN:
    """The same detector on a narrow VGG, or on published convolutions.

    Its stride of 4 is for small objects: RoI pooling rounds boxes to whole cells, and half a cell of stride 8 is a
    tenth of an object of 40 pixels. On generated scenes of 160 x 120 it raises AP at IoU 0.75 from 0.64 to 0.86.
    """
    options = replace(options, rpn_channels=options.rpn_channels or 8 * options.width)
    backbone = region_backbone(options, rng)
    return held(FasterRCNN(classes, backbone, options, rng=rng), options.frozen, backbone)
