"""Faster R-CNN: a region proposal network and a detection head on one backbone, trained jointly.

Reference: Ren et al. 2015, Faster R-CNN: towards real-time object detection with region proposal networks,
arXiv:1506.01497 (v3); for the head: Girshick 2015, Fast R-CNN, arXiv:1504.08083. "Jointly" is the paper's approximate
joint training (sec. 3.2): proposals count as constants, no gradient goes through their coordinates.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import Dropout, Linear, ReLU, RoIPool, Sequential
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from nn.losses.classification import softmax_cross_entropy
from nn.losses.regression import smooth_l1
from vision.backbones import small_vgg, vgg16
from vision.classification.classifier import complete
from vision.detection.anchors import anchor_targets, base_anchors, grid_anchors
from vision.detection.boxes import clip, decode, nms_among
from vision.detection.proposals import propose, sample_rois
from vision.detection.rpn import RPNHead, gaussian
from vision.registry import register


@dataclass(frozen=True)
class Options:
    """Every number of Faster R-CNN. The defaults are the papers', or, where those are silent, the authors' code's.

    py-faster-rcnn, the authors' code, differs from the papers in two: it samples background down to an IoU of 0 when
    all is trained jointly, background_iou=(0.0, 0.5), and uses a narrower quadratic piece in the RPN's box loss,
    rpn_beta=1/9.
    """

    # images: shorter side, at most this longer side (sec. 3.3), and normalisation in units of 0..255 (torchvision's)
    short_side: int = 600
    max_side: int = 1000
    mean: tuple = (123.675, 116.28, 103.53)
    std: tuple = (58.395, 57.12, 57.375)
    # anchors (sec. 3.1.1)
    anchor_scales: tuple = (128, 256, 512)
    anchor_ratios: tuple = (0.5, 1.0, 2.0)
    # RPN: layers, targets, losses (sec. 3.1)
    rpn_channels: int = 512
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    anchor_samples: int = 256
    anchor_positive_fraction: float = 0.5
    rpn_lambda: float = 10.0
    rpn_beta: float = 1.0
    # proposals: in training, in testing (sec. 3.3; the numbers before NMS are the code's)
    train_pre_nms: int = 12000
    train_post_nms: int = 2000
    test_pre_nms: int = 6000
    test_post_nms: int = 300
    proposal_nms_iou: float = 0.7
    min_size: float = 16.0
    # detection head (Fast R-CNN sec. 2.1, 2.3)
    pooled_size: int = 7
    rounding: str = "caffe"
    hidden: int = 4096
    dropout: float = 0.5
    roi_samples: int = 128
    foreground_fraction: float = 0.25
    foreground_iou: float = 0.5
    background_iou: tuple = (0.1, 0.5)
    delta_std: tuple = (0.1, 0.1, 0.2, 0.2)
    # detections (the code's)
    score_threshold: float = 0.05
    nms_iou: float = 0.3
    detections_per_image: int = 100
    # weights: of new layers (True: He's, for training from random weights; False: the paper's small Gaussians)
    from_scratch: bool = False


class DetectionHead(Layer):
    """Class scores and per-class box deltas of each pooled region.

    pooled (R, C, ph, pw) -> logits (R, 1 + classes), index 0 for background, and deltas (R, classes, 4), normalised.
    Two hidden layers, named like torchvision's classifier.0 and classifier.3 of VGG-16, and two sibling outputs, which
    start from Gaussians of standard deviation 0.01 and 0.001 (Fast R-CNN sec. 2.3).
    """

    def __init__(self, in_features: int, classes: int, hidden: int, dropout: float, *, rng: np.random.Generator):
        self.classifier = Sequential(
            Linear(in_features, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
            Linear(hidden, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
        )  # fmt: skip
        self.cls_score = Linear(hidden, 1 + classes, rng=rng)
        self.bbox_pred = Linear(hidden, 4 * classes, rng=rng)
        self.cls_score.weight.value[...] = gaussian((1 + classes, hidden), 0.01, rng)
        self.bbox_pred.weight.value[...] = gaussian((4 * classes, hidden), 0.001, rng)

    def forward(self, x, training=True):
        hidden, c_hidden = self.classifier.forward(x.reshape(len(x), -1), training)
        logits, c_logits = self.cls_score.forward(hidden, training)
        deltas, c_deltas = self.bbox_pred.forward(hidden, training)
        return (logits, deltas.reshape(len(x), -1, 4)), (x.shape, c_hidden, c_logits, c_deltas)

    def backward(self, dy, cache):
        dlogits, ddeltas = dy
        x_shape, c_hidden, c_logits, c_deltas = cache
        dhidden = self.cls_score.backward(dlogits, c_logits)
        dhidden = dhidden + self.bbox_pred.backward(ddeltas.reshape(len(dlogits), -1), c_deltas)
        return self.classifier.backward(dhidden, c_hidden).reshape(x_shape)


class Fixed(NamedTuple):
    """What a step decides and samples before the losses: constants, through which no gradient goes.

    Anchors: labels (N, A), deltas (N, A, 4). Regions, of all images in one row: boxes (R, 4) and image_index (R,),
    their labels (R,) and deltas (R, 4).
    """

    anchor_labels: np.ndarray
    anchor_deltas: np.ndarray
    rois: np.ndarray
    image_index: np.ndarray
    roi_labels: np.ndarray
    roi_deltas: np.ndarray


class Cache(NamedTuple):
    """From loss to backward: each part's cache, the gradients of the losses, and what was held constant."""

    backbone: Any
    rpn: Any
    pool: Any
    head: Any
    drpn: tuple
    dhead: tuple
    fixed: Fixed


class FasterRCNN(Layer):
    """Backbone, RPN, RoI pooling, detection head.

    loss((images, targets), rng): images (N, 3, H, W) normalised as `preprocess` says, targets one dict an image with
    boxes (K, 4) in its pixels, labels (K,) in 1 .. classes and image_size (h, w) without padding.
    hyperparameters: all options by name, as JSON knows them, with those of the backbone.
    predict(images): a list of dicts boxes (D, 4) float32, labels (D,), scores (D,), best first; where the images are.

    On a GPU a step waits for few numbers, since the sizes of arrays depend on them: for each image the number of
    proposals kept, and the numbers of candidates to sample from, for which it gets the places that were drawn.
    """

    constants = ("base_anchors",)

    def __init__(self, classes, backbone: Layer, options: Options, of_backbone: dict, *, rng: np.random.Generator):
        o = self.options = options
        self.hyperparameters = json.loads(json.dumps(asdict(options) | of_backbone))  # tuples become lists
        self.classes = tuple(classes)
        self.base_anchors = base_anchors(o.anchor_scales, o.anchor_ratios)
        self.backbone = backbone
        self.rpn = RPNHead(
            backbone.out_channels, o.rpn_channels, len(self.base_anchors), from_scratch=o.from_scratch, rng=rng
        )
        self.roi_pool = RoIPool(o.pooled_size, 1 / backbone.stride, o.rounding)
        in_features = backbone.out_channels * o.pooled_size**2
        self.head = DetectionHead(in_features, len(self.classes), o.hidden, o.dropout, rng=rng)
        self.preprocess = {"short_side": o.short_side, "max_side": o.max_side, "mean": o.mean, "std": o.std}

    def loss(self, batch, rng: np.random.Generator, fixed: Fixed | None = None):
        """({rpn_cls, rpn_box, cls, box}, cache). `fixed` repeats the choices of an earlier call: see its cache."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        features, c_backbone = self.backbone.forward(images)
        rpn_out, c_rpn = self.rpn.forward(features)
        if fixed is None:
            fixed = self.propose_and_sample(rpn_out, features.shape[2:], targets, rng)
        pooled, c_pool = self.roi_pool.forward(features, fixed.rois, fixed.image_index)
        head_out, c_head = self.head.forward(pooled)
        rpn_losses, drpn = self.rpn_losses(rpn_out, fixed)
        head_losses, dhead = self.head_losses(head_out, fixed)
        return rpn_losses | head_losses, Cache(c_backbone, c_rpn, c_pool, c_head, drpn, dhead, fixed)

    def backward(self, cache: Cache):
        """Add the gradients of the total loss to all parameters; returns that of the images."""
        dpooled = self.head.backward(cache.dhead, cache.head)
        dfeatures, _, _ = self.roi_pool.backward(dpooled, cache.pool)  # none for boxes and image_index
        dfeatures = dfeatures + self.rpn.backward(cache.drpn, cache.rpn)  # features fork: gradients add up
        return self.backbone.backward(dfeatures, cache.backbone)

    def propose_and_sample(self, rpn_out, feature_size, targets, rng) -> Fixed:
        """Targets of the anchors, and from the RPN's present proposals the regions that the head is trained on."""
        o, anchors = self.options, grid_anchors(self.base_anchors, feature_size, self.backbone.stride)
        anchor_samples, region_samples = [], []
        for scores, deltas, target in zip(*rpn_out, targets):
            size = target["image_size"]
            proposals = self._proposals(scores, deltas, anchors, size, o.train_pre_nms, o.train_post_nms)
            anchor_samples.append(self._anchor_targets(anchors, target, rng))
            region_samples.append(self._sample_rois(proposals, target, rng))
        xp = array_module(anchors)
        anchor_labels, anchor_deltas = (xp.stack(parts) for parts in zip(*anchor_samples))
        rois, roi_labels, roi_deltas = (xp.concatenate(parts) for parts in zip(*region_samples))
        image_index = xp.concatenate([xp.full(len(own), n, np.int64) for n, (own, _, _) in enumerate(region_samples)])
        return Fixed(anchor_labels, anchor_deltas, rois, image_index, roi_labels, roi_deltas)

    def _anchor_targets(self, anchors, target, rng):
        o = self.options
        return anchor_targets(
            anchors, target["boxes"], target["image_size"], rng, positive_iou=o.positive_iou,
            negative_iou=o.negative_iou, samples=o.anchor_samples, positive_fraction=o.anchor_positive_fraction,
        )  # fmt: skip

    def _sample_rois(self, proposals, target, rng):
        o = self.options
        return sample_rois(
            proposals, target["boxes"], target["labels"], rng, num_classes=len(self.classes), samples=o.roi_samples,
            foreground_fraction=o.foreground_fraction, foreground_iou=o.foreground_iou,
            background_iou=o.background_iou, delta_std=o.delta_std,
        )  # fmt: skip

    def rpn_losses(self, rpn_out, fixed: Fixed):
        """Eq. 1: classification over N_cls sampled anchors + lambda * regression over N_reg anchor locations."""
        (scores, deltas), o = rpn_out, self.options
        cls, dscores = softmax_cross_entropy(scores.reshape(-1, 2), fixed.anchor_labels.reshape(-1))
        locations = fixed.anchor_labels.size // len(self.base_anchors)
        positive = (fixed.anchor_labels == 1)[..., None]
        box, ddeltas = smooth_l1(deltas, fixed.anchor_deltas, o.rpn_beta, positive * o.rpn_lambda, normaliser=locations)
        return {"rpn_cls": cls, "rpn_box": box}, (dscores.reshape(scores.shape), ddeltas)

    def head_losses(self, head_out, fixed: Fixed):
        """Fast R-CNN eq. 1: classification + regression of the true class's box, both over the sampled regions."""
        logits, deltas = head_out
        cls, dlogits = softmax_cross_entropy(logits, fixed.roi_labels)
        xp = array_module(logits)
        own_class = fixed.roi_labels[:, None] == xp.arange(1, 1 + len(self.classes))  # nowhere for background
        target = xp.broadcast_to(fixed.roi_deltas[:, None], deltas.shape)
        box, ddeltas = smooth_l1(deltas, target, 1.0, own_class[..., None], normaliser=max(len(logits), 1))
        return {"cls": cls, "box": box}, (dlogits, ddeltas)

    def predict(self, images, image_sizes=None) -> list[dict]:
        """Detections in each image (N, 3, H, W); image_sizes [(h, w), ...] where images are padded."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        xp, features = array_module(images), self.backbone(images)
        rpn_out = self.rpn(features)
        anchors = grid_anchors(self.base_anchors, features.shape[2:], self.backbone.stride)
        sizes = image_sizes or [images.shape[2:]] * len(images)
        o, detections = self.options, []
        for n, (scores, deltas, size) in enumerate(zip(*rpn_out, sizes)):
            rois = self._proposals(scores, deltas, anchors, size, o.test_pre_nms, o.test_post_nms)
            pooled = self.roi_pool(features, rois, xp.full(len(rois), n, np.int64))
            detections.append(self._detections(*self.head(pooled), rois, size))
        return detections

    def _proposals(self, scores, deltas, anchors, image_size, pre_nms, post_nms):
        """Boxes (M, 4) of one image from its scores (A, 2) and deltas (A, 4)."""
        o, objectness = self.options, scores[:, 1] - scores[:, 0]  # the logit of softmax's p(object): the same order
        counts = {"pre_nms": pre_nms, "post_nms": post_nms}
        return propose(
            objectness, deltas, anchors, image_size, **counts, nms_iou=o.proposal_nms_iou, min_size=o.min_size
        )[0]

    def _detections(self, logits, deltas, rois, image_size):
        """The classes' boxes above the score threshold, after non-maximum suppression class by class."""
        o, xp = self.options, array_module(logits)
        e = xp.exp(logits - logits.max(axis=1, keepdims=True))
        scores = (e / e.sum(axis=1, keepdims=True))[:, 1:].ravel()
        scaled = xp.stack([deltas[..., i] * std for i, std in enumerate(o.delta_std)], axis=-1)
        boxes = clip(decode(scaled, rois[:, None]), image_size).reshape(-1, 4)
        labels = xp.arange(len(boxes)) % len(self.classes) + 1
        keep = nms_among(scores >= o.score_threshold, boxes, scores, o.nms_iou, labels, max_keep=o.detections_per_image)
        return {"boxes": boxes[keep], "labels": labels[keep], "scores": scores[keep]}


def _options(given: dict, **defaults) -> Options:
    """Options from a dict that may come from JSON, lists for tuples. ValueError as complete's."""
    merged = complete("faster_rcnn", given, **asdict(Options()) | defaults)
    return Options(**{name: tuple(value) if isinstance(value, list) else value for name, value in merged.items()})


@register("faster_rcnn_vgg16", "detection", recipe={"epochs": 14, "batch_size": 1, "lr": 0.001, "milestones": [0.75]})
def faster_rcnn_vgg16(classes, rng, *, frozen_layers: int = 0, **options) -> FasterRCNN:
    """The paper's detector. For fine-tuning pretrained weights the paper takes frozen_layers=10 (conv1 and conv2)."""
    backbone = vgg16(frozen_layers=frozen_layers, rng=rng)
    return FasterRCNN(classes, backbone, _options(options), {"frozen_layers": frozen_layers}, rng=rng)


@register("faster_rcnn_small", "detection", recipe={"epochs": 30, "batch_size": 2, "lr": 0.01})
def faster_rcnn_small(classes, rng, *, width: int = 12, stride: int = 4, **options) -> FasterRCNN:
    """The same detector for images of some 300 pixels, trained from random weights on a CPU within minutes.

    Its stride of 4 is for small objects: RoI pooling rounds boxes to whole cells, and half a cell of stride 8 is a
    lot of an object of 40 pixels. On generated scenes of 160 x 120 it lifts AP at IoU 0.75 from 0.64 to 0.86.
    """
    small = {
        "short_side": 240, "max_side": 400, "anchor_scales": (24, 48, 96), "rpn_channels": 8 * width, "hidden": 256,
        "dropout": 0.0, "train_pre_nms": 2000, "train_post_nms": 500, "test_pre_nms": 1000, "test_post_nms": 200,
        "min_size": 4.0,
        "background_iou": (0.0, 0.5), "from_scratch": True,
    }  # fmt: skip
    backbone = small_vgg(width=width, stride=stride, rng=rng)
    return FasterRCNN(classes, backbone, _options(options, **small), {"width": width, "stride": stride}, rng=rng)
