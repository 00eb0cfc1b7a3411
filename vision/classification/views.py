"""Testing on several views of a photograph, whose probabilities are averaged: ten crops, several scales.

Reference: Krizhevsky et al. 2012, sec. 4.1 (ten crops); Simonyan and Zisserman 2015, arXiv:1409.1556, sec. 3.2 and
table 4 (scales).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vision.preprocess import Preprocess


def ten_crops(image: np.ndarray, side: int) -> list[np.ndarray]:
    """The four corners and the centre, side x side, each also mirrored.    image (H, W, 3).

    Raises ValueError for an image that is smaller.
    """
    h, w = image.shape[:2]
    if side > min(h, w):
        raise ValueError(f"ten crops of {side}x{side} need an image as large, got {h}x{w}: set short_side higher")
    corners = ((0, 0), (0, w - side), (h - side, 0), (h - side, w - side), ((h - side) // 2, (w - side) // 2))
    crops = [image[y : y + side, x : x + side] for y, x in corners]
    return crops + [crop[:, ::-1] for crop in crops]


def views(
    photograph: np.ndarray, preprocess: Preprocess, crops: int = 0, scales: Sequence[int] = (), mirrored: bool = False
) -> list[np.ndarray]:
    """The images (H, W, 3) that are tested of a photograph, scaled as `preprocess` says.

    scales: short sides in place of its own; crops: the side of ten crops of each scale, 0 for the whole image.
    mirrored: also the mirror image of each, which ten crops have anyway.
    """
    sizes = [preprocess.scaled(photograph)] if not scales else []
    for side in scales:
        longest = max(side, round(preprocess.max_side * side / preprocess.short_side))
        sizes.append(replace(preprocess, short_side=side, max_side=longest).scaled(photograph))
    if crops:
        return [crop for image in sizes for crop in ten_crops(image, crops)]
    return sizes + [image[:, ::-1] for image in sizes] if mirrored else sizes
