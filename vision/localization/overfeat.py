"""OverFeat: one network that classifies, localizes and detects by looking at all windows of an image at several scales.

Training, on random windows around the objects: the classifier first; then, its convolutions held, the box regressor,
one box for each class (sec. 4). Inference: dense evaluation at six scales; at each scale, for the classes with the
highest scores there, the boxes that the regressor predicts at all windows; all of them are merged greedily, and the
scores of their windows add up. For detection there is a background class, trained on random windows that hold no object
(sec. 5), and every merged box is an answer.

Differences to the paper: boxes of windows whose class is less probable than `floor` are not merged, since each merge
looks at all pairs; two fully connected layers in the classifier, one in the regressor; scales are factors of the image
as `preprocess` makes it.

Reference: Sermanet et al. 2014, OverFeat: integrated recognition, localization and detection using convolutional
networks, arXiv:1312.6229.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nn import Upsample2d, softmax
from nn.gpu.device import to_device
from vision.boxes.boxes import clip
from vision.detection.detector import Detector
from vision.detection.draw import grid
from vision.localization.localizer import Localizer
from vision.localization.overfeat_draw import draw_merge
from vision.localization.overfeat_merge import greedy_merge
from vision.localization.overfeat_training import MEAN, STD, Objects, OverFeatTraining
from vision.options import ImageOptions
from vision.preprocess import IMAGENET_MEAN, IMAGENET_STD
from vision.registry import Tiny, register
from vision.task import EvenSubset, on_its_device

SHOWN = 4  # images of which the merge is drawn


@dataclass(frozen=True)
class Options(ImageOptions):
    """On the published AlexNet without its paddings, windows of 243 pixels."""

    features: Literal["small", "alexnet"] = "alexnet"  # the convolutions
    width: int = 64  # channels of the first convolution
    frozen: str | None = "conv5"  # last stage of the convolutions that is not trained; none: all are trained
    cells: int = 2  # side of the map behind the last pooling, which the fully connected layers see
    hidden: int = 256  # units of the fully connected layers
    way: Literal["two_step", "joint"] = "two_step"  # first the classifier, then the regressor; or both losses summed
    windows: int = 4  # random windows of each object in a training step
    shares: tuple[float, float] = (0.35, 0.95)  # longer side of an object, as a share of its window's
    empty: float = 0.3  # not used: there is no background
    scales: tuple[float, ...] = (1.0, 1.15, 1.3, 1.5, 1.7, 2.0)  # factors by which the image is scaled in testing
    top: int = 2  # classes with the highest scores at a scale, whose boxes are merged
    floor: float = 0.5  # probability of a class below which a window has no box
    per_scale: int = 60  # boxes of a class at one scale at most, those of the surest windows
    match: float = 0.5  # boxes are merged while their match is below this
    objects: int = 1  # K, the number of objects in each picture (localization)
    short_side: int = 243  # pixels of the shorter side
    max_side: int = 486  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = IMAGENET_MEAN  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = IMAGENET_STD  # then each channel is divided by this


@dataclass(frozen=True)
class SmallOptions(Options):
    """From random weights, windows of 60 pixels, for generated scenes on a CPU."""

    features: Literal["small", "alexnet"] = "small"  # the convolutions
    width: int = 12  # channels of the first convolution
    frozen: str | None = None  # last stage of the convolutions that is not trained; none: all are trained
    cells: int = 3  # side of the map behind the last pooling, which the fully connected layers see
    hidden: int = 128  # units of the fully connected layers
    scales: tuple[float, ...] = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)  # factors by which the image is scaled in testing
    short_side: int = 96  # pixels of the shorter side
    max_side: int = 160  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (123, 117, 104)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (64, 64, 64)  # then each channel is divided by this


@dataclass(frozen=True)
class DetectorOptions(SmallOptions):
    """As SmallOptions, but an image may show many classes."""

    top: int = 5  # classes with the highest scores at a scale, whose boxes are merged
    empty: float = 0.3  # largest share of an object in a window of the background
    objects: int = 1  # not used: all objects are found


class Candidates(NamedTuple):
    """Boxes (B, 4) before merging, in the image's pixels, labels (B,) from 0, scores (B,): probabilities."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class OverFeat(OverFeatTraining):
    """Candidates from all windows of an image at all scales, and their merge: what both systems share."""

    def pictures(self, dataset) -> dict[str, np.ndarray]:
        """merge: boxes before and after merging in some of the data's images."""
        drawn = []
        for sample in EvenSubset(dataset, SHOWN):
            scaled = self.preprocess.scaled(sample["image"])
            before = on_its_device(self, lambda images: self.candidates(images[0]), self.preprocess.batch([scaled]))
            drawn.append(draw_merge(scaled, before, self.merged(before), self.classes))
        return {"merge": grid(drawn, columns=2)}

    def candidates(self, image: np.ndarray) -> Candidates:
        """The boxes of one image (3, H, W) at all scales, before they are merged (sec. 4.3, a and b)."""
        o, net, found = self.options, self.network, []
        for factor in o.scales:
            size = [max(int(side * factor + 0.5), net.window) for side in image.shape[1:]]
            scaled = Upsample2d(tuple(size), mode="bilinear", align_corners=False)(image[None])
            logits, deltas = to_device(tuple(net.dense(scaled)), "cpu")
            p = softmax(logits, axis=1)[0, int(self.background) :]  # (classes, R, C)
            back = np.array([image.shape[2] / size[1], image.shape[1] / size[0]] * 2, np.float32)
            corner = net.stride * np.stack(np.indices(p.shape[1:])[::-1], axis=-1).reshape(-1, 2)  # (R * C, 2) x, y
            p = p.reshape(len(p), -1)
            for label in np.argsort(-p.max(axis=1), kind="stable")[: o.top]:
                best = np.argsort(-p[label], kind="stable")[: o.per_scale]
                best = best[p[label, best] >= min(o.floor, p.max())]
                own = deltas[0, 4 * label : 4 * label + 4].reshape(4, -1).T[best]  # (B, 4)
                boxes = (own * STD + MEAN) * net.window + np.tile(corner[best], 2)
                found.append((boxes * back, np.full(len(best), label), p[label, best]))
        boxes, labels, scores = (np.concatenate(each) for each in zip(*found))
        return Candidates(clip(boxes.astype(np.float32), image.shape[1:]), labels, scores)

    def merged(self, found: Candidates) -> Candidates:
        """The candidates of each class merged, all classes together, best first; scores are sums over windows."""
        parts = []
        for label in np.unique(found.labels):
            own = found.labels == label
            merged = greedy_merge(found.boxes[own], found.scores[own], self.options.match)
            parts.append((merged.boxes.astype(np.float32), np.full(len(merged.boxes), label), merged.scores))
        if not parts:
            return found
        boxes, labels, scores = (np.concatenate(each) for each in zip(*parts))
        order = np.argsort(-scores, kind="stable")
        return Candidates(boxes[order], labels[order], scores[order])


class OverFeatLocalizer(OverFeat, Localizer):
    """K objects in each picture: the K merged boxes with the largest sums of scores, from left to right."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        self.make_network(rng)

    def objects_of(self, batch):
        """Those of the labels that are not -1."""
        images, size = batch[0], batch[0].shape[2:]
        labels, boxes = to_device(batch[1:], "cpu")
        return images, [Objects(b[row >= 0], row[row >= 0], size) for row, b in zip(labels, boxes)]

    def predict(self, images) -> list[dict]:
        """boxes (K, 4), labels (K,) and scores (K,) for each image; a score is the share of all scores in its box."""
        found = []
        for image in images:
            merged = self.merged(self.candidates(image))
            first = Candidates(*(each[: self.options.objects] for each in merged))
            order = np.argsort(first.boxes[:, 0::2].sum(axis=1), kind="stable")
            boxes, labels, scores = (each[order] for each in first)
            share = scores / max(merged.scores.sum(), 1e-12)
            found.append({"boxes": boxes, "labels": labels + 1, "scores": share})
        return found


class OverFeatDetector(OverFeat, Detector):
    """Any number of objects: all merged boxes; the score of a box is s / (1 + s), s the sum over its windows."""

    background = True

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        self.make_network(rng)

    def objects_of(self, batch):
        """Those of the targets of a detector."""
        images, targets = batch[0], to_device(batch[1], "cpu")
        return images, [Objects(t["boxes"], t["labels"] - 1, t["image_size"]) for t in targets]

    def predict(self, images, image_sizes=None) -> list[dict]:
        """boxes (D, 4), labels (D,) and scores (D,) for each image, best first."""
        found = []
        for image, (h, w) in zip(images, image_sizes or len(images) * [images.shape[2:]]):
            merged = self.merged(self.candidates(image[:, :h, :w]))
            scores = merged.scores / (1 + merged.scores)
            found.append({"boxes": merged.boxes, "labels": merged.labels + 1, "scores": scores})
        return found


PHOTOGRAPHS = {
    "data": "pets", "epochs": 20, "batch_size": 16, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.001,
    "schedule": "cosine", "warm_up": 30,
}  # fmt: skip
SMALL = {
    "epochs": 6, "batch_size": 16, "optimiser": "adam", "lr": 0.002, "weight_decay": 0.001, "schedule": "cosine",
    "warm_up": 30,
}  # fmt: skip
ABOUT = {"system": "OverFeat", "paper": "Sermanet et al. 2014, arXiv:1312.6229"}
TINY = {"features": "small", "frozen": None, "width": 1, "cells": 1, "hidden": 3, "windows": 2}


def _tiny(**options):
    return Tiny(TINY | options, scenes=2, size=(48, 48))


register(
    "overfeat", "localization", PHOTOGRAPHS, options=Options, tiny=_tiny(way="joint"), **ABOUT,
    figures="dense evaluation equals windows one by one within 1e-5; heads of pets, validation: 37 % localized",
)(OverFeatLocalizer)  # fmt: skip
register("overfeat_small", "localization", SMALL, options=SmallOptions, tiny=_tiny(), **ABOUT)(OverFeatLocalizer)
register(
    "overfeat_detector_small", "detection", SMALL, options=DetectorOptions, tiny=_tiny(), **ABOUT,
    figures="detection: AP50 0.842 on 200 generated scenes",
)(OverFeatDetector)  # fmt: skip
