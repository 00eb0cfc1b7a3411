"""Mask R-CNN with a branch for key points: each is a one-hot mask of its own, found by a softmax over all cells.

Reference: He et al. 2017, Mask R-CNN, arXiv:1703.06870, sec. 5, "Mask R-CNN for human pose estimation".
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, ConvTranspose2d, ReLU, RoIAlign, Sequential, Upsample2d, softmax_cross_entropy
from nn.dispatch import array_module
from nn.layer import Layer, positive
from nn.layers.softmax import softmax
from vision.backbones import Backbone, small_vgg
from vision.boxes import iou
from vision.detection import faster_rcnn
from vision.instances import mask_rcnn
from vision.instances.mask_rcnn import MaskRCNN
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(mask_rcnn.Options):
    """For images of about 160 pixels, trained from random weights on a CPU; the paper's values in brackets."""

    keypoints: int = 17  # J, key points of an object: counted in the training data
    keypoint_convs: int = 3  # 3x3 convolutions of the branch (8)
    keypoint_channels: int = 48  # their channels (512)

    def __post_init__(self):
        positive("KeypointRCNN", keypoints=self.keypoints)


class KeypointHead(Layer):
    """pooled (P, C, m, m) -> scores (P, J, 4 m, 4 m): 3x3 convolutions, a transposed one, bilinear interpolation.

    The high resolution matters: 56 x 56 cells for m = 14. Reference: sec. 5, "Implementation details".
    """

    def __init__(self, in_channels: int, options: Options, *, rng: np.random.Generator):
        layers, channels = [], in_channels
        for _ in range(options.keypoint_convs):
            layers += [Conv2d(channels, options.keypoint_channels, 3, padding=1, rng=rng), ReLU()]
            channels = options.keypoint_channels
        layers += [
            ConvTranspose2d(channels, options.keypoints, 4, 2, 1, rng=rng),
            Upsample2d(scale_factor=2, mode="bilinear"),
        ]
        self.network = Sequential(*layers)

    def forward(self, x, training=True):
        return self.network.forward(x, training)

    def backward(self, dy, cache):
        return self.network.backward(dy, cache)


def keypoint_targets(keypoints, rois, size: int):
    """(P, J) int64: the cell, row by row, of each key point (P, J, 3) in its region (P, 4) of size x size cells.

    -1, which does not count, for points that are not marked (v = 0) or lie outside of the region. A point on its right
    or lower border is in the last cell, as in Detectron: extreme points of an object lie there.
    """
    xp, (x1, y1, x2, y2) = array_module(rois), array_module(rois).moveaxis(rois[:, None], 2, 0)  # (P, 1) each
    column = xp.floor((keypoints[..., 0] - x1) / xp.maximum(x2 - x1, 1e-6) * size).astype(np.int64)
    row = xp.floor((keypoints[..., 1] - y1) / xp.maximum(y2 - y1, 1e-6) * size).astype(np.int64)
    column = xp.where(keypoints[..., 0] == x2, size - 1, column)
    row = xp.where(keypoints[..., 1] == y2, size - 1, row)
    inside = (keypoints[..., 2] > 0) & (column >= 0) & (row >= 0) & (column < size) & (row < size)
    return xp.where(inside, row * size + column, -1)


def keypoint_loss(scores, cells):
    """(value, dscores): cross-entropy of a softmax over the m x m cells of each key point, mean over the marked ones.

    scores (P, J, m, m), cells (P, J) from keypoint_targets.
    """
    flat = scores.reshape(cells.size, scores.shape[2] * scores.shape[3])
    value, dflat = softmax_cross_entropy(flat, cells.reshape(cells.size))
    return value, dflat.reshape(scores.shape)


def most_likely(scores, boxes):
    """(P, J, 3): x, y in pixels of the centre of the likeliest cell, and its probability."""
    xp, (p, j, m, _) = array_module(scores), scores.shape
    probability = softmax(scores.reshape(p * j, m * m), axis=1)
    best = probability.argmax(axis=1)
    row, column = xp.divmod(best.reshape(p, j), m)
    low, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    at = low + (xp.stack([column, row], axis=2) + 0.5) / m * size
    return xp.concatenate([at, probability.max(axis=1).reshape(p, j, 1)], axis=2).astype(boxes.dtype)


class Sampled(NamedTuple):
    """As Mask R-CNN's, and the cell of each key point of the regions that are objects (P, J)."""

    regions: faster_rcnn.Sampled
    foreground: np.ndarray
    masks: np.ndarray
    cells: np.ndarray


class Branch(NamedTuple):
    """From loss to backward: the caches of the branch and the gradient of its scores."""

    pool: Any
    head: Any
    dscores: np.ndarray


class KeypointRCNN(MaskRCNN):
    """Boxes, masks and key points. Targets also have keypoints (K, J, 3): x, y in pixels, v = 0 where not marked."""

    def __init__(self, classes, backbone: Backbone, options: Options, *, rng: np.random.Generator):
        super().__init__(classes, backbone, options, rng=rng)
        self.keypoint_align = RoIAlign(options.mask_pooled, 1 / backbone.stride, options.sampling_ratio, aligned=True)
        self.keypoint_head = KeypointHead(backbone.out_channels, options, rng=rng)

    def branch_loss(self, features, sampled: Sampled):
        """({keypoint}, cache): the key points of regions with an object."""
        regions, fg = sampled.regions, sampled.foreground
        pooled, c_pool = self.keypoint_align.forward(features, regions.rois[fg], regions.image_index[fg])
        scores, c_head = self.keypoint_head.forward(pooled)
        value, dscores = keypoint_loss(scores, sampled.cells)
        return {"keypoint": value}, Branch(c_pool, c_head, dscores)

    def branch_backward(self, cache: Branch):
        """The gradient of the features."""
        dpooled = self.keypoint_head.backward(cache.dscores, cache.head)
        dfeatures, _, _ = self.keypoint_align.backward(dpooled, cache.pool)
        return dfeatures

    def propose_and_sample(self, rpn_out, anchors, targets, rng) -> Sampled:
        """Mask R-CNN's samples, and the cells of the key points of the object that each region overlaps most."""
        regions, fg, masks = super().propose_and_sample(rpn_out, anchors, targets, rng)
        xp, size = array_module(regions.rois), 4 * self.options.mask_pooled
        cells = [xp.zeros((0, self.options.keypoints), np.int64)]
        for n, target in enumerate(targets):
            if "keypoints" not in target or target["keypoints"].shape[1:] != (self.options.keypoints, 3):
                got = target["keypoints"].shape if "keypoints" in target else "none"
                raise ValueError(f"KeypointRCNN: wanted keypoints (K, {self.options.keypoints}, 3), got {got}")
            own = regions.rois[fg[regions.image_index[fg] == n]]
            if len(own):
                matched = iou(own, target["boxes"]).argmax(axis=1)
                cells.append(keypoint_targets(target["keypoints"][matched], own, size))
        return Sampled(regions, fg, masks, xp.concatenate(cells))

    def detections(self, features, rois, n: int, image_size: tuple[int, int]) -> dict:
        """As Mask R-CNN's, with keypoints (D, J, 3): x, y, and the probability of the cell."""
        found, xp = super().detections(features, rois, n, image_size), array_module(rois)
        pooled = self.keypoint_align(features, found["boxes"], xp.full(len(found["boxes"]), n, np.int64))
        return found | {"keypoints": most_likely(self.keypoint_head(pooled), found["boxes"])}


@register(
    "keypoint_rcnn_small", "instances", {"epochs": 12, "batch_size": 2, "lr": 0.01},
    options=Options, tiny=Tiny({
        "width": 2, "stride": 8, "hidden": 8, "anchor_scales": (16, 32), "anchor_samples": 32, "roi_samples": 16,
        "min_size": 2, "mask_pooled": 3, "mask_convs": 1, "mask_channels": 5, "keypoints": 4, "keypoint_convs": 1,
        "keypoint_channels": 5,
    }),
    system="Mask R-CNN with key points", paper="He et al. 2017, arXiv:1703.06870, sec. 5",
)  # fmt: skip
def keypoint_rcnn_small(classes, options: Options, rng) -> KeypointRCNN:
    """On a narrow VGG."""
    options = replace(options, rpn_channels=options.rpn_channels or 8 * options.width)
    return KeypointRCNN(classes, small_vgg(width=options.width, stride=options.stride, rng=rng), options, rng=rng)
