"""Faster R-CNN on a feature pyramid: ResNet-50-FPN under torchvision's names, and a small one.

Every level has anchors of one scale and shares one RPN; a region is pooled from the level that fits its size.

Reference: Lin et al. 2017, Feature pyramid networks for object detection, arXiv:1612.03144, sec. 4 and 5; RoIAlign, not
the paper's RoI pooling, as in torchvision, whose anchors have their centres in the corner of a cell, not in its middle.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nn import BatchNorm2d, Linear, ReLU
from nn.dispatch import array_module
from nn.layer import Layer
from vision.backbones.fpn import PyramidBackbone
from vision.backbones.residual import BasicBlock, Bottleneck
from vision.backbones.resnet import BLOCKS, ResNet
from vision.boxes import RegionHead
from vision.boxes.pyramid import PyramidAlign, PyramidRPN
from vision.detection import faster_rcnn
from vision.detection.detector import Detector
from vision.detection.faster_rcnn import Cache, FasterRCNN
from vision.registry import Tiny, register

STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Options(faster_rcnn.Options):
    """The paper's; where it is silent, torchvision's."""

    short_side: int = 800  # pixels of the shorter side (sec. 5.1)
    max_side: int = 1333  # pixels of the longer side at most
    anchor_scales: tuple[float, ...] = (32, 64, 128, 256, 512)  # sides of square anchors in pixels, one a level
    rpn_beta: float = 1 / 9  # where the RPN's smooth L1 loss becomes linear
    train_pre_nms: int = 2000  # boxes of each level that go into NMS in training
    test_pre_nms: int = 1000  # boxes of each level that go into NMS in testing
    test_post_nms: int = 1000  # proposals kept in testing
    min_size: float = 1e-3  # shorter and narrower proposals are dropped, in pixels
    hidden: int = 1024  # units of each of the two hidden layers
    roi_samples: int = 512  # regions that the heads are trained on, per image
    background_iou: tuple[float, float] = (0.0, 0.5)  # IoU of regions that count as background
    nms_iou: float = 0.5  # IoU above which NMS drops a detection
    pooling: Literal["align"] = "align"  # of regions: RoIAlign on the level that fits
    rounding: Literal["caffe", "split"] = "caffe"  # not used: RoIAlign rounds nothing
    dropout: float = 0.5  # not used: the head has none
    rpn_channels: int = 512  # not used: the RPN has as many channels as the pyramid
    rpn_lambda: float = 10.0  # not used: the RPN's losses have the same weight, as in torchvision
    width: int = 64  # channels of the body's first convolution
    blocks: tuple[int, ...] = BLOCKS["resnet50"]  # in each of its four stages
    bottleneck: bool = True  # blocks of three convolutions, not two
    frozen_norm: bool = True  # batch normalisation keeps its published statistics and weights
    pyramid_channels: int = 256  # channels of all levels
    canonical: float = 224.0  # side of a region that is pooled from the third level (eq. 1)
    sampling_ratio: int = 2  # samples of RoIAlign in a bin along each axis


class Named(Layer):
    """Layers by name, used one by one."""

    def __init__(self, **layers: Layer):
        vars(self).update(layers)


class BoxHeads(RegionHead):
    """pooled (R, C, ph, pw) -> logits (R, 1 + classes), deltas (R, classes, 4), by two hidden layers: see RegionHead.

    As in torchvision, deltas have a channel for the background, too, which nothing uses.
    """

    def __init__(self, channels: int, classes: int, options, *, rng: np.random.Generator):
        self.options, self.classes, o = options, classes, options
        fc6 = Linear(channels * o.pooled_size**2, o.hidden, rng=rng)
        self.box_head = Named(fc6=fc6, fc7=Linear(o.hidden, o.hidden, rng=rng))
        outputs = {"cls_score": Linear(o.hidden, 1 + classes, rng=rng)}
        self.box_predictor = Named(**outputs, bbox_pred=Linear(o.hidden, 4 * (1 + classes), rng=rng))
        for layer, std in ((self.box_predictor.cls_score, 0.01), (self.box_predictor.bbox_pred, 0.001)):
            layer.weight.value[...] *= std / layer.weight.value.std()
        self.relu = ReLU()

    def forward(self, x, training=True):
        head, out, relu = self.box_head, self.box_predictor, self.relu
        flat = x.reshape(len(x), x.shape[1] * x.shape[2] * x.shape[3])  # (R, C * ph * pw)
        one, c_fc6 = head.fc6.forward(flat, training)
        one, c_relu6 = relu.forward(one, training)
        two, c_fc7 = head.fc7.forward(one, training)
        two, c_relu7 = relu.forward(two, training)
        logits, c_logits = out.cls_score.forward(two, training)
        deltas, c_deltas = out.bbox_pred.forward(two, training)
        deltas = deltas.reshape(len(x), 1 + self.classes, 4)[:, 1:]
        return (logits, deltas), (x.shape, c_fc6, c_relu6, c_fc7, c_relu7, c_logits, c_deltas)

    def backward(self, dy, cache):
        (dlogits, down), (x_shape, c_fc6, c_relu6, c_fc7, c_relu7, c_logits, c_deltas) = dy, cache
        head, out, relu, xp = self.box_head, self.box_predictor, self.relu, array_module(dlogits)
        ddeltas = xp.concatenate([xp.zeros_like(down[:, :1]), down], axis=1).reshape(len(dlogits), -1)
        dtwo = out.cls_score.backward(dlogits, c_logits) + out.bbox_pred.backward(ddeltas, c_deltas)
        done = head.fc7.backward(relu.backward(dtwo, c_relu7), c_fc7)
        return head.fc6.backward(relu.backward(done, c_relu6), c_fc6).reshape(x_shape)


class FasterRCNNFPN(FasterRCNN):
    """ResNet and pyramid, one RPN on five levels, RoIAlign on four, a head shared by all levels.

    loss and predict are Faster R-CNN's: its features are the tuple of maps here.
    """

    heads: ClassVar[type[BoxHeads]] = BoxHeads
    old_names: ClassVar[dict[str, str]] = {
        "rpn.head.conv.weight": "rpn.head.conv.0.0.weight", "rpn.head.conv.bias": "rpn.head.conv.0.0.bias",
    } | {
        f"fpn.{blocks}.{i}.{p}": f"fpn.{blocks}.{i}.0.{p}"
        for blocks in ("inner_blocks", "layer_blocks") for i in range(4) for p in ("weight", "bias")
    }  # fmt: skip

    def __init__(self, classes, options: Options, *, rng: np.random.Generator):
        Detector.__init__(self, classes, options, options.preprocess(multiple=32))  # all parts are others than there
        o, block = options, Bottleneck if options.bottleneck else BasicBlock
        body = ResNet(o.blocks, o.width, block=block, rng=rng)
        if o.frozen_norm:
            freeze_norms(body)
        self.backbone = PyramidBackbone(body, STAGES, o.pyramid_channels, rng=rng)
        self.rpn = PyramidRPN(o.pyramid_channels, self.backbone.strides, o, rng=rng)
        self.roi_heads = self.heads(o.pyramid_channels, len(self.classes), o, rng=rng)
        self.roi_pool = PyramidAlign(o.pooled_size, self.backbone.strides[:-1], o.sampling_ratio, o.canonical)

    @property
    def head(self) -> BoxHeads:
        """Faster R-CNN's name of the head."""
        return self.roi_heads

    def backward(self, cache: Cache):
        """Add the gradients of the total loss to all parameters."""
        dpooled = self.head.backward(cache.dhead, cache.head)
        of_boxes, _, _ = self.roi_pool.backward(dpooled, cache.pool)
        *finer, dlast = self.rpn.backward(cache.drpn, cache.rpn)  # nothing else is on the coarsest level
        dmaps = [a + b for a, b in zip(finer, of_boxes)]  # maps fork: gradients add up
        self.backbone.backward_parameters((*dmaps, dlast), cache.backbone)

    def dense(self, images) -> dict[str, np.ndarray]:
        """The maps p2, p3, ... of the pyramid, and for each anchor the RPN's scores (N, A) and deltas (N, A, 4)."""
        maps = self.backbone(images)
        scores, deltas = self.rpn(maps)
        return {f"p{i}": x for i, x in enumerate(maps, 2)} | {"rpn_scores": scores, "rpn_deltas": deltas}

    def pretrained_names(self, arrays):
        """torchvision's first names, of before 2022, become those of today; those of a ResNet alone are the body's."""
        own, new = self.state_dict(), {}
        for name, array in arrays.items():
            for old, now in self.old_names.items():
                name = name.replace(old, now)
            new[f"backbone.body.{name}" if f"backbone.body.{name}" in own else name] = array
        return new


def freeze_norms(body: Layer):
    """Batch normalisation keeps its statistics and weights: batches of one or two images say too little."""
    for _, layer in body.layers():
        if isinstance(layer, BatchNorm2d):
            layer.frozen = True
            layer.weight.trainable = layer.bias.trainable = False


# Sec. 5.2: 60,000 steps of 16 images at a rate of 0.02, 20,000 at 0.002, which are 11 epochs of 115,000; decay: 5.1.
RECIPE = {"epochs": 11, "batch_size": 2, "lr": 0.0025, "milestones": [0.75], "weight_decay": 0.0001, "jitter": 0.0}


@register(
    "faster_rcnn_resnet50_fpn", "detection", RECIPE,
    options=Options, tiny=Tiny({
        "width": 1, "blocks": (1, 1, 1, 1), "pyramid_channels": 4, "hidden": 8, "anchor_scales": (8, 16, 24, 32, 48),
        "anchor_samples": 800, "roi_samples": 12, "min_size": 2, "canonical": 24, "pooled_size": 3,
    }),
    system="Faster R-CNN with FPN", paper="Lin et al. 2017, arXiv:1612.03144",
    figures="ResNet-50-FPN: 41,755,286 parameters, as published; small: AP50 0.899 on 72 photographs of blood cells",
)  # fmt: skip
def faster_rcnn_resnet50_fpn(classes, options: Options, rng) -> FasterRCNNFPN:
    """The paper's, as in torchvision: 41,755,286 parameters for 90 classes and the background.

    All of the ResNet is trained but for its batch normalisation; torchvision holds conv1 and layer1, too.
    """
    return FasterRCNNFPN(classes, options, rng=rng)


@dataclass(frozen=True)
class SmallOptions(Options):
    """For images of about 300 pixels, trained from random weights on a CPU."""

    short_side: int = 240  # pixels of the shorter side
    max_side: int = 400  # pixels of the longer side at most
    anchor_scales: tuple[float, ...] = (16, 32, 64, 128, 256)  # sides of square anchors in pixels, one a level
    train_pre_nms: int = 500  # boxes of each level that go into NMS in training
    train_post_nms: int = 500  # proposals kept in training
    test_pre_nms: int = 300  # boxes of each level that go into NMS in testing
    test_post_nms: int = 200  # proposals kept in testing
    min_size: float = 4.0  # shorter and narrower proposals are dropped, in pixels
    hidden: int = 256  # units of each of the two hidden layers
    roi_samples: int = 128  # regions that the heads are trained on, per image
    nms_iou: float = 0.3  # IoU above which NMS drops a detection
    width: int = 16  # channels of the body's first convolution
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # in each of its four stages
    bottleneck: bool = False  # blocks of three convolutions, not two
    frozen_norm: bool = False  # batch normalisation keeps its published statistics and weights
    from_scratch: bool = True  # new layers start from He's weights, not the paper's small Gaussians
    pyramid_channels: int = 48  # channels of all levels
    canonical: float = 64.0  # side of a region that is pooled from the third level


@register(
    "faster_rcnn_fpn_small", "detection", {"epochs": 25, "batch_size": 2, "lr": 0.01},
    options=SmallOptions, tiny=Tiny({
        "width": 2, "blocks": (1, 1, 1, 1), "pyramid_channels": 4, "hidden": 8, "anchor_scales": (8, 16, 24, 32, 48),
        "anchor_samples": 800, "roi_samples": 12, "min_size": 2, "canonical": 24, "pooled_size": 3,
        "frozen_norm": True,  # statistics of a few cells put ReLUs near their kinks
    }),
    system="Faster R-CNN with FPN", paper="Lin et al. 2017, arXiv:1612.03144",
)  # fmt: skip
def faster_rcnn_fpn_small(classes, options: SmallOptions, rng) -> FasterRCNNFPN:
    """On a narrow ResNet-18."""
    return FasterRCNNFPN(classes, options, rng=rng)
