"""What R-CNN and SPP-net share once a region has features: a linear SVM for each class, and regression of the box.

    stored features of all regions, objects among them (vision.detection.feature_store)
    fit_svms    objects of a class against regions below negative_iou, then rounds of hard negatives
    fit_boxes   ridge regression from the features of regions near an object to its box

Reference: Girshick et al. 2014, R-CNN, arXiv:1311.2524, sec. 2.2 and 2.3, appendices B and C.
"""

import hashlib
import json
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from nn import Linear, softmax
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import check_shape
from vision.boxes.boxes import clip, decode
from vision.boxes.matching import sample_rois
from vision.boxes.nms import nms_among
from vision.detection.detector import Detector, check_proposals, least_score
from vision.detection.feature_store import TRUTH, FeatureStore, reopened
from vision.detection.linear_svm import fit_svm
from vision.detection.region_examples import box_pairs, described, hard_negatives, random_negatives
from vision.detection.region_layers import RegionLayers
from vision.detection.ridge import fit_ridge
from vision.options import check_least

WEIGHTS = {"positive_weight": 2.0, "bias_scale": 10.0}  # an object counts twice; the bias's own feature: the code's
NORM = 20.0  # mean norm that features are scaled to: the code's
MARGIN, EVICT = -1.0, -1.2  # negatives above the margin are hard; those below EVICT are easy by now (the code's)
STORE = "features"  # folder in that of the run


class RegionSVM(Detector):
    """A detector that scores proposals by SVMs on a CNN's features.

    A subclass has pool5(image, rois) -> (R, D), inferred, calls init_regions, and names in behind_features the parts
    that stored features depend on, in after_features the options that they do not depend on. The buffer mined
    (classes, capacity) holds the rows of the negatives, -1 behind the last; fitted (2,): whether SVMs and box
    regression are there.
    """

    buffers = ("mined", "fitted")
    behind_features: tuple[str, ...] = ("backbone", "head")
    after_features: tuple[str, ...] = ()

    def init_regions(self, in_features: int, rng: np.random.Generator):
        """The layers behind pool5, of D values."""
        o, classes = self.options, len(self.classes)
        check_least(type(self).__name__, o, 1, "train_regions", "test_regions", "samples", "capacity")
        check_least(type(self).__name__, o, 0, "c", "ridge", above=True)
        self.proposals = o.proposals
        self.head = RegionLayers(in_features, o.hidden, classes, o.dropout, rng=rng)
        widths = self.head.widths
        self.svm = Linear(widths[o.features], classes, rng=rng)
        self.boxes = Linear(widths[o.box_features], 4 * classes, rng=rng)
        for layer in (self.svm, self.boxes):
            layer.weight.value[...] = 0
        self.mined = np.full((classes, o.capacity), -1, np.int64)
        self.fitted = np.zeros(2, bool)

    def predict(self, images, image_sizes=None, proposals=None) -> list[dict]:
        """Detections among the proposals [(K, 4), ...] of images (N, 3, H, W) of sizes [(h, w), ...]."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        check_proposals(self, images, proposals)
        sizes, found = image_sizes or [images.shape[2:]] * len(images), []
        for image, size, boxes in zip(images, sizes, proposals):
            rois = clip(boxes[: self.options.test_regions], size)
            pool5 = self.pool5(image[:, : size[0], : size[1]], rois)
            found.append(self.detections(self.head.features(pool5), rois, size))
        return found

    def dense(self, images) -> dict[str, np.ndarray]:
        """The map of the convolutions; those of R-CNN see crops."""
        return {"features": self.backbone(images)}

    def detections(self, features: dict, rois, image_size: tuple[int, int]) -> dict:
        """boxes, labels, scores of one image: above the threshold, after non-maximum suppression by class."""
        o, xp, classes = self.options, array_module(rois), len(self.classes)
        by_svm, (has_svm, has_boxes) = o.svm, self.fitted.tolist()
        scores = self.svm(features[o.features]) if by_svm and has_svm else softmax(features["logits"], axis=1)[:, 1:]
        boxes = xp.repeat(rois[:, None], classes, axis=1).astype(scores.dtype)
        if o.box_regression and has_boxes:
            boxes = decode(self.boxes(features[o.box_features]).reshape(len(rois), classes, 4), boxes)
        boxes, scores = clip(boxes, image_size).reshape(-1, 4), scores.ravel()
        labels = xp.arange(len(boxes)) % classes + 1
        least = least_score(o, -np.inf if by_svm and has_svm else 0.05)
        keep = nms_among(scores >= least, boxes, scores, o.nms_iou, labels, max_keep=o.detections_per_image)
        return {"boxes": boxes[keep], "labels": labels[keep], "scores": scores[keep]}

    def sampled(self, images, targets, rng) -> Iterator[tuple]:
        """(image (3, h, w) without padding, rois (R, 4), labels (R,)) of each image of a batch, as many of each."""
        o = self.options
        for image, target in zip(images, targets):
            h, w = target["image_size"]
            rois, labels, _ = sample_rois(
                clip(target["proposals"][: o.train_regions], (h, w)), target["boxes"], target["labels"], rng,
                num_classes=len(self.classes), samples=max(1, o.samples // len(images)),
                foreground_fraction=o.foreground_fraction, foreground_iou=o.foreground_iou,
                background_iou=o.background_iou,
            )  # fmt: skip
            yield image[:, :h, :w], rois, labels

    def regions_of(self, target: dict) -> np.ndarray:
        """(K, 4) float32: the proposals of a training image that are used, and the boxes of its objects behind them."""
        proposals = clip(target["proposals"][: self.options.train_regions], target["image_size"])
        solid = (proposals[:, 2:] - proposals[:, :2] >= 1).all(axis=1)
        return np.concatenate([proposals[solid], target["boxes"]]).astype(np.float32)

    def store(self, loader) -> FeatureStore:
        """The store of the training data in the folder of the run: opened, or made."""
        if self.folder is None:
            raise ValueError(f"{self.name}: features are stored in the folder of a run: train with scripts.train")
        counts = [self.count_regions(target) for _, targets in loader.epoch(0) for target in targets]
        if not sum(counts):
            raise ValueError(f"{self.name}: no image has a proposal or an object: nothing to learn from")
        return FeatureStore(self.folder / STORE, self.depends_on(), counts, self.stored_layers(), len(self.classes))

    def count_regions(self, target: dict) -> int:
        """How many regions of a training image are stored."""
        return len(self.regions_of(target))

    def stored_layers(self) -> dict[str, int]:
        """The layers in the store, and their widths."""
        return {name: self.head.widths[name] for name in sorted({self.options.features, self.options.box_features})}

    def depends_on(self) -> dict[str, str]:
        """What stored features depend on: hashes of the options, and of the weights of the parts in behind_features."""
        config = {name: value for name, value in self.config.items() if name not in self.after_features}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for name, array in to_device(self.state_dict(), "cpu").items():
            if name.startswith(self.behind_features):
                digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return {"model": self.name, "digest": digest.hexdigest()[:16]}

    def read(self, store: FeatureStore, layer: str, rows) -> np.ndarray:
        """(n, width) float32: a layer of stored regions, inferred from pool5 where it is not stored itself."""
        if layer in store.layers:
            return store.read(layer, rows)
        pool5 = to_device(store.read("pool5", rows), device_of(self.svm.weight.value))
        return to_device(self.head.features(pool5)[layer], "cpu")

    def fit_features(self, loader, rng: np.random.Generator, start: int) -> Iterator[dict]:
        """Compute and store the features of all regions; what is stored already is left. A round a tenth of them."""
        store = self.store(loader)
        tqdm.write(f"features: {store}")
        images = ((image, target) for batch in loader.epoch(0) for image, target in zip(*batch))
        every, done = -(-len(store.counts) // 10), 0
        for i, (image, target) in enumerate(tqdm(images, "storing", len(store.counts), disable=None, leave=False)):
            if not store.is_done(i):
                table, features = self.examples(image, target)
                store.write(i, table, {layer: features[layer] for layer in store.layers})
                done += 1
            if (i + 1) % every == 0 or i + 1 == len(store.counts):
                store.flush()
                if done:
                    yield {"images": i + 1, "regions": int(store.counts[: i + 1].sum()), "GB": store.bytes / 1e9}
                done = 0

    def examples(self, image, target: dict) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The columns of the store and the features, by layer, of the regions of an image."""
        rois, where = self.regions_of(target), device_of(self.svm.weight.value)
        h, w = target["image_size"]
        pool5 = self.pool5(to_device(image[:, :h, :w], where), to_device(rois, where))
        features = to_device(self.head.features(pool5), "cpu")
        return described(rois, target["boxes"], target["labels"], len(self.classes)), features

    def fit_svms(self, loader, rng: np.random.Generator, start: int) -> Iterator[dict]:
        """SVMs of objects and random negatives; in each later round, what they take for objects comes in."""
        store, seed, o = reopened(self.folder / STORE, self.depends_on()), int(rng.integers(2**32)), self.options
        for k in range(start, 1 + o.rounds):
            drawn = np.random.default_rng([seed, k])
            found = self.harder(store) if k else random_negatives(store, o.negative_iou, o.negatives, drawn)
            found = [np.append(rows, np.full(o.capacity, -1))[: o.capacity] for rows in found]
            self.mined = to_device(np.stack(found), device_of(self.svm.weight.value))
            figures = self.solve(store, drawn)
            self.fitted[0] = True
            yield figures

    def solve(self, store: FeatureStore, rng: np.random.Generator) -> dict:
        """The SVM of each class, from its objects and its negatives. Features are scaled to a mean norm of 20."""
        o, figures, factor = self.options, {}, NORM / self.mean_norm(store, self.options.features)
        for c, (name, others) in enumerate(zip(self.classes, self.negatives())):
            objects = self.positives(store, c)
            if not len(objects) or not len(others):
                raise ValueError(f"{self.name}: {name} has {len(objects)} objects and {len(others)} regions without it")
            x = factor * np.concatenate([self.read(store, o.features, rows) for rows in (objects, others)])
            y = np.repeat([1, -1], [len(objects), len(others)])
            svm = fit_svm(x, y, o.c, **WEIGHTS, tolerance=0.01, rng=rng)
            self.assign(self.svm, slice(c, c + 1), factor * svm.weight, svm.bias)
            figures |= {f"{name}: negatives": len(others), f"{name}: violation": svm.violation, f"{name}: gap": svm.gap}
        return figures

    def positives(self, store: FeatureStore, c: int) -> np.ndarray:
        """The rows of class c's objects: their own boxes."""
        return np.flatnonzero(store.regions[:, TRUTH] == c + 1)

    def negatives(self) -> list[np.ndarray]:
        """The rows of the negatives of each class."""
        return [rows[rows >= 0] for rows in to_device(self.mined, "cpu")]

    def harder(self, store: FeatureStore) -> list[np.ndarray]:
        """Rows for each class: the hard negatives by the SVMs so far, and those known that are not easy by now."""
        weight, bias = to_device((self.svm.weight.value, self.svm.bias.value), "cpu")
        score = lambda rows: self.read(store, self.options.features, rows) @ weight.T + bias  # noqa: E731
        hard = hard_negatives(store, score, self.options.negative_iou, self.options.hard, MARGIN)
        known = [rows[score(rows)[:, c] > EVICT] for c, rows in enumerate(self.negatives())]
        return [np.fromiter(dict.fromkeys([*old.tolist(), *new.tolist()]), np.int64) for old, new in zip(known, hard)]

    def fit_boxes(self, loader, rng: np.random.Generator, start: int) -> Iterator[dict]:
        """Ridge regression, for each class, from the features of regions near an object to the object's box.

        As in the code, targets have mean 0, and a feature of 1 is behind the others. The code whitens the targets, too:
        the solution is linear in them, so that changes nothing.
        """
        if start:
            return
        store, o, figures = reopened(self.folder / STORE, self.depends_on()), self.options, {}
        factor = NORM / self.mean_norm(store, o.box_features)
        for c, name in enumerate(self.classes):
            rows, t = box_pairs(store, c + 1, o.box_iou)
            if not len(rows):
                raise ValueError(f"{self.name}: no region has an IoU of {o.box_iou} with a {name}")
            x, mean = factor * self.read(store, o.box_features, rows), t.mean(axis=0)
            w = fit_ridge(np.concatenate([x, np.ones((len(x), 1))], axis=1), t - mean, o.ridge)
            self.assign(self.boxes, slice(4 * c, 4 * c + 4), factor * w[:-1].T, w[-1] + mean)
            figures |= {f"{name}: pairs": len(rows)}
        self.fitted[1] = True
        yield figures

    def mean_norm(self, store: FeatureStore, layer: str) -> float:
        """The mean norm of the features of at most 2000 regions, evenly taken."""
        rows = np.unique(np.linspace(0, store.rows - 1, min(store.rows, 2000)).astype(np.int64))
        return max(float(np.linalg.norm(self.read(store, layer, rows), axis=1).mean()), 1e-6)

    def assign(self, layer: Linear, rows: slice, weight: np.ndarray, bias):
        """Set rows of a layer, on its device."""
        where, dtype = device_of(layer.weight.value), layer.weight.value.dtype
        layer.weight.value[rows] = to_device(weight.astype(dtype), where)
        layer.bias.value[rows] = to_device(np.asarray(bias, dtype), where)
