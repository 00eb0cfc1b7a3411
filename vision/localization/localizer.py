"""The base class of all localizers: from a photograph to the class and the box of what it shows."""

from collections.abc import Sequence

import numpy as np

from vision.boxes.boxes import clip
from vision.model import Model
from vision.preprocess import Photograph, open_photograph
from vision.task import on_its_device


class Localizer(Model):
    """A model that finds a fixed number K of objects (option `objects`), with the class and the box of each.

    loss((images, labels, boxes), rng): images (N, 3, H, W) normalised as `preprocess` says, or features of a frozen
    backbone; labels (N, K) int, 0 for `classes[0]`, -1 where there is no such object; boxes (N, K, 4) in the images'
    pixels. Objects stand from left to right.
    predict(images): one dict per image with boxes (K, 4) in its pixels, labels (K,) in 1 .. classes, scores (K,).

    features: a function from images to features where the whole backbone is frozen, computed once per image.
    """

    features = None

    def pictures(self, dataset) -> dict[str, np.ndarray]:
        """{name: (H, W, 3) uint8}: pictures of the model's own, on a data set, for scripts.evaluate --out."""
        return {}

    def locate(self, photograph: Photograph) -> dict:
        """boxes (K, 4) in the photograph's pixels, labels (K,), scores (K,) and names [K] of its K objects.

        photograph: a path, a PIL image, or (H, W, 3) uint8. Raises ValueError for anything else.
        """
        return self.locate_all([open_photograph(photograph)])[0]

    def locate_all(self, photographs: Sequence[np.ndarray]) -> list[dict]:
        """`locate` for photographs (H, W, 3) uint8, in one batch if the network sees all in one size."""
        scaled = [self.preprocess.scaled(photograph) for photograph in photographs]
        one_size = len({image.shape for image in scaled}) == 1
        found = []
        for batch in [scaled] if one_size else [[image] for image in scaled]:
            images = self.preprocess.batch(batch)
            found += on_its_device(self, self.predict, self.features(images) if self.features else images)
        return [self.in_pixels_of(*each) for each in zip(photographs, scaled, found)]

    def in_pixels_of(self, photograph: np.ndarray, scaled: np.ndarray, found: dict) -> dict:
        """What predict has found in the scaled image, in the pixels of the photograph, with names."""
        (h, w), (scaled_h, scaled_w) = photograph.shape[:2], scaled.shape[:2]
        factors = np.array([w / scaled_w, h / scaled_h] * 2, found["boxes"].dtype)
        names = [self.classes[label - 1] for label in found["labels"]]
        return found | {"boxes": clip(found["boxes"] * factors, (h, w)), "names": names}


def chosen(boxes: np.ndarray, labels: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels (K,), boxes (K, 4)) of the K largest of boxes (M, 4), from left to right by their centres.

    labels (M,) in 1 .. classes become 0 .. classes - 1. Where there are fewer, the last rows are -1 and boxes of 0.
    """
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    largest = np.argsort(-sizes, kind="stable")[:objects]
    order = largest[np.argsort(boxes[largest, 0::2].sum(axis=1), kind="stable")]
    rows, sides = np.full(objects, -1, np.int64), np.zeros((objects, 4), np.float32)
    rows[: len(order)], sides[: len(order)] = labels[order] - 1, boxes[order]
    return rows, sides
