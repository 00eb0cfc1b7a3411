"""Regions of an image as a CNN wants them: warped, or as squares, with some of the image around them.

Reference: Girshick et al. 2014, R-CNN, arXiv:1311.2524, sec. 2.1 and appendix A, fig. 7.
"""

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape

MODES = ("warp", "square", "square_alone")


def warp_regions(image: np.ndarray, boxes: np.ndarray, size: int, padding: int = 16, mode: str = "warp") -> np.ndarray:
    """(K, 3, size, size): the regions (K, 4) of an image (3, H, W), with `padding` pixels of context in the result.

    "warp": height and width are scaled alone, so that the region fills the inner square of size - 2 padding pixels.
    "square": the tightest square around it does; what else is in the square is seen. "square_alone": so, but what lies
    outside the region and its context is 0. What lies outside the image is 0, the mean of normalised images.
    Raises ValueError for other shapes and modes, and where padding leaves nothing.
    """
    check_shape("warp_regions", image=(image, (3, "H", "W")), boxes=(boxes, ("K", 4)))
    if mode not in MODES or not 0 <= 2 * padding < size:
        got = f"mode {mode!r}, padding {padding}, size {size}"
        raise ValueError(f"warp_regions: need a mode of {', '.join(MODES)} and 2 padding < size, got {got}")
    xp, (_, h, w) = array_module(image), image.shape
    y = xp.zeros((len(boxes), 3, size, size), image.dtype)
    for k, box in enumerate(boxes.astype(np.float64).tolist()):
        x1, y1, x2, y2 = with_context(box, size, padding, mode != "warp")
        seen = [0, 0, w, h]
        if mode == "square_alone":
            around = (x2 - x1) * padding / size  # the same scale along both sides
            inner = box[0] - around, box[1] - around, box[2] + around, box[3] + around
            seen = [max(inner[0], 0), max(inner[1], 0), min(inner[2], w), min(inner[3], h)]
        rows, weights_y = interpolation(y1, y2, size, seen[1], seen[3])
        columns, weights_x = interpolation(x1, x2, size, seen[0], seen[2])
        weights_y, weights_x = (xp.asarray(each, image.dtype) for each in (weights_y, weights_x))
        y[k] = weights_y @ image[:, rows, columns] @ weights_x.T  # (size, h) (3, h, w) (w, size)
    return y


def with_context(box, size: int, padding: int, square: bool = False) -> tuple[float, float, float, float]:
    """The part of the image that becomes size x size, so that the box, or its tightest square, has a border of
    `padding` pixels there."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    sides = box[2] - box[0], box[3] - box[1]
    w, h = (max(sides),) * 2 if square else sides
    larger = size / (size - 2 * padding) / 2
    return x - w * larger, y - h * larger, x + w * larger, y + h * larger


def interpolation(start: float, end: float, size: int, low: float, high: float) -> tuple[slice, np.ndarray]:
    """The pixels (n,) between low and high that `size` new ones between start and end are made of, and their weights
    (size, n).

    Bilinear, antialiased: a triangle as wide as two new pixels, or two old ones where these are larger. What is
    outside low .. high weighs as much as any other pixel, and counts 0.
    """
    scale = max(end - start, 1e-3) / size
    reach = max(scale, 1.0)
    pixels = np.arange(np.floor(start - reach), np.ceil(end + reach))
    centres = start + (np.arange(size) + 0.5) * scale
    weights = np.maximum(1 - abs(centres[:, None] - (pixels + 0.5)) / reach, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = (pixels + 0.5 >= low) & (pixels + 0.5 <= high)
    first = int(pixels[inside][0]) if inside.any() else 0
    return slice(first, first + int(inside.sum())), weights[:, inside]


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (3, H, W) scaled to size (h, w), bilinear and antialiased."""
    xp, (_, h, w) = array_module(image), image.shape
    weights = [interpolation(0, old, new, 0, old)[1] for old, new in ((h, size[0]), (w, size[1]))]
    rows, columns = (xp.asarray(each / each.sum(axis=1, keepdims=True), image.dtype) for each in weights)
    return rows @ image @ columns.T  # (h, H) (3, H, W) (W, w)
