"""The base class of pose models: from a photograph of one person to the points of the pose."""

from collections.abc import Sequence

import numpy as np

from vision.model import Model
from vision.preprocess import Photograph, open_photograph
from vision.task import on_its_device

MARGIN = 1.25  # a box grows by this, so that the whole person is in the crop: as the training crops of COCO have it


class Poser(Model):
    """A model that finds J points of one person; `classes` are their names.

    loss((images, points, seen), rng): images (N, 3, H, W), points (N, J, 2) as x, y in their pixels, seen (N, J) bool.
    predict(images): (N, S, J, 2), the points after each of S stages, in the images' pixels.

    features: a function from images to features where the whole backbone is frozen, computed once per image; loss and
    predict are then given these.
    """

    features = None

    def pose(self, photograph: Photograph, box: Sequence[float] | None = None) -> dict:
        """points (J, 2) as x, y in the photograph's pixels, stages (S, J, 2), the points after each stage, names [J].

        photograph: a path, a PIL image, or (H, W, 3) uint8. box: (x1, y1, x2, y2) of the person in it (default: the
        whole photograph, a crop around the person). Raises ValueError for anything else, and a box without area.
        """
        image = open_photograph(photograph)
        if box is None:
            return self.poses([image])[0]
        x1, y1, x2, y2 = _around(box, image.shape[:2])
        found = self.poses([image[y1:y2, x1:x2]])[0]
        shift = np.array([x1, y1], found["points"].dtype)
        return found | {"points": found["points"] + shift, "stages": found["stages"] + shift}

    def poses(self, photographs: Sequence[np.ndarray]) -> list[dict]:
        """`pose` for photographs (H, W, 3) uint8 of one person each, all in one batch."""
        images = self.preprocess.batch([self.preprocess.scaled(photograph) for photograph in photographs])
        found = on_its_device(self, self.predict, self.features(images) if self.features else images)
        scaled_h, scaled_w = images.shape[2:]
        results = []
        for photograph, stages in zip(photographs, found):
            (h, w), points = photograph.shape[:2], stages.copy()
            points *= np.array([w / scaled_w, h / scaled_h], points.dtype)
            results.append({"points": points[-1], "stages": points, "names": list(self.classes)})
        return results


def _around(box, size) -> tuple[int, int, int, int]:
    """The box, larger by MARGIN, in whole pixels inside an image of size (h, w)."""
    sides = np.asarray(box, float)
    if sides.shape != (4,) or not np.isfinite(sides).all() or (sides[2:] <= sides[:2]).any():
        raise ValueError(f"pose: box must be (x1, y1, x2, y2) with x2 > x1 and y2 > y1, got {list(np.ravel(box))}")
    centre, half = (sides[:2] + sides[2:]) / 2, MARGIN * (sides[2:] - sides[:2]) / 2
    low = np.maximum(np.floor(centre - half), 0).astype(int)
    high = np.minimum(np.ceil(centre + half), np.array(size)[::-1]).astype(int)
    if (high <= low).any():
        raise ValueError(f"pose: box {sides.tolist()} lies outside the photograph of {size[1]}x{size[0]}")
    return (*low.tolist(), *high.tolist())
