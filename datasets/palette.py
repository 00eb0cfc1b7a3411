"""Label pictures as palette PNGs, as Pascal VOC has them: each pixel is a label, its colour only for the eye."""

from os import PathLike

import numpy as np
from PIL import Image

from .pictures import opened

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
    """The values in a label picture, (H, W) int64: indices of a palette, or greys of 1 to 16 bits.

    colours: 65536 red + 256 green + blue instead, whatever the file holds. A grey picture that was saved as RGB is
    grey. Raises ValueError with the path for a damaged file, for kinds of file that do not keep values (JPEG, colours
    of 16 bits, floating point), and for colours where values are wanted.
    """
    with opened(path) as image:
        kind, mode = image.format, image.mode
        plain = mode in ("1", "L", "P", "I", "I;16", "I;16B") and not colours
        pixels = np.array(image if plain or mode == "F" else image.convert("RGB"))
    bits = _bits_of_png(path) if kind == "PNG" else 8
    if kind in ("JPEG", "MPO"):
        raise ValueError(f"{path}: a JPEG does not keep the values of pixels; save label pictures as PNG")
    if mode == "F":
        raise ValueError(f"{path}: holds floating-point pixels, labels are integers; save as 8-bit PNG")
    if bits == 16 and pixels.ndim == 3:
        raise ValueError(f"{path}: holds 16 bits a channel, of which only half would be read; save as 8-bit PNG")
    pixels = pixels.astype(np.int64)
    if pixels.ndim == 2:
        return pixels // {2: 85, 4: 17}[bits] if mode == "L" and bits in (2, 4) else pixels  # Pillow scales to 0..255
    if not colours and (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    if not colours:
        raise ValueError(f"{path}: holds colours, but the classes have values: write their colours into the class list")
    return pixels @ np.array([65536, 256, 1])


def _bits_of_png(path):
    """Bits a channel: after the signature, length, name, width and height of the first chunk, IHDR."""
    with open(path, "rb") as file:
        return file.read(25)[24]


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
