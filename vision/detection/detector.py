"""The base class of all detectors: from a photograph to boxes in its pixels."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from vision.backbones import Backbone
from vision.boxes.boxes import clip
from vision.boxes.nms import nms_among
from vision.model import Model
from vision.preprocess import Photograph, open_photograph
from vision.proposals.method import Proposer, build_proposer, named
from vision.task import on_its_device


class Detector(Model):
    """A model that finds boxes.

    loss((images, targets), rng): images (N, 3, H, W) normalised as `preprocess` says; targets: one dict per image with
    boxes (K, 4) in its pixels, labels (K,) in 1 .. classes and image_size (h, w) without padding.
    predict(images, image_sizes=None): one dict per image with boxes (D, 4) float32, labels (D,) and scores (D,), best
    first, on the device of the images. image_sizes: [(h, w), ...] where images are padded.

    A detector that classifies boxes from elsewhere sets self.proposals, a method of vision.proposals with its options:
    "selective_search_fast count=500". Then each target has proposals (K, 4) in the image's pixels, best first, and
    predict(images, image_sizes, proposals) gets a list of them.
    """

    proposals: str | None = None

    @cached_property
    def proposer(self) -> Proposer:
        """The method that proposes boxes."""
        name, options = named(self.proposals)
        return build_proposer(name, **options)

    def pictures(self, dataset) -> dict[str, np.ndarray]:
        """{name: (H, W, 3) uint8}: pictures of the model's own, on a data set, for scripts.evaluate --out."""
        return {}

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Those of the backbone's own, published network are its weights: features.0.weight and so on."""
        if not isinstance(backbone := getattr(self, "backbone", None), Backbone):
            return dict(arrays)
        return {f"backbone.{name}": array for name, array in backbone.pretrained_names(arrays).items()} | dict(arrays)

    def untrained(self, objects: Sequence[np.ndarray]) -> str:
        """How many objects have no part in the loss, and why; "" for none. objects: of each image boxes (K, 4).

        Boxes are in pixels of the network's input.
        """
        return ""

    def detect(self, photograph: Photograph, proposals: np.ndarray | None = None) -> dict:
        """boxes (D, 4) in the photograph's pixels, labels (D,), scores (D,) and names [D], best first.

        photograph: a path, a PIL image, or (H, W, 3) uint8. proposals (K, 4) in its pixels, for a detector that wants
        them; none: it has them computed. Raises ValueError for anything else.
        """
        image = open_photograph(photograph)
        (h, w), scaled = image.shape[:2], self.preprocess.scaled(image)
        sx, sy = scaled.shape[1] / w, scaled.shape[0] / h
        scale, inputs = np.array([sx, sy, sx, sy], np.float32), [self.preprocess.batch([scaled]), [scaled.shape[:2]]]
        if self.proposals:
            boxes = self.proposer(image)[0] if proposals is None else proposals
            inputs.append([boxes * scale])
        found = on_its_device(self, self.predict, *inputs)[0]
        boxes = clip(found["boxes"] / scale.astype(found["boxes"].dtype), (h, w))
        names = [self.classes[label - 1] for label in found["labels"]]
        return {"boxes": boxes, "labels": found["labels"], "scores": found["scores"], "names": names}


def least_score(options, otherwise: float = -np.inf) -> float:
    """The score from which on a box is a detection: the option score_threshold or, where that is none, `otherwise`."""
    return otherwise if options.score_threshold is None else options.score_threshold


def best_of_each_class(boxes, scores, image_size: tuple[int, int], options) -> dict:
    """The detections of boxes (A, 4) with a score for each class (A, C): sure ones, after NMS within each class.

    options: its score_threshold, nms_iou and detections_per_image. Boxes are clipped to the image (h, w).
    """
    xp, classes = array_module(scores), scores.shape[1]
    each, score = xp.repeat(clip(boxes, image_size), classes, axis=0), scores.ravel()  # (A * C, ...)
    label = xp.arange(len(score)) % classes + 1
    sure, most = score >= options.score_threshold, options.detections_per_image
    keep = nms_among(sure, each, score, options.nms_iou, label, max_keep=most)
    return {"boxes": each[keep], "labels": label[keep], "scores": score[keep]}


def check_proposals(owner: Detector, images, proposals) -> None:
    """ValueError unless there are proposals (K, 4) for each of the images (N, 3, H, W)."""
    name = type(owner).__name__
    if proposals is None or len(proposals) != len(images):
        got = "none" if proposals is None else f"{len(proposals)} for {len(images)} images"
        raise ValueError(f"{name}: predict needs the proposals of each image, got {got}")
    for boxes in proposals:
        check_shape(name, proposals=(boxes, ("K", 4)))
