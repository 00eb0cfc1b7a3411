"""A pixel classifier that tells objects apart: it leaves out specks, and separates by their rims objects that touch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision.preprocess import Photograph, open_photograph
from vision.segmentation.objects import components
from vision.segmentation.pixel_classifier import PixelClassifier, PixelNetwork, PixelOptions
from vision.segmentation.rims import classes_of, rims, separated, without_specks


@dataclass(frozen=True)
class ObjectOptions(PixelOptions):
    """Options of an ObjectClassifier. Raises ValueError for values out of range."""

    smallest_object: int = 0  # pixels; smaller connected parts of all classes but the first become the first
    rim: int = 0  # pixels from an object's edge that are a class of their own: touching objects come apart; 0: none
    seed_threshold: float = 0.5  # with a rim: least probability of the pixels from which objects grow

    def __post_init__(self):
        super().__post_init__()
        for name in ("smallest_object", "rim"):
            if getattr(self, name) < 0:
                raise ValueError(f"UNet: {name} must be at least 0 pixels, got {getattr(self, name)}")
        if not 0 < self.seed_threshold < 1:
            raise ValueError(f"UNet: seed_threshold must lie between 0 and 1, got {self.seed_threshold}")

    def outputs(self, classes: Sequence[str]) -> int:
        """How many classes the network tells apart: the names, and the rim."""
        return len(classes) + (self.rim > 0)


class ObjectClassifier(PixelClassifier):
    """A network with its loss, whose objects are what the options make of its pixels.

    With a rim the network has one class more, the last one: pixels of an object within `rim` pixels of its edge. Its
    weight in the loss is the mean of the objects' class weights.
    """

    def __init__(self, network: PixelNetwork, classes: Sequence[str], options: ObjectOptions):
        super().__init__(network, classes, options)
        if options.rim and isinstance(self.class_weights, np.ndarray):
            self.class_weights = np.append(self.class_weights, self.class_weights[1:].mean())

    def target(self, sample: dict) -> tuple[np.ndarray | None, np.ndarray | None]:
        """As PixelClassifier.target, with rims: the last class; between the objects for the border weights."""
        labels, objects = super().target(sample)
        if not self.options.rim or labels is None:
            return labels, objects
        if objects is None:
            wanted = "needs data with a value for each object, such as --data nuclei"
            raise ValueError(f"UNet: rim={self.options.rim} {wanted}; {sample.get('id')} has none")
        rim = rims(objects, self.options.rim)
        return np.where(rim & (labels >= 0), len(self.classes), labels), np.where(rim, 0, objects)

    def segment(self, photograph: Photograph) -> dict[str, Any]:
        """As PixelClassifier.segment; with a rim also instances (H, W) int64: 0, and an index for each object."""
        if not self.options.rim:
            return super().segment(photograph)
        p = self.averaged(open_photograph(photograph))
        inside, foreground = p[1:-1], 1 - p[0]
        objects = separated(inside.sum(axis=0), foreground, self.options.seed_threshold)
        objects = without_specks(objects, self.options.smallest_object)
        labels = classes_of(objects, inside)
        scores = np.where(labels > 0, foreground, p[0])
        return {"labels": labels, "scores": scores, "names": self.classes, "instances": objects}

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W), in specks 0 for all classes but the first one."""
        if not (smallest := self.options.smallest_object):
            return probabilities
        labels = components(probabilities.argmax(axis=0) > 0)
        small = np.bincount(labels.ravel()) < smallest
        small[0] = False
        refined = probabilities.copy()
        refined[1:, small[labels]] = 0
        return refined
