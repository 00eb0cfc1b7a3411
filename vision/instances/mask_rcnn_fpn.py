"""Mask R-CNN on a feature pyramid: the paper's ResNet-50-FPN, under torchvision's names, and a small one.

Reference: He et al. 2017, Mask R-CNN, arXiv:1703.06870; Lin et al. 2017, arXiv:1612.03144. Anchors have their centres
in the middle of a cell, in torchvision in its corner.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nn import BatchNorm2d, Conv2d, ConvTranspose2d, Linear, ReLU, Sequential
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from vision.backbones.fpn import PyramidBackbone
from vision.backbones.residual import BasicBlock, Bottleneck
from vision.backbones.resnet import BLOCKS, ResNet
from vision.boxes import RegionHead
from vision.boxes.pyramid import PyramidAlign, PyramidRPN
from vision.detection import faster_rcnn
from vision.instances.mask_rcnn import Cache, MaskRCNN, Sampled, mask_grids, mask_loss
from vision.model import Model
from vision.registry import Tiny, register

STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Options(faster_rcnn.Options):
    """The paper's; where it is silent, torchvision's."""

    short_side: int = 800  # pixels of the shorter side (sec. 3.1)
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
    width: int = 64  # channels of the body's first convolution
    blocks: tuple[int, ...] = BLOCKS["resnet50"]  # in each of its four stages
    bottleneck: bool = True  # blocks of three convolutions, not two
    frozen_norm: bool = True  # batch normalisation keeps its published statistics and weights
    pyramid_channels: int = 256  # channels of all levels
    canonical: float = 224.0  # side of a region that is pooled from the third level (eq. 1 of FPN)
    sampling_ratio: int = 2  # samples of RoIAlign in a bin along each axis
    mask_pooled: int = 14  # cells of a pooled region along each side, for the mask branch
    mask_convs: int = 4  # 3x3 convolutions of the mask branch
    mask_channels: int = 256  # their channels


class Named(Layer):
    """Layers by name, used one by one."""

    def __init__(self, **layers: Layer):
        vars(self).update(layers)


class RoIHeads(RegionHead):
    """The branches of regions: boxes by two hidden layers, masks by convolutions; loss and samples as RegionHead.

    As in torchvision, deltas and masks have a channel for the background, too, which nothing uses.
    """

    def __init__(self, channels: int, classes: int, options, *, rng: np.random.Generator):
        self.options, self.classes, o = options, classes, options
        fc6 = Linear(channels * o.pooled_size**2, o.hidden, rng=rng)
        self.box_head = Named(fc6=fc6, fc7=Linear(o.hidden, o.hidden, rng=rng))
        outputs = {"cls_score": Linear(o.hidden, 1 + classes, rng=rng)}
        self.box_predictor = Named(**outputs, bbox_pred=Linear(o.hidden, 4 * (1 + classes), rng=rng))
        for layer, std in ((self.box_predictor.cls_score, 0.01), (self.box_predictor.bbox_pred, 0.001)):
            layer.weight.value[...] *= std / layer.weight.value.std()
        self.relu, widths = ReLU(), [channels] + o.mask_convs * [o.mask_channels]
        pairs = pairwise(widths)
        self.mask_head = Sequential(*(Sequential(Conv2d(a, b, 3, padding=1, rng=rng), ReLU()) for a, b in pairs))
        conv5 = ConvTranspose2d(widths[-1], o.mask_channels, 2, 2, rng=rng)
        self.mask_predictor = Named(conv5_mask=conv5, mask_fcn_logits=Conv2d(o.mask_channels, 1 + classes, 1, rng=rng))

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


class MaskRCNNFPN(MaskRCNN):
    """ResNet and pyramid, one RPN on five levels, RoIAlign on four, heads shared by all levels."""

    def __init__(self, classes, options: Options, *, rng: np.random.Generator):
        Model.__init__(self, classes, options, options.preprocess(multiple=32))  # all parts are others than there
        o, block = options, Bottleneck if options.bottleneck else BasicBlock
        body = ResNet(o.blocks, o.width, block=block, rng=rng)
        if o.frozen_norm:
            freeze_norms(body)
        self.backbone = PyramidBackbone(body, STAGES, o.pyramid_channels, rng=rng)
        self.rpn = PyramidRPN(o.pyramid_channels, self.backbone.strides, o, rng=rng)
        self.roi_heads = RoIHeads(o.pyramid_channels, len(self.classes), o, rng=rng)
        strides = self.backbone.strides[:-1]
        self.box_roi_pool = PyramidAlign(o.pooled_size, strides, o.sampling_ratio, o.canonical)
        self.mask_roi_pool = PyramidAlign(o.mask_pooled, strides, o.sampling_ratio, o.canonical)

    @property
    def head(self) -> RoIHeads:
        """The head that samples regions."""
        return self.roi_heads

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({rpn_cls, rpn_box, cls, box, mask}, cache)."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        maps, c_backbone = self.backbone.forward(images)
        rpn_out, c_rpn = self.rpn.forward(maps)
        sampled = sampled or self.propose_and_sample(rpn_out, [x.shape[2:] for x in maps], targets, rng)
        regions, fg = sampled.regions, sampled.foreground
        pooled, c_pool = self.box_roi_pool.forward(maps, regions.rois, regions.image_index)
        head_out, c_head = self.roi_heads.forward(pooled)
        shapes, c_mask_pool = self.mask_roi_pool.forward(maps, regions.rois[fg], regions.image_index[fg])
        mask_out, c_mask = self.roi_heads.masks(shapes)
        rpn_losses, drpn = self.rpn.loss(rpn_out, regions.anchor_labels, regions.anchor_deltas)
        head_losses, dhead = self.roi_heads.loss(head_out, regions.roi_labels, regions.roi_deltas)
        value, dmasks = mask_loss(mask_out, regions.roi_labels[fg], sampled.masks)
        cache = Cache(c_backbone, c_rpn, c_pool, c_head, c_mask_pool, c_mask, drpn, dhead, dmasks, sampled)
        return rpn_losses | head_losses | {"mask": value}, cache

    def backward(self, cache: Cache):
        """Add the gradients of the total loss to all parameters."""
        dshapes = self.roi_heads.masks_backward(cache.dmasks, cache.mask_head)
        dpooled = self.roi_heads.backward(cache.dhead, cache.head)
        of_masks = self.mask_roi_pool.backward(dshapes, cache.mask_pool)
        of_boxes = self.box_roi_pool.backward(dpooled, cache.pool)
        *finer, dlast = self.rpn.backward(cache.drpn, cache.rpn)  # nothing else is on the coarsest level
        dmaps = [a + b + c for a, b, c in zip(finer, of_boxes, of_masks)]  # maps fork: gradients add up
        self.backbone.backward_parameters((*dmaps, dlast), cache.backbone)

    def predict(self, images, image_sizes=None) -> list[dict]:
        """Detections of each image, then the masks of their boxes: boxes, labels, scores, mask_grids (D, m, m)."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        xp, maps = array_module(images), self.backbone(images)
        rpn_out, anchors = self.rpn(maps), self.rpn.anchors([x.shape[2:] for x in maps])
        sizes, found = image_sizes or [images.shape[2:]] * len(images), []
        for n, (scores, deltas, size) in enumerate(zip(*rpn_out, sizes)):
            rois = self.rpn.propose(scores, deltas, anchors, size, training=False)
            pooled = self.box_roi_pool(maps, rois, xp.full(len(rois), n, np.int64))
            boxes = self.roi_heads.detections(self.roi_heads(pooled), rois, size)
            shapes = self.mask_roi_pool(maps, boxes["boxes"], xp.full(len(boxes["boxes"]), n, np.int64))
            logits, _ = self.roi_heads.masks(shapes, training=False)
            found.append(boxes | {"mask_grids": mask_grids(logits, boxes["labels"])})
        return found

    def pretrained_names(self, arrays):
        """torchvision's first names, of before 2022, become those of today: rpn.head.conv.weight, mask_fcn1."""
        new = {}
        for name, array in arrays.items():
            for old, now in OLD_NAMES.items():
                name = name.replace(old, now)
            new[name] = array
        return new


OLD_NAMES = {"rpn.head.conv.weight": "rpn.head.conv.0.0.weight", "rpn.head.conv.bias": "rpn.head.conv.0.0.bias"}
OLD_NAMES |= {f"mask_head.mask_fcn{i + 1}.": f"mask_head.{i}.0." for i in range(4)}
OLD_NAMES |= {f"fpn.{blocks}.{i}.{p}": f"fpn.{blocks}.{i}.0.{p}" for blocks in ("inner_blocks", "layer_blocks")
              for i in range(4) for p in ("weight", "bias")}  # fmt: skip


def freeze_norms(body: Layer):
    """Batch normalisation keeps its statistics and weights: batches of one or two images say too little (sec. 3.1)."""
    for _, layer in body.layers():
        if isinstance(layer, BatchNorm2d):
            layer.frozen = True
            layer.weight.trainable = layer.bias.trainable = False


@register(
    "mask_rcnn_resnet50_fpn", "instances", {"epochs": 24, "batch_size": 2, "lr": 0.0025},
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
class SmallOptions(Options):
    """For images of about 160 pixels, trained from random weights on a CPU."""

    short_side: int = 120  # pixels of the shorter side
    max_side: int = 240  # pixels of the longer side at most
    anchor_scales: tuple[float, ...] = (14, 28, 56, 112, 224)  # sides of square anchors in pixels, one a level
    train_pre_nms: int = 500  # boxes of each level that go into NMS in training
    train_post_nms: int = 500  # proposals kept in training
    test_pre_nms: int = 300  # boxes of each level that go into NMS in testing
    test_post_nms: int = 200  # proposals kept in testing
    min_size: float = 4.0  # shorter and narrower proposals are dropped, in pixels
    hidden: int = 256  # units of each of the two hidden layers
    roi_samples: int = 64  # regions that the heads are trained on, per image
    width: int = 16  # channels of the body's first convolution
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # in each of its four stages
    bottleneck: bool = False  # blocks of three convolutions, not two
    frozen_norm: bool = False  # batch normalisation keeps its published statistics and weights
    pyramid_channels: int = 48  # channels of all levels
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
