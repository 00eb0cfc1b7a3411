"""A pixel classifier that tells objects apart: it leaves out specks, and separates by their rims objects that touch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vision.preprocess import Photograph, open_photograph
from vision.segmentation.objects import components
from vision.segmentation.pixel_classifier import PixelClassifier, PixelNetwork, PixelOptions
from vision.segmentation.rims import by_distance, by_rims, classes_of, rims, without_specks


@dataclass(frozen=True)
class ObjectOptions(PixelOptions):
    """Options of an ObjectClassifier. Raises ValueError for values out of range."""

    smallest_object: int = 0  # pixels; smaller connected parts of all classes but the first become the first
    rim: int = 0  # pixels from an object's edge that are a class of their own in training; 0: none
    separate: Literal["none", "rims", "distance"] = "none"  # touching objects, by rims or by distance to the background
    seed_threshold: float = 0.5  # by rims: probability, not to lie on one, of pixels from which objects grow
    seed_height: float = 0.3  # by distance: pixels by which a peak rises above the pass to a higher one

    def __post_init__(self):
        super().__post_init__()
        for name in ("smallest_object", "rim"):
            if getattr(self, name) < 0:
                raise ValueError(f"UNet: {name} must be at least 0 pixels, got {getattr(self, name)}")
        if not 0 < self.seed_threshold < 1:
            raise ValueError(f"UNet: seed_threshold must lie between 0 and 1, got {self.seed_threshold}")
        if self.seed_height <= 0:
            raise ValueError(f"UNet: seed_height must be above 0 pixels, got {self.seed_height}")
        if self.separate == "rims" and not self.rim:
            raise ValueError("UNet: separate=rims needs a network trained with rim=1 or more, got rim=0")

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
        """As PixelClassifier.segment; with `separate` also instances (H, W) int64: 0, and an index for each object."""
        o, c = self.options, len(self.classes)
        if o.separate == "none":
            return super().segment(photograph)
        p = self.averaged(open_photograph(photograph))
        inside, foreground = p[1:c].sum(axis=0), 1 - p[0]
        mask = foreground > 0.5
        by_peaks = o.separate == "distance"
        objects = by_distance(mask, o.seed_height) if by_peaks else by_rims(inside, mask, o.seed_threshold)
        objects = without_specks(objects, o.smallest_object)
        labels = classes_of(objects, p[1:c])
        scores = np.where(labels > 0, foreground, p[0])
        return {"labels": labels, "scores": scores, "names": self.classes, "instances": objects}

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W) of the classes that have names; in specks 0 for all but the first one."""
        if self.options.rim:  # its probability goes to the classes inside, in proportion
            inside = probabilities[1:-1] + 1e-6
            inside *= 1 + probabilities[-1] / inside.sum(axis=0)
            probabilities = np.concatenate([probabilities[:1], inside])
        if not (smallest := self.options.smallest_object):
            return probabilities
        labels = components(probabilities.argmax(axis=0) > 0)
        small = np.bincount(labels.ravel()) < smallest
        small[0] = False
        refined = probabilities.copy()
        refined[1:, small[labels]] = 0
        return refined
