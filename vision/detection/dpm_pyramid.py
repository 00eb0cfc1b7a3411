"""The pyramid of a part model: on each level the features of an image, and those of the image at twice the size.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, sec. 3, fig. 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vision.detection.dpm_features import CHANNELS, cell_features, mirrored
from vision.detection.windows import factors, scaled, scaled_size

FEWEST = 3  # cells of the shorter side of the smallest level


class Level(NamedTuple):
    """One level: roots (2, 31, h, w) and parts (2, 31, 2h, 2w), features of the image and of its mirror image; factor:
    pixels of the level for one of the image. Cell (r, c) of roots covers cells (2r, 2c) to (2r + 1, 2c + 1) of parts.
    """

    roots: np.ndarray
    parts: np.ndarray
    factor: float


class Grid(NamedTuple):
    """How levels lie on images: cells of `cell` pixels, `largest` factor of a root's level, `interval` levels to the
    octave, at most `levels` of them, `border` cells of zeros around each so that objects may stick out."""

    cell: int
    largest: float
    interval: int
    levels: int
    border: int

    def factors(self, image_size: Sequence[int]) -> list[float]:
        """The factors of the levels of an image (h, w)."""
        least = FEWEST * self.cell
        return factors(image_size, (least, least), self.largest, self.interval, self.levels)

    def shape(self, image_size: Sequence[int], factor: float) -> tuple[int, int]:
        """(h, w) of a level's map for roots, with its border."""
        return tuple(side // self.cell + 2 * self.border for side in scaled_size(image_size, factor))

    def pyramid(self, picture: np.ndarray) -> list[Level]:
        """The levels of (H, W, 3) uint8, largest first. The parts of a level are the roots of the level an octave
        above it, so each scale is looked at once."""
        own, b = self.factors(picture.shape[:2]), self.border
        above = [2 * f for f in own[: self.interval]]
        maps = [cell_features(scaled(picture, f), self.cell) for f in above + own]
        levels = []
        for k, factor in enumerate(own):
            h, w = self.shape(picture.shape[:2], factor)
            roots, parts = maps[len(above) + k], maps[k]
            pair = laid(roots, (h, w), b), laid(parts, (2 * h, 2 * w), 2 * b)
            levels.append(Level(*(np.stack([each, mirrored(each)]) for each in pair), factor))
        return levels

    def windows(self, rows, columns, size: tuple[int, int], is_mirrored, width, factor) -> np.ndarray:
        """(K, 4): the boxes in the image of windows (h, w) in cells at rows and columns (K,) of a level.

        width: cells of the level's map with its border, from whose other end columns of the mirror image count.
        """
        h, w = size
        left = np.where(is_mirrored, width - columns - w, columns) - self.border
        top = rows - self.border
        return np.stack([left, top, left + w, top + h], axis=-1) * (self.cell / np.asarray(factor))[..., None]


def laid(features: np.ndarray, size: tuple[int, int], border: int) -> np.ndarray:
    """(31, h, w): features in the middle of zeros, `border` cells from the upper left, cut where they do not fit."""
    placed = np.zeros((CHANNELS, *size), features.dtype)
    h, w = (min(side, room - 2 * border) for side, room in zip(features.shape[1:], size))
    placed[:, border : border + h, border : border + w] = features[:, :h, :w]
    return placed
