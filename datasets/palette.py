"""Label pictures as palette PNGs, as Pascal VOC has them: each pixel is a label, its colour only for the eye."""

from os import PathLike

import numpy as np
from PIL import Image

from .pictures import bands, has_more, opened
from .tar_members import open_binary

IGNORE = 255  # VOC's value of pixels that do not count
MAX_PIXELS = 36_000_000  # of label pictures: a label is int64, so that more would take half a gigabyte
GREY = ("1", "L", "P", "I", "I;16", "I;16B")  # Pillow's modes whose pixels are values


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
    grey. Raises ValueError with the path for a damaged file, more than MAX_PIXELS, kinds of file that do not keep
    values (JPEG, colours of 16 bits, floating point), and for colours where values are wanted.
    """
    return read_values(path, colours).astype(np.int64)


def read_values(path: str | PathLike, colours: bool = False) -> np.ndarray:
    """The same in the dtype that the file has them in: 8 or 16 bits, or 32 for colours."""
    with opened(path, MAX_PIXELS) as image:
        kind, mode = image.format, image.mode
        bits = _bits_of_png(path) if kind == "PNG" else 8
        plain = mode in GREY and not colours
        fault = _keeps_no_values(kind, mode, bits, plain)
        if has_more(image):
            fault = "holds several frames or pages, and which has the labels is not known; save that one as a PNG"
        values = None if fault else np.asarray(image) if plain else _packed(image)
    if fault:
        raise ValueError(f"{path}: {fault}")
    if plain:
        values = (values != 0).view(np.uint8) if mode == "1" else values
        scale = {2: 85, 4: 17}.get(bits, 1) if mode == "L" else 1  # Pillow scales them to 0..255
        return values // values.dtype.type(scale) if scale > 1 else values
    if colours:
        return values
    if any((row % 0x010101).any() for row in values):
        raise ValueError(f"{path}: holds colours, but the classes have values: write their colours into the class list")
    return values.astype(np.uint8)  # the lowest 8 bits


def _keeps_no_values(kind, mode, bits, plain) -> str:
    """Why the pixels of such a file are no labels, "" where they are."""
    if kind in ("JPEG", "MPO"):
        return "a JPEG does not keep the values of pixels; save label pictures as PNG"
    if mode == "F":
        return "holds floating-point pixels, labels are integers; save as 8-bit PNG"
    if bits == 16 and not plain:
        return "holds 16 bits a channel, of which only half would be read; save as 8-bit PNG"
    return ""


def _packed(image: Image.Image) -> np.ndarray:
    """65536 red + 256 green + blue of each pixel, (H, W) int32."""
    w, h = image.size
    packed = np.empty((h, w), np.int32)
    for rows, band in bands(image):
        r, g, b = np.moveaxis(np.asarray(band.convert("RGB"), np.int32), -1, 0)
        packed[rows] = r << 16 | g << 8 | b
    return packed


def _bits_of_png(path):
    """Bits a channel: after the signature, length, name, width and height of the first chunk, IHDR."""
    with open_binary(path) as file:
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
