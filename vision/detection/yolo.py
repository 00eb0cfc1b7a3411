"""YOLO: one network sees the whole image once, and each cell of a coarse grid predicts the object centred in it.

The networks it stands on are in yolo_networks.py.

Reference: Redmon et al. 2016, You only look once: unified, real-time object detection, arXiv:1506.02640 (v5). What the
paper leaves open is as in the authors' code, darknet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import l2
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from vision.backbones.backbone import Backbone
from vision.boxes.boxes import check_labels, iou
from vision.detection.detector import Detector, best_of_each_class
from vision.options import ImageOptions
from vision.preprocess import Preprocess


@dataclass(frozen=True)
class Options(ImageOptions):
    """The paper's. Images become squares."""

    short_side: int = 448  # pixels of each side of the square
    grid: int = 7  # cells along each side of the image: S
    boxes: int = 2  # boxes that each cell predicts: B
    lambda_coord: float = 5.0  # weight of the boxes' loss
    lambda_noobj: float = 0.5  # weight of the confidence of boxes without object
    score_threshold: float = 0.01  # lower scores are no detections
    nms_iou: float = 0.5  # IoU above which NMS drops a detection
    detections_per_image: int = 100  # detections kept at most

    def preprocess(self, **changes) -> Preprocess:
        """Squares."""
        return super().preprocess(resize="square", max_side=self.short_side, **changes)


class Sampled(NamedTuple):
    """What eq. 3 compares the output (N, 5 B + C, S, S) with, and the weight of each square in it: constants."""

    target: np.ndarray
    weight: np.ndarray


class Cache(NamedTuple):
    """From loss to backward."""

    network: Any
    dy: np.ndarray
    sampled: Sampled


class YOLO(Detector):
    """images (N, 3, side, side) to y (N, 5 B + C, S, S): 30 values in each of 7x7 cells for 20 classes.

    For each of its B boxes a cell predicts x, y, the centre within the cell, from 0 to 1; the square roots of width and
    height as shares of the image; and the confidence, Pr(object) IoU. Then follow C values Pr(class | object). No
    function limits them: the last layer is linear. head: layers from the backbone's last map to these values, in maps
    of S x S cells or as one vector.
    """

    def __init__(self, classes, backbone: Backbone, head: Layer, options: Options):
        super().__init__(classes, options, options.preprocess())
        self.backbone, self.head = backbone, head

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({box, confidence, class}, cache): eq. 3 for each image, and its mean over the images of the batch."""
        images, targets = batch
        y, c_network = self.forward(images)
        sampled = sampled or self.assign(y, targets)
        xp, losses = array_module(y), {}
        dy = xp.empty_like(y)
        for name, values in self.parts().items():
            part = xp.asarray(values)
            weights = 2 * sampled.weight[:, part]  # l2 is half the square
            losses[name], dy[:, part] = l2(y[:, part], sampled.target[:, part], weights, normaliser=len(y))
        return losses, Cache(c_network, dy, sampled)

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, self.options.short_side, self.options.short_side)))
        features, c_backbone = self.backbone.forward(x, training)
        y, c_head = self.head.forward(features, training)
        s = self.options.grid
        return y.reshape(len(y), self.values, s, s), (c_backbone, c_head, y.shape)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        c_backbone, c_head, shape = cache.network
        dfeatures = self.head.backward(cache.dy.reshape(shape), c_head)
        self.backbone.backward_parameters(dfeatures, c_backbone)  # nobody wants the gradient of the images

    @property
    def values(self) -> int:
        """Values of a cell: 5 B + C."""
        return 5 * self.options.boxes + len(self.classes)

    def parts(self) -> dict[str, list[int]]:
        """The values of a cell by the sums of eq. 3."""
        indices, last = range(self.values), 5 * self.options.boxes
        return {
            "box": [i for i in indices if i < last and i % 5 < 4],
            "confidence": [i for i in indices if i < last and i % 5 == 4],
            "class": [i for i in indices if i >= last],
        }

    def boxes(self, y):
        """(N, B, S, S, 4): the predicted boxes in pixels, from all values (N, 5 B + C, S, S)."""
        xp, (n, _, s, _), side = array_module(y), y.shape, self.options.short_side
        x, y, w, h = xp.moveaxis(y[:, : 5 * self.options.boxes].reshape(n, -1, 5, s, s)[:, :, :4], 2, 0)
        cells = xp.arange(s).astype(x.dtype)
        x, y = (cells + x) * side / s, (cells[:, None] + y) * side / s
        half_w, half_h = w * w * side / 2, h * h * side / 2
        return xp.stack([x - half_w, y - half_h, x + half_w, y + half_h], axis=-1)

    def assign(self, y, targets) -> Sampled:
        """In the cell of each object, its box that overlaps the object most is responsible for it.

        The confidence of a responsible box shall be that IoU, of all others 0. Where no box of the cell overlaps the
        object, the nearest one in the values is responsible. A cell takes the first object that has its centre there.
        """
        y, o = y.real, self.options
        xp, last, predicted = array_module(y), 5 * o.boxes, self.boxes(y)
        target, weight = xp.zeros_like(y), xp.zeros_like(y)
        weight[:, 4:last:5] = o.lambda_noobj
        for n, own in enumerate(targets):
            check_labels(type(self).__name__, own["boxes"], len(self.classes), labels=own["labels"])
            first, row, column, wanted = self.cells(own["boxes"])
            boxes, labels = own["boxes"][first], own["labels"][first]
            overlap = xp.stack([iou(each[row, column], boxes).diagonal() for each in predicted[n]])  # (B, K)
            values = y[n, :last].reshape(-1, 5, *y.shape[2:])[:, :4, row, column]  # (B, 4, K)
            distance = ((values - wanted) ** 2).sum(axis=1)
            responsible = xp.where(overlap.max(axis=0) > 0, overlap.argmax(axis=0), distance.argmin(axis=0))
            for i, value in enumerate((*wanted, overlap.max(axis=0))):  # x, y, sqrt w, sqrt h, confidence
                target[n, 5 * responsible + i, row, column] = value
                weight[n, 5 * responsible + i, row, column] = o.lambda_coord if i < 4 else 1
            target[n, last + labels - 1, row, column] = 1
            weight[n, last:, row, column] = 1
        return Sampled(target, weight)

    def cells(self, boxes):
        """Of the boxes (K, 4) in pixels that are first in their cell: indices, rows, columns, and values (4, F).

        The values are x, y, sqrt w, sqrt h.
        """
        xp, s, side = array_module(boxes), self.options.grid, self.options.short_side
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2 * s / side, (boxes[:, 2:] - boxes[:, :2]) / side
        cell = xp.minimum(centre.astype(np.int64), s - 1)
        _, first = xp.unique(cell[:, 1] * s + cell[:, 0], return_index=True)
        values = xp.concatenate([centre - cell, xp.sqrt(size)], axis=1)[first].T
        return first, cell[first, 1], cell[first, 0], values

    def untrained(self, objects: Sequence[np.ndarray]) -> str:
        lost = sum(len(boxes) - len(self.cells(boxes)[0]) for boxes in objects)
        s = self.options.grid
        return (
            f"{lost} have their centre in a cell of {s}x{s} that another one takes, and are not learnt" if lost else ""
        )

    def dense(self, images) -> dict[str, np.ndarray]:
        """The values of all cells (N, 5 B + C, S, S)."""
        return {"cells": self(images)}

    def predict(self, images, image_sizes=None) -> list[dict]:
        """Detections in each image (N, 3, side, side), by the score Pr(class | object) * confidence (eq. 1)."""
        y, o = self(images), self.options
        xp, n, last = array_module(y), len(images), 5 * self.options.boxes
        confidence, probability = xp.clip(y[:, 4:last:5], 0, 1), xp.clip(y[:, last:], 0, 1)
        scores = confidence[:, :, None] * probability[:, None]  # (N, B, C, S, S)
        scores = xp.moveaxis(scores, 2, -1).reshape(n, -1, len(self.classes))
        boxes, sizes = self.boxes(y).reshape(n, -1, 4), image_sizes or [images.shape[2:]] * n
        return [best_of_each_class(*each, o) for each in zip(boxes, scores, sizes)]
