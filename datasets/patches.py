"""The sampling of training patches for single-shot detectors: parts of an image with objects, and images made smaller.

Reference: Liu et al. 2016, SSD, arXiv:1512.02325, sec. 2.2 "Data augmentation" and sec. 3.6; the number of trials is
that of the authors' code.
"""

from collections.abc import Sequence

import numpy as np

from datasets.transforms import FILL, _keep, _window

OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9, None)  # least IoU of a patch with an object; None: any patch
TRIALS = 50  # random patches for one of these; then the image stays whole


def sample_patch(sample: dict, rng: np.random.Generator, *, probability: float = 1.0) -> dict:
    """The whole image, or a random patch whose IoU with some object is at least one of OVERLAPS: all seven alike.

    A patch has 0.1 to 1 times the area of the image and a ratio of width to height of 1/2 to 2. Objects whose centre
    lies in the patch stay, clipped to it. Patches without any such object are passed over. An image without objects
    stays whole. The result has the size of the patch; resize afterwards. Raises ValueError for a sample without boxes.
    """
    if "boxes" not in sample:
        raise ValueError(f"sample_patch: the sample must have boxes, got {', '.join(sample)}")
    boxes = sample["boxes"]
    choice = rng.integers(len(OVERLAPS) + 1)
    if not len(boxes) or rng.random() >= probability or choice == len(OVERLAPS):
        return dict(sample)
    height, width = sample["image"].shape[:2]
    for _ in range(TRIALS):
        share, ratio = rng.uniform(0.1, 1), np.exp(rng.uniform(-np.log(2), np.log(2)))
        h, w = int((share * height * width / ratio) ** 0.5), int((share * height * width * ratio) ** 0.5)
        if not (1 <= h <= height and 1 <= w <= width):
            continue
        x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        patch = np.array([x, y, x + w, y + h])
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centre > patch[:2]) & (centre < patch[2:])).all(axis=1)
        if inside.any() and (OVERLAPS[choice] is None or _iou(patch, boxes).max() >= OVERLAPS[choice]):
            return _window(_keep(sample, inside), x, y, h, w, min_area_left=0, fill=FILL)
    return dict(sample)


def expand(
    sample: dict, rng: np.random.Generator, *, largest: float = 4.0, probability: float = 0.5,
    fill: Sequence[int] = FILL,
) -> dict:  # fmt: skip
    """The image at a random position of a canvas of 1 to `largest` times its height and width: smaller objects.

    The canvas has the mean colour, `fill`, and label -1. Raises ValueError for largest < 1. Reference: sec. 3.6.
    """
    if not largest >= 1:
        raise ValueError(f"expand: largest must be at least 1, got {largest}")
    if rng.random() >= probability:
        return dict(sample)
    (h, w), factor = sample["image"].shape[:2], rng.uniform(1, largest)
    new_h, new_w = int(h * factor), int(w * factor)
    x, y = int(rng.integers(new_w - w + 1)), int(rng.integers(new_h - h + 1))
    return _window(sample, -x, -y, new_h, new_w, min_area_left=0, fill=fill)


def _iou(patch, boxes):
    """IoU of one box (4,) with boxes (K, 4)."""
    low, high = np.maximum(patch[:2], boxes[:, :2]), np.minimum(patch[2:], boxes[:, 2:])
    intersection = np.maximum(high - low, 0).prod(axis=1)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return intersection / ((patch[2:] - patch[:2]).prod() + sizes - intersection)
