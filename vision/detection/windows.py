"""Windows over an image pyramid: what detectors on gradient histograms share.

A level is the image scaled by a factor; on its feature map a detector looks at every window of so many cells. A window
holds more than the object: `fill` is the share of its sides that an object takes.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from vision.boxes.boxes import iou


def factors(
    image_size: tuple[int, int], window: tuple[int, int], largest: float = 1.0, interval: int = 4, count: int = 100
) -> list[float]:
    """The factors of a pyramid: from `largest` on, `interval` to the octave, as long as the window (h, w) fits in."""
    most = min(side / least for side, least in zip(image_size, window))
    found = [1 / f for f in 2 ** (np.arange(count) / interval) / largest]
    return [f for f in found if f * most >= 1]


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    """(H, W, 3) float32 in 0 .. 1 of (H, W, 3) uint8, scaled, antialiased."""
    size, picture = scaled_size(image.shape[:2], factor), image
    if size != image.shape[:2]:
        picture = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    return picture.astype(np.float32) / 255


def scaled_size(image_size: tuple[int, int], factor: float) -> tuple[int, int]:
    """(h, w) of a level."""
    return tuple(max(1, int(side * factor + 0.5)) for side in image_size)


def crop(image: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) float32 in 0 .. 1: the box (4,) of (H, W, 3) uint8, scaled to (h, w); borders are repeated outside."""
    h, w = image.shape[:2]
    low = np.maximum(np.ceil(-box[:2]), 0).astype(int) + 2
    high = np.maximum(np.ceil(box[2:] - [w, h]), 0).astype(int) + 2
    padded = np.pad(image, ((low[1], high[1]), (low[0], high[0]), (0, 0)), "edge")
    shifted = tuple((box + np.tile(low, 2)).tolist())
    resized = Image.fromarray(padded).resize(size[::-1], Image.Resampling.BILINEAR, box=shifted)
    return np.asarray(resized, np.float32) / 255


def window_of(box: np.ndarray, window: tuple[int, int], fill: tuple[float, float]) -> np.ndarray:
    """(4,): the window around a box (4,) whose inner part, fill of its (h, w), has the box's centre and area."""
    h, w = window
    centre, (across, down) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    factor = np.sqrt(across * down / (fill[0] * h * fill[1] * w))
    half = np.array([w, h]) * factor / 2
    return np.concatenate([centre - half, centre + half])


def inner_boxes(rows, columns, factor, cell: int, window: tuple[int, int], fill: tuple[float, float]) -> np.ndarray:
    """(K, 4): the objects' boxes, in pixels of the image, of windows at rows and columns (K,) of a level's map."""
    h, w = window
    x, y = columns * cell + w / 2, rows * cell + h / 2
    half_w, half_h = fill[1] * w / 2, fill[0] * h / 2
    return np.stack([x - half_w, y - half_h, x + half_w, y + half_h], axis=-1) / factor


def photographs(loader) -> Iterator[tuple[np.ndarray, dict]]:
    """(image (H, W, 3) uint8, target) of every sample of a loader, in one fixed order, for models with mean 0, std 255.

    Boxes without area are left out.
    """
    for images, targets in loader.epoch(0):
        for image, target in zip(images, targets):
            sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
            kept = (sides >= 1).all(axis=1)
            own = {"boxes": target["boxes"][kept], "labels": target["labels"][kept]}
            yield as_picture(image, target["image_size"]), target | own


def as_picture(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 of an image (3, H, W) in 0 .. 1, without what is padded behind its size (h, w)."""
    pixels = np.floor(np.clip(image[:, : size[0], : size[1]], 0, 1) * 255 + 0.5)
    return pixels.astype(np.uint8).transpose(1, 2, 0)


def is_free(boxes: np.ndarray, target: dict, label: int, most: float) -> np.ndarray:
    """(K,): whether the IoU of boxes (K, 4) with all objects of this label is below `most`."""
    objects = target["boxes"][target["labels"] == label]
    return (iou(boxes, objects.astype(boxes.dtype)) < most).all(axis=1)
