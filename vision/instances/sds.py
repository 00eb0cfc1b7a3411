"""Simultaneous detection and segmentation: proposed regions, seen in their box and alone, classified and refined.

    regions   nodes of Selective Search's merge trees (the paper: MCG, see vision.proposals.segments)     sec. 3.1
    features  [box CNN of the crop, region CNN of the crop with the mean colour as background]            sec. 3.2
    classes   an SVM each on both features; regions that overlap a better one are dropped                 sec. 3.3
    masks     refined by a coarse mask of the class and superpixels                                       sec. 3.4

Reference: Hariharan, Arbelaez, Girshick and Malik 2014, Simultaneous detection and segmentation, arXiv:1407.1808.
"""

from typing import Any, NamedTuple

import numpy as np

from nn import Linear, softmax_cross_entropy
from nn.dispatch import array_module
from nn.gpu.device import to_device
from nn.layer import check_shape
from vision.boxes import iou
from vision.boxes.matching import choose_rois
from vision.boxes.region_heads import published_fully_connected
from vision.boxes.rpn import gaussian
from vision.detection.region_options import PLAIN
from vision.instances.pathway import Pathway, region_crops
from vision.instances.sds_options import Options, SmallOptions
from vision.instances.segment_svm import FEATURES, SegmentSVM
from vision.model import Stage
from vision.registry import Tiny, register

TOGETHER = 100  # regions that go through the CNNs at once


class Sampled(NamedTuple):
    """Regions of a step: constants. crops, alone (R, 3, size, size), and labels of boxes and of regions (R,)."""

    crops: np.ndarray
    alone: np.ndarray
    box_labels: np.ndarray
    region_labels: np.ndarray


class Cache(NamedTuple):
    """From loss to backward: of each CNN, and of each score layer with the gradient of its logits."""

    paths: dict[str, Any]
    scores: dict[str, tuple]
    sampled: Sampled


class SDS(SegmentSVM):
    """Two CNNs with score layers for their fine-tuning; SVMs and refinement behind them: see SegmentSVM."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, rng)
        o, n = options, len(self.classes)
        self.needs_weights = o.frozen is not None
        self.box = Pathway(o, rng=rng)
        if o.variant != "A":
            self.region = Pathway(o, rng=rng)
        for name in {"A": ("box",), "B": FEATURES, "C": ("both",)}[o.variant]:
            score = Linear(2 * o.hidden if name == "both" else o.hidden, 1 + n, rng=rng)
            score.weight.value[...] = gaussian(score.weight.value.shape, 0.01, rng)
            setattr(self, f"score_{name}", score)

    def stages(self) -> tuple[Stage, ...]:
        scores = [name for name in dict(self.children()) if name.startswith("score_")]
        rates = {"lr_scale": dict.fromkeys(scores, self.options.score_rate)}
        return (
            Stage("fine-tune", rates, (*FEATURES, *scores), evaluated=False),
            Stage("features", PLAIN, fit="fit_features", evaluated=False),
            Stage("svm", PLAIN, fit="fit_svms", evaluated=False),
            Stage("refine", PLAIN, fit="fit_refinement"),
        )

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({box}, {box, region} or {both}, cache) of variants A, B, C: softmax cross-entropy of sampled regions."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        sampled = sampled or self.sample(images, targets, rng)
        hidden, losses, cache = {}, {}, Cache({}, {}, sampled)
        hidden["box"], cache.paths["box"] = self.box.forward(sampled.crops)
        if self.options.variant != "A":
            hidden["region"], cache.paths["region"] = self.region.forward(sampled.alone)
        if self.options.variant == "C":
            hidden = {"both": array_module(images).concatenate([hidden["box"], hidden["region"]], axis=1)}
        for name, x in hidden.items():
            logits, c_score = getattr(self, f"score_{name}").forward(x)
            labels = sampled.box_labels if name == "box" else sampled.region_labels
            losses[name], dlogits = softmax_cross_entropy(logits, labels)
            cache.scores[name] = c_score, dlogits
        return losses, cache

    def backward(self, cache: Cache):
        """Add the gradients to all parameters of the CNNs."""
        dhidden = {name: getattr(self, f"score_{name}").backward(d, c) for name, (c, d) in cache.scores.items()}
        if "both" in dhidden:  # both = [box, region]
            half = self.options.hidden
            dhidden = {"box": dhidden["both"][:, :half], "region": dhidden["both"][:, half:]}
        for name, c_path in cache.paths.items():
            getattr(self, name).backward_parameters(dhidden[name], c_path)  # nobody wants the gradient of the crops

    def sample(self, images, targets, rng) -> Sampled:
        """As R-CNN's, by the IoU of masks. In variants A and B the box CNN learns by the IoU of boxes."""
        o, xp, found = self.options, array_module(images), []
        for image, target in zip(images, targets):
            masks, boxes, overlap = self.regions_of(target)
            objects, names = to_device((target["boxes"], target["labels"]), "cpu")
            many, bounds = max(1, o.samples // len(images)), (o.foreground_iou, (0.0, o.foreground_iou))
            chosen = np.concatenate(choose_rois(overlap, rng, many, o.foreground_fraction, *bounds))
            crops = region_crops(image[:, : masks.shape[1], : masks.shape[2]], masks[chosen], boxes[chosen], o)
            labels = [labelled(each[chosen], names, o.foreground_iou) for each in (iou(boxes, objects), overlap)]
            found.append((*crops, *map(xp.asarray, labels)))
        return Sampled(*map(xp.concatenate, zip(*found)))

    def features(self, image, masks, boxes) -> dict[str, np.ndarray]:
        """{box, region}: fc7 of both CNNs (R, hidden) on the CPU, for regions of an image (3, h, w)."""
        second = self.box if self.options.variant == "A" else self.region
        found = {name: [np.zeros((0, self.options.hidden), image.dtype)] for name in FEATURES}
        for i in range(0, len(boxes), TOGETHER):
            crops = region_crops(image, masks[i : i + TOGETHER], boxes[i : i + TOGETHER], self.options)
            for name, network, x in zip(FEATURES, (self.box, second), crops):
                found[name].append(to_device(network(x), "cpu"))
        return {name: np.concatenate(each) for name, each in found.items()}

    def pretrained_names(self, arrays):
        """The weights of a published network are those of both CNNs, fc6 and fc7 among them."""
        published = {f"backbone.{name}": x for name, x in self.box.backbone.pretrained_names(arrays).items()}
        published |= published_fully_connected(arrays, "")
        paths = FEATURES[: 1 + (self.options.variant != "A")]
        return {f"{path}.{name}": x for path in paths for name, x in published.items()} | dict(arrays)


def labelled(overlap: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """(R,): the label of the object that each region overlaps most, by (R, G); 0 where that is below `least`."""
    if not len(labels):
        return np.zeros(len(overlap), np.int64)
    return np.where(overlap.max(axis=1) >= least, labels[overlap.argmax(axis=1)], 0)


PAPER = {"system": "SDS", "paper": "Hariharan et al. 2014, arXiv:1407.1808"}
FIGURES = "few generated scenes, AP^r at 0.5: box 0.232, region 0.343, both 0.518"
TINY = {
    "segments": "blocks", "short_side": 64, "max_side": 64, "min_side": 16, "backbone": "small_vgg", "width": 2,
    "hidden": 5, "size": 20, "padding": 3, "samples": 8, "capacity": 50, "dropout": 0.0,
}  # fmt: skip

register(
    "sds", "instances", {"epochs": 20, "batch_size": 2, "lr": 0.001, "bias_rate": 2.0, "jitter": 0.0},
    options=Options, tiny=Tiny(TINY | {"variant": "B"}), **PAPER,
)(SDS)  # fmt: skip
register(
    "sds_small", "instances", {"epochs": 10, "batch_size": 4, "lr": 0.02, "jitter": 0.0, "flip_horizontal": 0.0},
    options=SmallOptions, tiny=Tiny(TINY), figures=FIGURES, **PAPER,
)(SDS)  # fmt: skip
