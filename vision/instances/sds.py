"""Simultaneous detection and segmentation: proposed regions, seen in their box and alone, classified and refined.

    regions   nodes of Selective Search's merge trees (the paper: MCG, see vision.proposals.segments)     sec. 3.1
    features  [box CNN of the crop, region CNN of the crop with the mean colour as background]            sec. 3.2
    classes   an SVM each on both features; regions that overlap a better one are dropped                 sec. 3.3
    masks     refined by a coarse mask of the class and superpixels                                       sec. 3.4

Reference: Hariharan, Arbelaez, Girshick and Malik 2014, Simultaneous detection and segmentation, arXiv:1407.1808.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from nn import Linear, softmax_cross_entropy
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import check_shape
from vision.boxes import iou
from vision.boxes.mask_runs import mask_runs, run_iou
from vision.boxes.matching import choose_rois
from vision.boxes.rpn import gaussian
from vision.detection.feature_store import BOX, IOU, LABEL, OBJECT, TRUTH, FeatureStore
from vision.detection.region_examples import described
from vision.detection.region_options import PLAIN
from vision.detection.region_svm import RegionSVM
from vision.instances.masks import fitted, mask_nms
from vision.instances.pathway import Pathway, region_crops
from vision.instances.refinement import Refiner, Rows
from vision.instances.sds_options import Options, SmallOptions
from vision.instances.segmenter import InstanceSegmenter
from vision.model import Stage
from vision.proposals.segments import Segments, block_segments, kept_segments
from vision.registry import Tiny, register

TOGETHER = 100  # regions that go through the CNNs at once
FEATURES = ("box", "region")


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


class SDS(RegionSVM, InstanceSegmenter):
    """Two CNNs with score layers for their fine-tuning, SVMs, and the classifiers of refinement."""

    behind_features = FEATURES
    after_features = ("features", "c", "negatives", "rounds", "hard", "capacity", "refine", "refine_iou", "penalty")

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        InstanceSegmenter.__init__(self, classes, options, options.preprocess())
        o, n = options, len(self.classes)
        if min(o.count, o.samples, o.capacity, o.min_side) < 1 or min(o.c, o.penalty) <= 0:
            raise ValueError(f"SDS: need count, samples, capacity, min_side >= 1 and c, penalty > 0, got {o}")
        self.needs_weights = o.frozen is not None
        self.box = Pathway(o, rng=rng)
        if o.variant != "A":
            self.region = Pathway(o, rng=rng)
        for name in {"A": ("box",), "B": FEATURES, "C": ("both",)}[o.variant]:
            score = Linear(2 * o.hidden if name == "both" else o.hidden, 1 + n, rng=rng)
            score.weight.value[...] = gaussian(score.weight.value.shape, 0.01, rng)
            setattr(self, f"score_{name}", score)
        self.svm, self.refiner = Linear(2 * o.hidden, n, rng=rng), Refiner(2 * o.hidden, n, rng=rng)
        self.svm.weight.value[...] = 0
        self.mined, self.fitted = np.full((n, o.capacity), -1, np.int64), np.zeros(1, bool)

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("fine-tune", trains=(*FEATURES, "score_"), evaluated=False),
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

    def segments(self, image: np.ndarray) -> Segments:
        """The regions of an image (h, w, 3) uint8 of the network's size; in training they are kept in files."""
        if self.options.segments == "blocks":
            return block_segments(image, self.options.min_side)
        return kept_segments(image, self.options, self.folder and self.folder / "segments")

    def regions_of(self, target: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks (K + G, h, w), boxes and IoU (K + G, G) of the regions, with the objects' own masks behind them."""
        segments, masks, objects = to_device((target["segments"], target["masks"], target["boxes"]), "cpu")
        overlap = np.concatenate([segments.iou(masks), run_iou(mask_runs(masks), mask_runs(masks))])
        return np.concatenate([segments.masks(), masks]), np.concatenate([segments.boxes(), objects]), overlap

    def count_regions(self, target: dict) -> int:
        """Regions of an image, with its objects."""
        return len(target["segments"].members) + len(target["boxes"])

    def features(self, image, masks, boxes) -> dict[str, np.ndarray]:
        """{box, region}: fc7 of both CNNs (R, hidden) on the CPU, for regions of an image (3, h, w)."""
        second = self.box if self.options.variant == "A" else self.region
        found = {name: [np.zeros((0, self.options.hidden), image.dtype)] for name in FEATURES}
        for i in range(0, len(boxes), TOGETHER):
            crops = region_crops(image, masks[i : i + TOGETHER], boxes[i : i + TOGETHER], self.options)
            for name, network, x in zip(FEATURES, (self.box, second), crops):
                found[name].append(to_device(network(x), "cpu"))
        return {name: np.concatenate(each) for name, each in found.items()}

    def used(self, features: dict) -> np.ndarray:
        """(R, 2 hidden): both features; one that the SVMs should not see is 0."""
        return np.concatenate([features[name] * (self.options.features in ("both", name)) for name in FEATURES], axis=1)

    def stored_layers(self) -> dict[str, int]:
        """fc7 of both CNNs."""
        return dict.fromkeys(FEATURES, self.options.hidden)

    def read(self, store: FeatureStore, layer: str, rows) -> np.ndarray:
        """(n, 2 hidden): what the SVMs see of stored regions."""
        return self.used({name: store.read(name, rows) for name in FEATURES})

    def examples(self, image, target: dict) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The columns of the store, with the IoU of masks, and the features of the regions of an image."""
        masks, boxes, overlap = self.regions_of(target)
        objects, labels = to_device((target["boxes"], target["labels"]), "cpu")
        table = described(boxes, objects, labels, len(self.classes), overlap)
        return table, self.features(to_device(image, device_of(self.svm.weight.value)), masks, boxes)

    def positives(self, store: FeatureStore, c: int) -> np.ndarray:
        """The rows of class c's objects: at first their own masks, then of each the best region above an IoU of 0.5."""
        if not self.fitted[0]:
            return super().positives(store, c)
        good = (store.regions[:, LABEL] == c + 1) & (store.regions[:, IOU] > 0.5) & (store.regions[:, TRUTH] == 0)
        rows, images = np.flatnonzero(good), np.repeat(np.arange(len(store.counts)), store.counts)
        weight, bias = to_device((self.svm.weight.value[c], self.svm.bias.value[c]), "cpu")
        rows = rows[np.argsort(-(self.read(store, "", rows) @ weight + bias), kind="stable")]
        objects = np.concatenate([images[rows, None], store.regions[rows, OBJECT]], axis=1)
        return rows[np.unique(objects, axis=0, return_index=True)[1]]  # the first one of each object

    def fit_refinement(self, loader, rng: np.random.Generator, start: int) -> Iterator[dict]:
        """Coarse masks from the features, then superpixels from the coarse masks: a round each."""
        store = self.store(loader)
        for k in range(start, 2):
            found: list[list] = [[] for _ in self.classes]
            for i, target in enumerate(t for _, targets in loader.epoch(0) for t in targets):
                segments, masks = to_device((target["segments"], target["masks"]), "cpu")
                for c, rows in enumerate(self.refined_rows(store, i, segments, masks)):
                    if len(rows.boxes):
                        found[c].append(self.refiner.examples(c, segments, rows) if k else rows)
            for c, name in enumerate(self.classes):
                if not found[c]:
                    wanted = f"no region has an IoU of {self.options.refine_iou} with a {name}"
                    raise ValueError(f"{self.name}: {wanted}: set a lower refine_iou")
                if k == 0:
                    self.refiner.fit_coarse(c, found[c], self.options.penalty)
                else:
                    self.refiner.fit_fine(c, found[c])
            self.refiner.fitted[0] = k == 1
            yield {f"{name}: images": len(each) for name, each in zip(self.classes, found)}

    def refined_rows(self, store: FeatureStore, i: int, segments: Segments, masks) -> Iterator[Rows]:
        """Of each class the regions of the i-th image that refinement learns from."""
        rows, overlap = store.of_image(i), segments.iou(masks)
        table = store.regions[rows][: len(segments.members)]  # without the objects themselves
        for c in range(len(self.classes)):
            own = np.flatnonzero((table[:, LABEL] == c + 1) & (table[:, IOU] >= self.options.refine_iou))
            objects = masks[overlap[own].argmax(axis=1)] if len(own) else masks[:0]
            yield Rows(self.read(store, "", rows.start + own), segments.members[own], table[own, BOX], objects)

    def found_in(self, scaled: np.ndarray) -> dict:
        """See InstanceSegmenter."""
        batch = to_device(self.preprocess.batch([scaled]), device_of(self.svm.weight.value))
        return self.predict(batch, [scaled.shape[:2]], [self.segments(scaled)])[0]

    def predict(self, images, image_sizes=None, segments=None) -> list[dict]:
        """boxes, labels, scores and masks (D, h, w), best first, on the CPU, of images (N, 3, H, W) of sizes [(h, w)].

        segments: the regions of each image.
        """
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        if segments is None or len(segments) != len(images):
            got = "none" if segments is None else f"those of {len(segments)} for {len(images)} images"
            raise ValueError(f"SDS: predict needs the segments of each image, got {got}")
        sizes = image_sizes or [images.shape[2:]] * len(images)
        return [self.detections(x[:, :h, :w], own) for x, (h, w), own in zip(images, sizes, segments)]

    def detections(self, image, segments: Segments) -> dict:
        """Regions above the threshold that overlap no better one of their class, with refined masks."""
        o, masks, boxes, classes = self.options, segments.masks(), segments.boxes(), len(self.classes)
        x = self.used(self.features(image, masks, boxes))
        weight, bias = to_device((self.svm.weight.value, self.svm.bias.value), "cpu")
        scores = (x @ weight.T + bias).ravel()  # (K * classes,)
        sure = np.flatnonzero(scores >= o.score_threshold)
        keep = mask_nms(masks[sure // classes], scores[sure], o.nms_iou, sure % classes)[: o.detections_per_image]
        region, labels = sure[keep] // classes, sure[keep] % classes + 1
        found = masks[region]
        for c in range(classes) if o.refine and self.refiner.fitted[0] else ():
            own = labels == c + 1
            rows = Rows(x[region[own]], segments.members[region[own]], boxes[region[own]], found[:0])
            found[own] = self.refiner.masks(c, segments, rows)
        return {"boxes": fitted(boxes[region], found, 0), "labels": labels, "scores": scores[sure][keep], "masks": found}

    def pretrained_names(self, arrays):
        """The published weights of a backbone are those of both CNNs."""
        published, paths = self.box.backbone.pretrained_names(arrays), FEATURES[: 1 + (self.options.variant != "A")]
        return {f"{path}.backbone.{name}": x for path in paths for name, x in published.items()} | dict(arrays)


def labelled(overlap: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """(R,): the label of the object that each region overlaps most, by (R, G); 0 where that is below `least`."""
    if not len(labels):
        return np.zeros(len(overlap), np.int64)
    return np.where(overlap.max(axis=1) >= least, labels[overlap.argmax(axis=1)], 0)


PAPER = {"system": "SDS", "paper": "Hariharan et al. 2014, arXiv:1407.1808"}
TINY = {
    "segments": "blocks", "min_side": 16, "backbone": "small_vgg", "width": 1, "hidden": 5, "size": 20, "padding": 3,
    "samples": 8, "capacity": 50, "dropout": 0.0,
}  # fmt: skip

register(
    "sds", "instances", {"epochs": 20, "batch_size": 2, "lr": 0.001, "lr_scale": {"score_": 10.0}, "jitter": 0.0},
    options=Options, tiny=Tiny(TINY | {"variant": "B"}), **PAPER,
)(SDS)  # fmt: skip
register(
    "sds_small", "instances", {"epochs": 10, "batch_size": 4, "lr": 0.02, "jitter": 0.0, "flip_horizontal": 0.0},
    options=SmallOptions, tiny=Tiny(TINY), **PAPER,
)(SDS)  # fmt: skip
