"""The base class of instance segmentation: from a photograph to boxes and masks in its pixels."""

import numpy as np

from vision.boxes.boxes import clip
from vision.detection.detector import Detector
from vision.instances.masks import paste
from vision.preprocess import Photograph, open_photograph
from vision.task import on_its_device


class InstanceSegmenter(Detector):
    """A detector that also says which pixels belong to each object.

    loss((images, targets), rng): as a Detector's; targets also have masks (K, h, w) bool, in the image's pixels without
    padding. predict gives boxes, labels and scores, and mask_grids (D, m, m), the probability of each cell of a box, or
    masks (D, h, w) bool in the pixels of its input.
    """

    def found_in(self, scaled: np.ndarray) -> dict:
        """What predict gives for an image (h, w, 3) uint8 that has the size of the network's input."""
        return on_its_device(self, self.predict, self.preprocess.batch([scaled]), [scaled.shape[:2]])[0]

    def segment_objects(self, photograph: Photograph) -> dict:
        """boxes (D, 4), masks (D, H, W) bool in the photograph's pixels, labels, scores (D,) and names [D];
        of a model that has them keypoints (D, J, 3): x, y in those pixels, and their scores.

        photograph: a path, a PIL image, or (H, W, 3) uint8. Raises ValueError for anything else.
        """
        image = open_photograph(photograph)
        (h, w), scaled = image.shape[:2], self.preprocess.scaled(image)
        found = self.found_in(scaled)
        scale = np.array(scaled.shape[1::-1] * 2, found["boxes"].dtype) / np.array([w, h, w, h], found["boxes"].dtype)
        boxes = clip(found["boxes"] / scale, (h, w))
        names = [self.classes[label - 1] for label in found["labels"]]
        masks = paste(found["mask_grids"], boxes, (h, w)) if "mask_grids" in found else rescaled(found["masks"], h, w)
        objects = {key: found[key] for key in ("labels", "scores")} | {"boxes": boxes, "masks": masks, "names": names}
        if "keypoints" in found:
            points = found["keypoints"].copy()
            points[..., :2] /= scale[:2]
            objects["keypoints"] = points
        return objects


def rescaled(masks: np.ndarray, h: int, w: int) -> np.ndarray:
    """Masks (D, old_h, old_w) in another size: the nearest pixel of each."""
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip((h, w), masks.shape[1:]))
    return masks[:, rows[:, None], columns]
