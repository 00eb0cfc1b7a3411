"""What a detector does with boxes: anchors, proposals before and after suppression, sampled regions."""

from typing import Any, NamedTuple

import numpy as np

from nn.record import Pass
from scripts.inspection.answers import sure
from scripts.inspection.passes import Seen
from vision.boxes.boxes import clip, decode
from vision.boxes.pyramid import PyramidRPN
from vision.boxes.rpn import RPN
from vision.detection.ssd import SSD
from vision.task import task_of

MOST = 150  # boxes of a kind
GREEN, GREY, GOLD, BLUE, VIOLET, TEAL = "#37b26c", "#9aa3ad", "#e5b32d", "#4aa3f0", "#c07ae8", "#2fd0c0"
RED, WHITE = "#ff5a3c", "#ffffff"
TITLE = "Boxes, from anchors to what is found"
TEXT = (
    "Tick the kinds to see. Those that are called sampled were drawn at random, as in a step of training. "
    "Suppression leaves of boxes that overlap much only the best."
)


class Kind(NamedTuple):
    """Boxes (K, 4) of one kind, their colour, whether they are shown at first, how many there are, and their scores."""

    name: str
    boxes: np.ndarray
    colour: str
    shown: bool = False
    scores: np.ndarray | None = None

    def as_json(self) -> dict[str, Any]:
        """At most MOST boxes, in whole pixels."""
        scores = None if self.scores is None else [round(float(s), 2) for s in self.scores[:MOST]]
        boxes = np.asarray(self.boxes[:MOST]).round(1).tolist()
        about = {"colour": self.colour, "shown": self.shown, "count": len(self.boxes)}
        return {"name": self.name, "boxes": boxes, "scores": scores, **about}


def boxes_part(seen: Seen, sample: dict) -> list[dict[str, Any]]:
    """[the part of the page], or [] for a model whose targets have no boxes."""
    targets = seen.batch[1] if len(seen.batch) > 1 and isinstance(seen.batch[1], list) else []
    if not targets or not isinstance(targets[0], dict) or "boxes" not in targets[0]:
        return []
    target, kinds = targets[0], []
    if "proposals" in target:
        kinds.append(Kind("proposals from elsewhere", target["proposals"], BLUE))
    for p in seen.passes:
        if isinstance(p.layer, (RPN, PyramidRPN)) and p.y is not None:
            kinds += of_rpn(p, seen, target)
    if isinstance(seen.model, SSD):
        kinds += of_defaults(seen, target)
    kinds += sampled_regions(seen)
    kinds.append(Kind("the truth of the loss", target["boxes"], WHITE, shown=True))
    found = sure(task_of(seen.model.name).predict(seen.model, sample)) if "image" in sample else None
    if found is not None:
        kinds.append(Kind("found in the end, after suppression", found["boxes"], RED, True, found.get("scores")))
    part = {"kind": "boxes", "title": TITLE, "text": TEXT}
    return [part | {"layers": [kind.as_json() for kind in kinds if len(kind.boxes)]}]


def of_rpn(p: Pass, seen: Seen, target: dict) -> list[Kind]:
    """The anchors of one cell, those that count, and the proposals."""
    scores, deltas = (each[0] for each in p.y)
    anchors, size = p.layer.anchors(next(iter(p.inputs.values()))), target["image_size"]
    objectness = scores[:, 1] - scores[:, 0] if scores.ndim == 2 else scores
    best = np.argsort(-objectness, kind="stable")
    middle = np.array(size)[::-1] / 2
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    nearest = centres[np.argmin(((centres - middle) ** 2).sum(axis=1))]
    kinds = [Kind("anchors of one cell", anchors[(abs(centres - nearest) < 1).all(axis=1)], GOLD)]
    labels = field_of(seen.cache, ("anchor_labels",))
    labels = labels if labels is not None else np.asarray(seen.cache.sampled[0])
    if labels.shape[1] == len(anchors):
        kinds.append(Kind("anchors: positive", anchors[labels[0] == 1], GREEN, shown=True))
        kinds.append(Kind("anchors: negative, sampled", anchors[labels[0] == 0], GREY))
    before = clip(decode(deltas[best], anchors[best]), size)
    kinds.append(Kind("proposals before suppression", before, BLUE, scores=objectness[best]))
    after = p.layer.propose(scores, deltas, anchors, size, training=True)
    return [*kinds, Kind("proposals after suppression", after, VIOLET)]


def of_defaults(seen: Seen, target: dict) -> list[Kind]:
    """SSD's default boxes that count."""
    maps, _ = seen.model.forward_maps(seen.batch[0], training=False)
    boxes, labels = seen.model.defaults(maps, seen.batch[0].shape[2:]), seen.cache.sampled.labels[0]
    positive = Kind("default boxes: positive", boxes[labels > 0], GREEN, shown=True)
    return [positive, Kind("default boxes: hard negatives", boxes[labels == 0], GREY)]


def sampled_regions(seen: Seen) -> list[Kind]:
    """The regions that are pooled: with an object, and background."""
    for p in seen.passes:
        rois, index = (p.inputs.get(name) for name in ("boxes", "image_index"))
        rois = p.inputs.get("rois") if rois is None else rois
        if rois is None or index is None:
            continue
        labels = field_of(seen.cache, ("roi_labels", "labels"), len(rois))
        if labels is None:
            return [Kind("regions that are pooled", rois[index == 0], GOLD)]
        objects = Kind("sampled regions: objects", rois[(index == 0) & (labels > 0)], TEAL)
        return [objects, Kind("sampled regions: background", rois[(index == 0) & (labels == 0)], GREY)]
    return []


def field_of(cache, names: tuple[str, ...], length: int | None = None):
    """The first array of one of these names, and of this length, in a nest of named tuples."""
    for name, value in getattr(cache, "_asdict", dict)().items():
        if name in names and hasattr(value, "shape") and length in (None, len(value)):
            return value
        if (found := field_of(value, names, length)) is not None:
            return found
    return None
