"""What kinds of errors a detector makes.

Reference: Hoiem et al. 2012, Diagnosing error in object detectors, ECCV, sec. 2.1; Redmon et al. 2016,
arXiv:1506.02640, fig. 4. Both take the N best detections of a class with N objects; here duplicates, which they count
as badly placed, are a kind of their own, and objects that nothing touches are counted.
"""

from collections.abc import Sequence

import numpy as np

from vision.boxes.boxes import iou

DETECTED = ("correct", "duplicate", "badly placed", "confused", "background")  # kinds of detections
KINDS = (*DETECTED, "missed")
TOUCHES = 0.1  # IoU from which on a detection is about an object


def detection_errors(
    detections: Sequence[dict], ground_truth: Sequence[dict], classes: Sequence[str], iou_threshold: float = 0.5
) -> dict[str, dict[str, int]]:
    """{class: {objects, correct, duplicate, badly placed, confused, background, missed}}.

    Of each class with N objects the N best detections over all images count, the best first:

    correct       IoU >= iou_threshold with an object of its class that no better detection has found
    duplicate     the same, of an object already found
    badly placed  IoU >= 0.1 with an object of its class
    confused      IoU >= 0.1 with an object of another class
    background    all others

    missed: objects that none of these detections, of whatever class, is about. Difficult and crowded objects and the
    detections about them do not count.

    detections: boxes (D, 4), labels (D,) in 1 .. classes, scores (D,) of each image; ground_truth: boxes, labels and
    perhaps difficult, crowd. Raises ValueError for lists of unequal length.
    """
    if len(detections) != len(ground_truth):
        got = f"{len(detections)} detections, {len(ground_truth)} ground_truth"
        raise ValueError(f"detection_errors: one entry per image, got {got}")
    counts, touched = {}, [np.zeros(len(truth["labels"]), bool) for truth in ground_truth]
    counted = [~(_flag(truth, "difficult") | _flag(truth, "crowd")) for truth in ground_truth]
    for label, name in enumerate(classes, start=1):
        objects = sum(int(np.sum(c & (truth["labels"] == label))) for c, truth in zip(counted, ground_truth))
        kinds = _kinds_of_best(label, objects, detections, ground_truth, counted, touched, iou_threshold)
        counts[name] = {"objects": objects} | {kind: kinds.count(kind) for kind in DETECTED}
    for label, name in enumerate(classes, start=1):
        left = (c & ~t & (truth["labels"] == label) for c, t, truth in zip(counted, touched, ground_truth))
        counts[name]["missed"] = int(sum(map(np.sum, left)))
    return counts


def _kinds_of_best(label, most, detections, ground_truth, counted, touched, iou_threshold):
    """The kinds of the `most` best detections of a class; marks in `touched` the objects that they are about."""
    own = [(-score, n, d) for n, found in enumerate(detections) for d, score in enumerate(found["scores"].tolist())]
    own = sorted((s, n, d) for s, n, d in own if detections[n]["labels"][d] == label)
    kinds, taken = [], [np.zeros(len(truth["labels"]), bool) for truth in ground_truth]
    for _, n, d in own:
        if len(kinds) == most:
            break
        overlap = iou(detections[n]["boxes"][d : d + 1].astype(float), ground_truth[n]["boxes"].astype(float))[0]
        kind, about = _kind(overlap, ground_truth[n]["labels"] == label, taken[n], iou_threshold)
        if about is not None and not counted[n][about]:
            continue
        kinds.append(kind)
        if about is not None:
            touched[n][about] = True
            taken[n][about] |= kind == "correct"
    return kinds


def _kind(overlap, same, taken, iou_threshold):
    """(kind, index of the object that it is about, or None) of a detection, from its IoU (G,) with all objects."""
    if not len(overlap) or overlap.max() < TOUCHES:
        return "background", None
    best = int(np.where(same, overlap, -1).argmax())
    if not same[best] or overlap[best] < TOUCHES:
        return "confused", int(overlap.argmax())
    if overlap[best] < iou_threshold:
        return "badly placed", best
    return ("duplicate" if taken[best] else "correct"), best


def _flag(truth, key):
    return np.asarray(truth.get(key, np.zeros(len(truth["labels"]))), bool)


def errors_table(counts: dict[str, dict[str, int]]) -> str:
    """The counts as text: a line for each class with objects, and their sum."""
    rows = {name: row for name, row in counts.items() if row["objects"]}
    columns = ("objects", *KINDS)
    rows["all"] = {column: sum(row[column] for row in rows.values()) for column in columns}
    width = max(map(len, ("class", *rows)))
    lines = [f"{'class':{width}}  {'  '.join(columns)}"]
    for name, row in rows.items():
        lines.append(f"{name:{width}}  {'  '.join(f'{row[c]:{len(c)}d}' for c in columns)}")
    return "\n".join(lines)
