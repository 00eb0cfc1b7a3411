"""Pictures of instances: each mask in a colour of its own, with its contour, and the name of its class."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from vision.detection.draw import BLACK, COLOURS, LONG_SIDE, WHITE, Plate, put_plates

OPACITY = 0.45
CROWDED = 25  # more objects have no plates, which would hide them
SURE_POINT = 0.05  # probability of its cell from which a key point is drawn: there are thousands of cells


def draw_instances(
    image: np.ndarray, found: dict, classes: Sequence[str] | None = None, truth: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8, small ones enlarged by an integer factor, with the instances painted over.

    found: masks (D, H, W) bool, boxes (D, 4), labels (D,), and perhaps scores (D,) and keypoints (D, J, 3), which are
    discs in the object's colour with a white rim, where their probability is SURE_POINT or more. Neighbouring indices
    have colours far apart, so touching objects of one class are told apart. truth: true masks (G, H, W), outlined in
    white. Raises ValueError for masks of another size than the image.
    """
    masks, h, w = found["masks"], *image.shape[:2]
    for each in (masks, *([] if truth is None else [truth])):
        if each.shape[1:] != (h, w):
            raise ValueError(f"draw_instances: masks must have the image's size ({h}, {w}), got {each.shape[1:]}")
    factor = max(1, int(LONG_SIDE / max(h, w) + 0.5))
    picture = np.array(Image.fromarray(image).resize((w * factor, h * factor), Image.Resampling.BICUBIC))
    line, plates, scores = max(2, round(max(picture.shape) / 300)), [], found.get("scores")
    order = np.arange(len(masks)) if scores is None else np.argsort(scores, kind="stable")  # the best on top
    for i in order:
        large, colour = enlarged(masks[i], factor), COLOURS[i % len(COLOURS)]
        picture[large] = (1 - OPACITY) * picture[large] + OPACITY * np.array(colour)
        picture[contour(large, line)] = colour
        name = str(found["labels"][i]) if classes is None else classes[found["labels"][i] - 1]
        plates.append(Plate(name + ("" if scores is None else f" {scores[i]:.2f}"), found["boxes"][i] * factor, colour))
    for i in order if "keypoints" in found else ():
        points = found["keypoints"][i]
        draw_points(picture, points[points[:, 2] >= SURE_POINT, :2] * factor, COLOURS[i % len(COLOURS)], 2 * line)
    for mask in () if truth is None else truth:
        picture[contour(enlarged(mask, factor), max(1, line // 2))] = WHITE
    if truth is not None:
        plates = [*plates, Plate("white: ground truth", np.array([0, 0, w, h]) * factor, BLACK)]
    return put_plates(picture, plates[::-1] if len(masks) <= CROWDED else plates[len(masks) :])


def draw_points(picture: np.ndarray, points: np.ndarray, colour, radius: int) -> None:
    """Draw discs with a white rim at points (P, 2), x and y in pixels, into a picture (H, W, 3) uint8."""
    y, x = np.indices(picture.shape[:2]) + 0.5
    for px, py in points:
        distance = np.hypot(x - px, y - py)
        picture[distance <= radius + 1] = WHITE
        picture[distance <= radius] = colour


def contour(mask: np.ndarray, line: int = 1) -> np.ndarray:
    """The pixels of a mask (H, W) bool that are at most `line` steps up, down, left or right from outside of it."""
    inner = np.pad(mask, 1)  # what is beyond the border of the image is outside
    for _ in range(line):
        kept = inner.copy()
        kept[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        inner = kept
    return mask & ~inner[1:-1, 1:-1]


def enlarged(mask: np.ndarray, factor: int) -> np.ndarray:
    """A mask (H, W) with each pixel `factor` times as high and wide."""
    return mask.repeat(factor, axis=0).repeat(factor, axis=1)
