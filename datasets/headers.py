"""What the header of a picture file says, and notes on headers that look wrong."""

import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from .pictures import has_more, opened, orientation_of, stored_size
from .tar_members import open_binary

END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}  # near the end of every file that was written completely
TWELVE_BITS = 4096


class Header(NamedTuple):
    """What the beginning of a picture file says."""

    height: int  # upright, as read_image returns the picture
    width: int
    turned: bool  # EXIF turns or mirrors the stored picture
    dim: bool  # a 16-bit file whose values all lie below 4096: 17 greys after scaling
    more: bool = False  # frames of an animation or pages of a TIFF behind the first one, which is read


def image_size(path: str | PathLike) -> tuple[int, int]:
    """(height, width) as `read_image` will return it, from the header alone: see read_header."""
    return read_header(path)[:2]


def read_header(path: str | PathLike) -> Header:
    """Size and peculiarities of a picture, in about 0.1 ms: the file's beginning and its last bytes are read.

    A JPEG or PNG without its end mark is decoded to be sure: so a file that was cut off while it was copied is found
    before training starts. Files of 16 bits are decoded, too. Raises ValueError as `read_image` does.
    """
    with opened(path) as image:
        width, height = stored_size(image)
        orientation = orientation_of(image)
        if END_MARKS.get(image.format, b"") not in _tail(path):
            image.load()
        dim = image.mode.startswith("I") and 255 < int(image.getextrema()[1]) < TWELVE_BITS
        more = has_more(image)
    if orientation >= 5:
        height, width = width, height
    return Header(height, width, orientation > 1, dim, more)


def _tail(path: str | PathLike, count: int = 64) -> bytes:
    """The last bytes of a file; some cameras and tools write a little padding behind the end mark."""
    with open_binary(path) as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - count))
        return file.read()


def notes_on(headers: dict[Path, Header], annotated: bool = True) -> list[str]:
    """Lines about pictures that look wrong: turned ones if they have boxes or masks (annotated), dim ones, and those
    that have more than one frame or page.
    """
    turned = [path for path, header in headers.items() if header.turned and annotated]
    dim = [path for path, header in headers.items() if header.dim]
    more = [path for path, header in headers.items() if header.more]
    n, notes = len(headers), []
    if turned:
        notes.append(
            f"EXIF turns {_several(turned)} of {n} pictures, which are read upright; annotations drawn on the stored "
            "orientation lie wrong: look at some"
        )
    if dim:
        notes.append(
            f"{_several(dim)} of {n} pictures have 16 bits, but only values below {TWELVE_BITS} (12 bits?): at most 17 "
            "greys are left; scale the values to 0..65535, or save them as 8 bits"
        )
    if more:
        notes.append(f"{_several(more)} of {n} pictures have several frames or pages; the first of each is read")
    return notes


def turned_hint(header: Header, stated: tuple[int, int]) -> str:
    """Words on the likely cause where a stated size (height, width) is that of the picture before EXIF turned it."""
    if header.turned and stated == (header.width, header.height):
        return " (EXIF turns this picture, and the size is that of the stored one: annotate the upright picture)"
    return ""


def _several(paths: Iterable[Path]) -> str:
    """How many, and the first by name."""
    paths = list(paths)
    return f"{len(paths)} ({os.path.basename(str(paths[0]))}{', ...' if len(paths) > 1 else ''})"
