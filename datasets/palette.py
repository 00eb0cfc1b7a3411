"""Label pictures as palette PNGs, as Pascal VOC has them: each pixel is a label, its colour only for the eye."""

from os import PathLike

import numpy as np
from PIL import Image

from .images import opened

IGNORE = 255  # VOC's value of pixels that do not count


def voc_palette(count: int = 256) -> np.ndarray:
    """(count, 3) uint8: Pascal VOC's colour of each label, black for 0.

    Red has the bits 0, 3, 6, ... of the label, the lowest as its highest bit; green 1, 4, 7, ..., blue 2, 5, 8, ...

    Reference: Everingham et al. 2010, development kit, VOClabelcolormap.
    """
    label, colours = np.arange(count), np.zeros((count, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def read_label_picture(path: str | PathLike, colours: bool = False) -> np.ndarray:
    """The values in a label picture, (H, W) int64: a palette's numbers, a grey picture's greys (1 to 16 bits).

    colours: 65536 red + 256 green + blue instead, whatever the file holds. A grey picture that was saved as RGB is
    grey. Raises ValueError with the path for a damaged file, and for colours where numbers are wanted.
    """
    with opened(path) as image:
        if colours or image.mode not in ("1", "L", "P", "I", "I;16", "I;16B"):
            image = image.convert("RGB")
        pixels = np.array(image).astype(np.int64)
    if pixels.ndim == 2:
        return pixels
    if not colours and (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    if not colours:
        raise ValueError(
            f"{path}: holds colours, but the classes have numbers: write their colours into the class list"
        )
    return pixels @ np.array([65536, 256, 1])


def write_label_picture(path: str | PathLike, labels: np.ndarray):
    """Write labels (H, W) int in -1 .. 254 as a palette PNG in VOC's colours; -1 becomes 255."""
    if labels.ndim != 2 or labels.min() < -1 or labels.max() >= IGNORE:
        got = f"{labels.shape}, {labels.min()} .. {labels.max()}"
        raise ValueError(
            f"{path}: labels must be (H, W) in -1 .. {IGNORE - 1} to be written as a palette PNG, got {got}"
        )
    picture = Image.fromarray(np.where(labels < 0, IGNORE, labels).astype(np.uint8))
    picture.putpalette(voc_palette().tobytes())
    picture.save(path, format="PNG")
