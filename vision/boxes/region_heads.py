"""Heads of region detectors: from pooled regions to class scores and boxes, with loss and detections."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nn import Dropout, Linear, ReLU, Sequential, smooth_l1, softmax, softmax_cross_entropy
from nn.dispatch import array_module
from nn.layer import Layer
from vision.boxes.boxes import clip, decode
from vision.boxes.matching import sample_rois
from vision.boxes.nms import nms_among
from vision.boxes.rpn import gaussian


class Regions(NamedTuple):
    """The regions of a batch that a head is trained on: constants, no gradient goes through them.

    rois (R, 4) in pixels, image_index (R,) in the batch, labels (R,), 0 for background, and deltas (R, 4).
    """

    rois: np.ndarray
    image_index: np.ndarray
    labels: np.ndarray
    deltas: np.ndarray


class RegionHead(Layer):
    """Class scores and per-class box deltas of each pooled region.

    pooled (R, C, ph, pw) -> logits (R, 1 + classes), index 0 for background, and deltas (R, classes, 4), normalised.
    Two hidden layers, see fully_connected, and two sibling outputs, initialised by Gaussians of standard deviation 0.01
    and 0.001 (sec. 2.3). options: those of Faster R-CNN for regions and detections.

    Reference: Girshick 2015, Fast R-CNN, arXiv:1504.08083, sec. 2.1 to 2.3.
    """

    def __init__(self, in_features: int, classes: int, options, *, rng: np.random.Generator):
        self.options, self.classes, hidden = options, classes, options.hidden
        self.classifier = fully_connected(in_features, hidden, options.dropout, rng)
        self.cls_score = Linear(hidden, 1 + classes, rng=rng)
        self.bbox_pred = Linear(hidden, 4 * classes, rng=rng)
        self.cls_score.weight.value[...] = gaussian((1 + classes, hidden), 0.01, rng)
        self.bbox_pred.weight.value[...] = gaussian((4 * classes, hidden), 0.001, rng)

    def forward(self, x, training=True):
        flat = x.reshape(len(x), x.shape[1] * x.shape[2] * x.shape[3])  # (R, C * ph * pw)
        hidden, c_hidden = self.classifier.forward(flat, training)
        logits, c_logits = self.cls_score.forward(hidden, training)
        deltas, c_deltas = self.bbox_pred.forward(hidden, training)
        return (logits, deltas.reshape(len(x), self.classes, 4)), (x.shape, c_hidden, c_logits, c_deltas)

    def backward(self, dy, cache):
        x_shape, c_hidden, c_logits, c_deltas = cache
        return self.classifier.backward(self._dhidden(dy, c_logits, c_deltas), c_hidden).reshape(x_shape)

    def backward_parameters(self, dy, cache):
        _, c_hidden, c_logits, c_deltas = cache
        self.classifier.backward_parameters(self._dhidden(dy, c_logits, c_deltas), c_hidden)

    def _dhidden(self, dy, c_logits, c_deltas):
        dlogits, ddeltas = dy
        dhidden = self.cls_score.backward(dlogits, c_logits)
        return dhidden + self.bbox_pred.backward(ddeltas.reshape(len(dlogits), 4 * self.classes), c_deltas)

    def loss(self, outputs, labels, deltas):
        """Eq. 1: classification + regression of the true class's box, both over the sampled regions.

        labels (R,), 0 for background, and deltas (R, 4) from `sample`. -> losses, gradients of outputs.
        """
        logits, predicted = outputs
        cls, dlogits = softmax_cross_entropy(logits, labels)
        xp = array_module(logits)
        own_class = labels[:, None] == xp.arange(1, 1 + self.classes)  # (R, classes), all False for background
        target = xp.broadcast_to(deltas[:, None], predicted.shape)
        box, ddeltas = smooth_l1(predicted, target, 1.0, own_class[..., None], normaliser=len(logits))
        return {"cls": cls, "box": box}, (dlogits, ddeltas)

    def sample(self, proposals, target: dict, rng: np.random.Generator):
        """rois (R, 4), labels (R,) and deltas (R, 4) of one image: see sample_rois."""
        o = self.options
        return sample_rois(
            proposals, target["boxes"], target["labels"], rng, num_classes=self.classes, samples=o.roi_samples,
            foreground_fraction=o.foreground_fraction, foreground_iou=o.foreground_iou,
            background_iou=o.background_iou, delta_std=o.delta_std,
        )  # fmt: skip

    def sample_batch(self, proposals: Sequence[np.ndarray], targets: Sequence[dict], rng) -> Regions:
        """The sampled regions of all images, from the proposals (M, 4) of each."""
        return joined([self.sample(own, target, rng) for own, target in zip(proposals, targets, strict=True)])

    def detections(self, outputs, rois, image_size: tuple[int, int]) -> dict:
        """boxes, labels, scores of one image: above the score threshold, after non-maximum suppression by class."""
        (logits, deltas), o = outputs, self.options
        xp = array_module(logits)
        scores = softmax(logits, axis=1)[:, 1:].ravel()  # (R * classes,)
        scaled = xp.stack([deltas[..., i] * std for i, std in enumerate(o.delta_std)], axis=-1)
        boxes = clip(decode(scaled, rois[:, None]), image_size).reshape(-1, 4)  # (R * classes, 4)
        labels = xp.arange(len(boxes)) % self.classes + 1
        keep = nms_among(scores >= o.score_threshold, boxes, scores, o.nms_iou, labels, max_keep=o.detections_per_image)
        return {"boxes": boxes[keep], "labels": labels[keep], "scores": scores[keep]}


def joined(samples: Sequence[tuple]) -> Regions:
    """Regions of a batch from the rois (R, 4), labels (R,) and deltas (R, 4) of each image."""
    rois, labels, deltas = zip(*samples)
    xp = array_module(*rois)
    image_index = xp.concatenate([xp.full(len(own), n, np.int64) for n, own in enumerate(rois)])
    return Regions(xp.concatenate(rois), image_index, xp.concatenate(labels), xp.concatenate(deltas))


def fully_connected(in_features: int, hidden: int, dropout: float, rng: np.random.Generator) -> Sequential:
    """fc6 and fc7: (R, in_features) to (R, hidden). Layers 0 and 3, as in torchvision's classifier of VGG-16."""
    return Sequential(
        Linear(in_features, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
        Linear(hidden, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
    )  # fmt: skip


def published_fully_connected(arrays: Mapping[str, np.ndarray], prefix: str = "head.") -> dict[str, np.ndarray]:
    """fc6 and fc7 of a published network under the names that fully_connected has as the classifier of a head.

    They are the first two layers of its own: classifier.0 and .3 of torchvision's VGG-16, .1 and .4 of its AlexNet. A
    file of convolutions alone has none.
    """
    layers = sorted(int(found[1]) for name in arrays if (found := re.fullmatch(r"classifier\.(\d+)\.weight", name)))
    return {
        f"{prefix}classifier.{own}.{what}": arrays[name]
        for own, layer in zip((0, 3), layers) for what in ("weight", "bias")
        if (name := f"classifier.{layer}.{what}") in arrays
    }  # fmt: skip
