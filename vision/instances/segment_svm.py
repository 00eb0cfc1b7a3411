"""What SDS does once regions have features: a linear SVM for each class, suppression by masks, refinement.

Reference: Hariharan et al. 2014, Simultaneous detection and segmentation, arXiv:1407.1808, sec. 3.3 and 3.4.
"""

from collections.abc import Iterator

import numpy as np

from nn import Linear
from nn.gpu.device import device_of, to_device
from nn.layer import check_shape, positive
from vision.boxes.mask_runs import mask_runs, run_iou
from vision.detection.detector import least_score
from vision.detection.feature_store import BOX, IOU, LABEL, OBJECT, TRUTH, FeatureStore, reopened
from vision.detection.region_examples import described
from vision.detection.region_svm import STORE, RegionSVM
from vision.instances.masks import fitted, mask_nms
from vision.instances.refinement import Refiner, Rows
from vision.instances.sds_options import Options
from vision.instances.segmenter import InstanceSegmenter
from vision.proposals.segments import Segments, block_segments, kept_segments

FEATURES = ("box", "region")


class SegmentSVM(RegionSVM, InstanceSegmenter):
    """A model that scores regions by SVMs on two features, as RegionSVM does boxes on one.

    A subclass has features(image (3, h, w), masks (R, h, w), boxes (R, 4)) -> {box, region}: (R, hidden) on the CPU,
    inferred by the networks box and region. The buffer fitted (1,): whether the SVMs are there.
    """

    behind_features = FEATURES
    after_features = ("features", "c", "negatives", "rounds", "hard", "capacity", "refine", "refine_iou", "penalty")

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        InstanceSegmenter.__init__(self, classes, options, options.preprocess())
        o, n = options, len(self.classes)
        positive("SDS", count=o.count, min_side=o.min_side, samples=o.samples, capacity=o.capacity)
        if min(o.c, o.penalty) <= 0:
            raise ValueError(f"SDS: c and penalty must be above 0, got {o.c} and {o.penalty}")
        self.svm, self.refiner = Linear(2 * o.hidden, n, rng=rng), Refiner(2 * o.hidden, n, rng=rng)
        self.svm.weight.value[...] = 0
        self.mined, self.fitted = np.full((n, o.capacity), -1, np.int64), np.zeros(1, bool)

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
        store = reopened(self.folder / STORE, self.depends_on())
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
        """The best regions that overlap no better one of their class, with refined masks."""
        o, masks, boxes, classes = self.options, segments.masks(), segments.boxes(), len(self.classes)
        x = self.used(self.features(image, masks, boxes))
        weight, bias = to_device((self.svm.weight.value, self.svm.bias.value), "cpu")
        scores = x @ weight.T + bias  # (K, classes)
        region, labels = self.after_nms(masks, scores)
        found = masks[region]
        for c in range(classes) if o.refine and self.refiner.fitted[0] else ():
            own = labels == c + 1
            rows = Rows(x[region[own]], segments.members[region[own]], boxes[region[own]], found[:0])
            found[own] = self.refiner.masks(c, segments, rows)
        boxes = fitted(boxes[region], found, 0)
        return {"boxes": boxes, "labels": labels, "scores": scores[region, labels - 1], "masks": found}

    def after_nms(self, masks: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The indices and labels (D,) of the detections, best first, of regions (K, h, w) with scores (K, classes)."""
        o, found = self.options, [np.zeros((0, 2), np.int64)]
        least = least_score(o)
        for c, own in enumerate(scores.T):
            sure = np.flatnonzero(own >= least)
            kept = sure[mask_nms(masks[sure], own[sure], o.nms_iou)]
            found.append(np.stack([kept, np.full_like(kept, c + 1)], axis=1))
        region, labels = np.concatenate(found).T
        best = np.argsort(-scores[region, labels - 1], kind="stable")[: o.detections_per_image]
        return region[best], labels[best]
