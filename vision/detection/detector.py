"""The base class of all detectors: from a photograph to boxes in its pixels."""

from collections.abc import Mapping

import numpy as np

from vision.backbones import Backbone
from vision.boxes.boxes import clip
from vision.model import Model
from vision.preprocess import Photograph, open_photograph
from vision.task import on_its_device


class Detector(Model):
    """A model that finds boxes.

    loss((images, targets), rng): images (N, 3, H, W) normalised as `preprocess` says; targets: one dict per image with
    boxes (K, 4) in its pixels, labels (K,) in 1 .. classes and image_size (h, w) without padding.
    predict(images, image_sizes=None): one dict per image with boxes (D, 4) float32, labels (D,) and scores (D,), best
    first, on the device of the images. image_sizes: [(h, w), ...] where images are padded.
    """

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Those of the backbone's own, published network are its weights: features.0.weight and so on."""
        if not isinstance(backbone := getattr(self, "backbone", None), Backbone):
            return dict(arrays)
        return {f"backbone.{name}": array for name, array in backbone.pretrained_names(arrays).items()} | dict(arrays)

    def detect(self, photograph: Photograph) -> dict:
        """boxes (D, 4) in the photograph's pixels, labels (D,), scores (D,) and names [D], best first.

        photograph: a path, a PIL image, or (H, W, 3) uint8. Raises ValueError for anything else.
        """
        image = open_photograph(photograph)
        (h, w), scaled = image.shape[:2], self.preprocess.scaled(image)
        sizes = [scaled.shape[:2]]
        found = on_its_device(self, self.predict, self.preprocess.batch([scaled]), sizes)[0]
        sx, sy = scaled.shape[1] / w, scaled.shape[0] / h
        boxes = clip(found["boxes"] / np.array([sx, sy, sx, sy], found["boxes"].dtype), (h, w))
        names = [self.classes[label - 1] for label in found["labels"]]
        return {"boxes": boxes, "labels": found["labels"], "scores": found["scores"], "names": names}
