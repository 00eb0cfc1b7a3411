"""Average precision of detections, by the rules of the Pascal VOC development kit.

Reference: Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88, sec. 4.2 and 4.4;
VOCdevkit: VOCevaldet.m (matching; 11 points in 2007), VOCap.m (area, since 2010)
"""

from collections.abc import Callable, Sequence

import numpy as np

from nn.layer import check_shape
from vision.boxes.boxes import check_labels, iou


def evaluate_detections(
    detections: Sequence[dict],
    ground_truth: Sequence[dict],
    classes: int | Sequence[str],
    iou_threshold: float = 0.5,
    method: str = "area",
    overlap: Callable[[dict, dict], np.ndarray] | None = None,
) -> dict[str, float]:
    """Average precision of every class over a data set, and their mean under "mean".

    Both lists hold one dict per image, in the same order. Detections: boxes (D, 4), labels (D,) and scores (D,).
    Ground truth: boxes (G, 4), labels (G,) and, if known, difficult (G,) bool. Labels are 1..C, for the names
    `classes` in their order; an int C means the names "1" to "C".

    Detections of a class are ranked by score over all images (equal scores: as given). Each one belongs to the
    object of its class and image that it overlaps most. If their IoU is below iou_threshold it is a false positive.
    Otherwise the first one for an object is a true positive and any further one a false positive. Objects marked
    difficult need not be found, and detections that belong to one do not count. A class without objects to find has
    AP NaN and is left out of the mean. overlap(detected, truth) -> (D, G) takes the place of the IoU of the boxes.

    Raises ValueError for lists of unequal length, labels outside 1..C, scores that are NaN, arrays of wrong shape.
    """
    curves = precision_recall_curves(detections, ground_truth, classes, iou_threshold, overlap)
    result = {name: float("nan") if curve is None else voc_ap(*curve, method) for name, curve in curves.items()}
    known = [ap for ap in result.values() if not np.isnan(ap)]
    return result | {"mean": float(np.mean(known)) if known else float("nan")}


def precision_recall_curves(
    detections: Sequence[dict],
    ground_truth: Sequence[dict],
    classes: int | Sequence[str],
    iou_threshold: float = 0.5,
    overlap: Callable[[dict, dict], np.ndarray] | None = None,
) -> dict[str, tuple[np.ndarray, np.ndarray] | None]:
    """{class: (recall (D,), precision (D,)) after each detection}, None without objects; see evaluate_detections."""
    names = [str(i + 1) for i in range(classes)] if isinstance(classes, int) else list(classes)
    _check_arguments(detections, ground_truth, len(names), iou_threshold)
    labels, correct, counts = _judge(detections, ground_truth, iou_threshold, overlap or box_iou)
    to_find = _join(ground_truth, "labels", np.int64)[~_join(ground_truth, "difficult", bool)]
    curves = {}
    for label, name in enumerate(names, start=1):
        objects = np.count_nonzero(to_find == label)
        curves[name] = precision_recall(correct[counts & (labels == label)], objects) if objects else None
    return curves


def precision_recall(correct: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each detection, for detections of one class sorted by falling score.

    recall[i] = TP / objects,  precision[i] = TP / (i + 1),  TP = true positives among the first i + 1

    correct (D,) bool, objects: the number of objects to find -> recall (D,), precision (D,).
    """
    true_positives = np.cumsum(correct)
    return true_positives / max(objects, 1), true_positives / np.arange(1, len(correct) + 1)


def voc_ap(recall: np.ndarray, precision: np.ndarray, method: str = "area") -> float:
    """Average precision: the precision-recall curve summarised in one number from 0 to 1.

    The curve is first made monotonic: p(r) = the highest precision at recall r or more, 0 where there is none.

    "area"     AP = the area under p(r)                   VOC 2010 and later
    "11point"  AP = (p(0) + p(0.1) + ... + p(1)) / 11     VOC 2007

    recall (D,) and precision (D,) as from `precision_recall`; without detections AP is 0.
    Raises ValueError for another method.
    """
    if method not in ("area", "11point"):
        raise ValueError(f'voc_ap: method must be "area" or "11point", got {method!r}')
    recall = np.concatenate([[0.0], recall])
    highest = np.maximum.accumulate(np.append(precision, 0.0)[::-1])[::-1]
    if method == "area":
        return float(np.sum(np.diff(recall) * highest[:-1]))
    # arange(11) / 10 rounds 0.3 as 3 / 10 does, so a recall of 3 out of 10 does reach the point 0.3.
    reached = np.searchsorted(recall[1:], np.arange(11) / 10)
    return float(highest[reached].mean())


def box_iou(detected: dict, truth: dict) -> np.ndarray:
    """IoU (D, G) of the boxes of an image, in float64."""
    return iou(detected["boxes"].astype(float), truth["boxes"].astype(float))


def _judge(detections, ground_truth, iou_threshold, overlap_of):
    """All detections by falling score: label, whether a true positive, whether it counts. Three arrays (D,)."""
    first_object = np.cumsum([0] + [len(truth["labels"]) for truth in ground_truth])
    found = [_best_object(*pair, iou_threshold, overlap_of) for pair in zip(detections, ground_truth)]
    found = [np.where(index >= 0, index + first, -1) for index, first in zip(found, first_object)]

    rank = np.argsort(-_join(detections, "scores", float), kind="stable")
    found = np.concatenate([np.zeros(0, np.int64), *found])[rank]  # index of the object over all images, or -1
    is_first = np.zeros(len(rank), bool)
    is_first[np.unique(found, return_index=True)[1]] = True
    difficult = np.append(_join(ground_truth, "difficult", bool), False)  # the last one is for -1: no object
    return _join(detections, "labels", np.int64)[rank], is_first & (found >= 0), ~difficult[found]


def _best_object(detected, truth, iou_threshold, overlap_of):
    """(D,): the index of the object that each detection of one image belongs to, or -1 if its IoU is too low."""
    if len(truth["labels"]) == 0:
        return np.full(len(detected["labels"]), -1)
    overlap = overlap_of(detected, truth)
    overlap[detected["labels"][:, None] != truth["labels"]] = 0
    return np.where(overlap.max(axis=1) >= iou_threshold, overlap.argmax(axis=1), -1)


def _join(images, key, dtype):
    """One field of all images, concatenated; objects are not difficult where the field is missing."""
    fields = [image[key] if key in image else np.zeros(len(image["labels"]), dtype) for image in images]
    return np.concatenate([np.zeros(0, dtype), *fields]).astype(dtype)


def _check_arguments(detections, ground_truth, num_classes, iou_threshold):
    who = "evaluate_detections"
    if len(detections) != len(ground_truth):
        raise ValueError(
            f"{who}: one entry per image, got {len(detections)} detections, {len(ground_truth)} ground_truth"
        )
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"{who}: iou_threshold must lie in (0, 1], got {iou_threshold}")
    for i, (detected, truth) in enumerate(zip(detections, ground_truth)):
        boxes, scores = detected["boxes"], detected["scores"]
        check_shape(f"{who}: detections[{i}]", boxes=(boxes, ("D", 4)), scores=(scores, ("D",)))
        check_shape(f"{who}: ground_truth[{i}]", boxes=(truth["boxes"], ("G", 4)))
        check_labels(f"{who}: detections[{i}]", boxes, num_classes, labels=detected["labels"])
        check_labels(f"{who}: ground_truth[{i}]", truth["boxes"], num_classes, labels=truth["labels"])
        if "difficult" in truth and np.shape(truth["difficult"]) != np.shape(truth["labels"]):
            got = np.shape(truth["difficult"])
            raise ValueError(f"{who}: ground_truth[{i}]: difficult must have one entry per box, got shape {got}")
        if np.isnan(scores).any():
            raise ValueError(f"{who}: detections[{i}]: scores must not be NaN")
