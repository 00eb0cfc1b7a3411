"""Proposals of a trained region proposal network: boxes by objectness, before any class is known.

Reference: Ren et al. 2015, Faster R-CNN, arXiv:1506.01497, sec. 3.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vision.boxes.rpn import RPN, propose
from vision.model import load
from vision.proposals.method import ProposalOptions, method
from vision.training.saving import find_checkpoint


@dataclass(frozen=True)
class RPNOptions(ProposalOptions):
    """Which network, and how its boxes are thinned out."""

    run: str | None = None  # a checkpoint or a run's folder of a detector with a region proposal network
    pre_nms: int = 6000  # boxes that go into suppression
    nms_iou: float = 0.7  # IoU above which suppression drops a box
    min_size: float = 4.0  # shorter and narrower boxes are dropped, in pixels of the scaled image


@method("rpn", RPNOptions, paper="Ren et al. 2015, arXiv:1506.01497")
def rpn(options: RPNOptions):
    """The network of a run. Raises ValueError where it has none."""
    if options.run is None:
        raise ValueError("rpn: give run, the folder or checkpoint of a trained Faster R-CNN")
    return RPNProposer(options)


class RPNProposer:
    """image -> boxes (K, 4), scores (K,). digest: of the checkpoint, so that a cache knows which network it was."""

    def __init__(self, options: RPNOptions):
        path = find_checkpoint(options.run)
        self.model, self.options = load(path), options
        self.digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if not isinstance(getattr(self.model, "rpn", None), RPN):
            raise ValueError(f"{path}: its model {self.model.name!r} has no region proposal network on one map")

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scaled = self.model.preprocess.scaled(image)
        features = self.model.backbone(self.model.preprocess.batch([scaled]))
        (scores,), (deltas,) = self.model.rpn(features)
        o, anchors = self.options, self.model.rpn.anchors(features)
        boxes, objectness = propose(
            scores[:, 1] - scores[:, 0], deltas, anchors, scaled.shape[:2],
            pre_nms=o.pre_nms, post_nms=o.count, nms_iou=o.nms_iou, min_size=o.min_size,
        )  # fmt: skip
        (h, w), (scaled_h, scaled_w) = image.shape[:2], scaled.shape[:2]
        return boxes * np.array([w / scaled_w, h / scaled_h] * 2, boxes.dtype), objectness
