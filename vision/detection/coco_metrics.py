"""Average precision and recall by the rules of COCO, for boxes, masks and key points.

AP of a class at one IoU threshold: rank its detections over all images by score. Each in turn takes an object of its
image, the one that it overlaps most among those not taken yet, if their overlap reaches the threshold; it is then a
true positive, else a false one. After each detection

    precision = true / (true + false),     recall = true / objects

and p(r), the highest precision at recall r or more, is read off at 101 recall points 0, 0.01, ..., 1: AP is the mean of
these 101 values. COCO's AP is the mean over the thresholds 0.50, 0.55, ..., 0.95, and over the classes that have
objects. AR is the recall that the best 1, 10 or 100 detections of a class in an image reach, averaged in the same way.

Some objects are ignored: crowds, difficult ones, and those of another size where AP of small ones is asked. They need
not be found, and a detection does not count if it takes one of them, or takes none and has another size itself.

Reference: Lin et al. 2014, arXiv:1405.0312; cocodataset.org, "Detection evaluation". Results equal pycocotools'.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vision.boxes.boxes import area, check_labels
from vision.boxes.mask_runs import run_areas
from vision.detection.coco_overlaps import box_overlap, keypoint_similarity, mask_overlap, point_extent, runs_of

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)  # not arange(101) / 100: the last bit decides whether a recall of 7 / 100 reaches 0.07
SIZES = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}  # of area, in pixels


class Kind(NamedTuple):
    """What is compared, and how."""

    overlap: Callable  # (detected, truth) -> (D, G)
    size: Callable  # detected -> areas (D,)
    sizes: tuple[str, ...] = tuple(SIZES)
    best: tuple[int, ...] = (1, 10, 100)  # detections of a class in an image that count for AR; the last for AP, too


KINDS = {
    "boxes": Kind(box_overlap, lambda found: area(np.asarray(found["boxes"], np.float64))),
    "masks": Kind(mask_overlap, lambda found: run_areas(runs_of(found))),
    "keypoints": Kind(keypoint_similarity, point_extent, ("all", "medium", "large"), (20,)),
}


class Judged(NamedTuple):
    """The detections of one image, best first: arrays (D,), and of each size A and threshold T (A, T, D) bool."""

    labels: np.ndarray
    scores: np.ndarray
    rank: np.ndarray  # 0 for the best of its class
    took: np.ndarray  # whether it took an object
    ignored: np.ndarray  # whether it does not count


class COCOMetrics:
    """COCO's metrics of a data set, image by image: `add` each, then `result`.

    kind: "boxes", "masks" or "keypoints". What is kept of an image is small, so masks need not stay in memory.
    """

    def __init__(self, classes: Sequence[str], kind: str = "boxes"):
        if kind not in KINDS:
            raise ValueError(f"COCOMetrics: kind must be one of {', '.join(KINDS)}, got {kind!r}")
        self.classes, self.name, self.kind = tuple(classes), kind, KINDS[kind]
        self.images: list[Judged] = []
        self.objects = np.zeros((len(self.kind.sizes), 1 + len(self.classes)), np.int64)  # to be found, by size, label

    def add(self, detected: dict, truth: dict):
        """Take one image's detections and objects.

        detected: labels (D,) in 1..C and scores (D,), and boxes (D, 4), masks (D, H, W) bool, or keypoints (D, J, 3).
        truth: the same for its objects, without scores; perhaps crowd (G,), difficult (G,), and area (G,), of the mask,
        in pixels (default: that of the masks, or the boxes). Raises ValueError for scores that are NaN, labels outside
        1..C, and arrays of different length.
        """
        self._check(detected, truth)
        order = np.argsort(-np.asarray(detected["scores"], np.float64), kind="stable")
        rank = _ranks(detected["labels"][order])
        order, rank = order[rank < self.kind.best[-1]], rank[rank < self.kind.best[-1]]
        detected = _rows(detected, self.name, order)
        detected, truth = _with_runs(detected, self.name), _with_runs(truth, self.name)
        crowd, ignored = self._ignored_objects(truth)
        for i, out in enumerate(ignored):
            self.objects[i] += np.bincount(truth["labels"][~out], minlength=self.objects.shape[1])
        ranges = np.array([SIZES[name] for name in self.kind.sizes])  # (A, 2)
        size = self.kind.size(detected)
        outside = (size < ranges[:, :1]) | (size > ranges[:, 1:])  # (A, D)
        took = np.zeros((len(ranges), len(THRESHOLDS), len(order)), bool)
        no_matter = np.repeat(outside[:, None], len(THRESHOLDS), axis=1)
        for label in np.intersect1d(detected["labels"], truth["labels"]):
            d, g = np.flatnonzero(detected["labels"] == label), np.flatnonzero(truth["labels"] == label)
            overlap = self.kind.overlap(_rows(detected, self.name, d), _rows(truth, self.name, g))
            match = take(overlap, crowd[g], ignored[:, g])
            took[..., d] = match >= 0
            of_object = ignored[:, g][np.arange(len(ranges))[:, None, None], match]
            no_matter[..., d] = np.where(match >= 0, of_object, no_matter[..., d])
        self.images.append(Judged(detected["labels"], detected["scores"], rank, took, no_matter))

    def result(self) -> dict:
        """AP, AP50, AP75, AP_small, ..., AR_1, ..., AR_small, ..., and AP by class under "classes"; NaN: undefined."""
        sizes, best = self.kind.sizes, self.kind.best
        precision = np.full((len(sizes), len(self.classes), len(THRESHOLDS), len(RECALLS)), np.nan)
        recall = np.full((len(sizes), len(best), len(self.classes), len(THRESHOLDS)), np.nan)
        whole = [np.concatenate(parts, axis=-1) for parts in zip(*self.images)]
        for k in range(len(self.classes) if self.images else 0):
            own = np.flatnonzero(whole[0] == k + 1)
            own = own[np.argsort(-np.asarray(whole[1][own], np.float64), kind="stable")]
            rank, took, ignored = (field[..., own] for field in whole[2:])
            for a in np.flatnonzero(self.objects[:, k + 1]):
                true, false = took[a] & ~ignored[a], ~took[a] & ~ignored[a]  # (T, D) each
                precision[a, k] = precision_at_recalls(true, false, self.objects[a, k + 1])
                for b, count in enumerate(best):
                    recall[a, b, k] = true[:, rank < count].sum(axis=1) / self.objects[a, k + 1]
        return self._named(precision, recall)

    def _named(self, precision, recall) -> dict:
        """The means that COCO reports; thresholds 0.5 and 0.75 have the indices 0 and 5."""
        sizes, best = self.kind.sizes, self.kind.best
        ap, ar = {"AP": precision[0], "AP50": precision[0, :, 0], "AP75": precision[0, :, 5]}, {}
        ap |= {f"AP_{name}": precision[a] for a, name in enumerate(sizes) if a}
        ar |= {f"AR_{count}": recall[0, b] for b, count in enumerate(best)}
        ar |= {f"AR_{name}": recall[a, -1] for a, name in enumerate(sizes) if a}
        by_class = {name: _mean(precision[0, k]) for k, name in enumerate(self.classes)}
        return {name: _mean(values) for name, values in (ap | ar).items()} | {"classes": by_class}

    def _ignored_objects(self, truth) -> tuple[np.ndarray, np.ndarray]:
        """crowd (G,), and which objects are ignored for each size (A, G)."""
        none = np.zeros(len(truth["labels"]), bool)
        crowd = np.asarray(truth.get("crowd", none), bool)
        out = crowd | np.asarray(truth.get("difficult", none), bool)
        if self.name == "keypoints":
            out = out | ~(np.asarray(truth["keypoints"])[..., 2] > 0).any(axis=1)
        size = np.asarray(truth["area"]) if "area" in truth else self.kind.size(truth)
        return crowd, np.stack([out | (size < low) | (size > high) for low, high in map(SIZES.get, self.kind.sizes)])

    def _check(self, detected, truth):
        who = f"COCOMetrics: image {len(self.images)}"
        for name, objects in (("detections", detected), ("objects", truth)):
            rows, labels = objects[self.name], objects["labels"]
            check_labels(f"{who}: {name}", np.zeros((len(rows), 4)), len(self.classes), labels=labels)
        if np.shape(detected["scores"]) != np.shape(detected["labels"]) or np.isnan(detected["scores"]).any():
            raise ValueError(f"{who}: scores must be one for each detection, none of them NaN")


def take(overlap: np.ndarray, crowd: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """The object (A, T, D) that each detection takes for each size and threshold, -1 for none.

    overlap (D, G) of one image and class, best detection first; crowd (G,); ignored (A, G). A crowd may be taken again
    and again. An object that counts goes before one that is ignored; of two equal overlaps COCO's code takes the last.
    """
    match = np.full((len(ignored), len(THRESHOLDS), len(overlap)), -1)
    free = np.ones((*match.shape[:2], len(crowd)), bool)  # (A, T, G)
    for d in np.flatnonzero(overlap.max(axis=1) >= THRESHOLDS[0]):
        near = free & (overlap[d] >= THRESHOLDS[:, None])
        counts = near & ~ignored[:, None]
        near = np.where(counts.any(axis=2, keepdims=True), counts, near)
        last = np.where(near, overlap[d], -1)[..., ::-1].argmax(axis=2)
        found = near.any(axis=2)
        match[..., d] = np.where(found, len(crowd) - 1 - last, -1)
        a, t = np.nonzero(found & ~crowd[match[..., d]])
        free[a, t, match[a, t, d]] = False
    return match


def precision_at_recalls(true: np.ndarray, false: np.ndarray, objects: int) -> np.ndarray:
    """p(r) at the 101 recall points (T, 101); true and false (T, D) bool, best detection first."""
    true, false = np.cumsum(true, axis=1), np.cumsum(false, axis=1)
    precision = np.append(true / np.maximum(true + false, 1), np.zeros((len(true), 1)), axis=1)  # 0 beyond the end
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = [np.searchsorted(recall, RECALLS) for recall in true / objects]  # the first detection with this recall
    return np.take_along_axis(highest, np.stack(reached), axis=1)


def _ranks(labels: np.ndarray) -> np.ndarray:
    """How many of the same label stand before each."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        rank[own] = np.arange(len(own))
    return rank


def _with_runs(objects: dict, kind: str) -> dict:
    return objects | {"masks": runs_of(objects)} if kind == "masks" else objects


def _rows(objects: dict, kind: str, index: np.ndarray) -> dict:
    """The objects at the indices, with the fields that the metrics read."""
    names = {kind, "boxes", "labels", "scores", "crowd", "area"} & objects.keys()
    return {
        name: [objects[name][i] for i in index] if isinstance(objects[name], list) else objects[name][index]
        for name in names
    }


def _mean(values: np.ndarray) -> float:
    """The mean of what is defined."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
