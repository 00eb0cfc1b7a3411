"""Picture files: which files of a folder are pictures, and how they become arrays.

Whatever a file holds, out comes (H, W, 3) uint8 RGB, upright.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from .files import PICTURES, files_below, is_there, missing
from .tar_members import TarMember, open_binary

MIN_SIDE = 8  # a smaller picture holds nothing to learn from: surely a damaged or a wrong file
MAX_PIXELS = 64_000_000  # a few kilobytes can hold more than the memory; a decoded pixel takes 7 bytes here
BAND = 1 << 20  # pixels that are converted together
ORIENTATION = 0x0112  # EXIF tag: 1 is upright, 3 upside down, 5 to 8 lay the picture on its side
AS_STORED = {  # by the EXIF orientation: a view of the upright picture (H, W, 3) that has the pixels as they are stored
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[:, ::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[::-1].swapaxes(0, 1),
}

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_PIXELS is the limit here


T = TypeVar("T")
_LEFT_OUT: list[list[str]] = []  # what the blocks of leaving_out collect, the innermost last


def pictures(folder: Path) -> dict[str, Path]:
    """{name without ending: file} of the pictures in a folder and below it, in order of the names.

    A name keeps spaces, dots and folders ("0--Parade/street 1"); it is in NFC. Hidden files (._a.jpg, .DS_Store) are
    left out. Raises ValueError for no folder, and for two pictures of one name: it is not known which is meant.
    """
    if not folder.is_dir():
        raise missing(folder, "folder", "it should hold the pictures")
    found = {}
    for name, path in files_below(folder, PICTURES):
        stem = without_ending(name)
        if found.setdefault(stem, path) != path:
            raise ValueError(f"{path}: {found[stem].name} has the same name; keep one of them")
    return found


def _kind_of(path: Path) -> str:
    """What a file that is no picture is by its first bytes, as " (a web page)"; "" where that is not known."""
    with open_binary(path) as file:
        start = file.read(64)
    kinds = {
        b"version https://git-lfs": "a pointer of Git LFS: run git lfs pull", b"<!doctype html": "a web page",
        b"<html": "a web page", b"<svg": "an SVG drawing", b"%pdf": "a PDF", b"pk\x03\x04": "a zip archive",
        b"\x93numpy": "a NumPy array",
    }  # fmt: skip
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"avif"):
        return " (HEIC or AVIF)"
    return next((f" ({kind})" for mark, kind in kinds.items() if start.lstrip().lower().startswith(mark)), "")


def without_ending(name: str) -> str:
    """The name without the ending of a picture, where it has one; other dots stay."""
    return name[: name.rindex(".")] if name.lower().endswith(PICTURES) else name


def read_image(path: str | PathLike | TarMember) -> np.ndarray:
    """The picture in a file as (H, W, 3) uint8 RGB, upright (EXIF orientation applied).

    Grey and palette images become RGB, transparent ones are laid over white, CMYK is converted, 16-bit grey is scaled
    from 0..65535 to 0..255. Of an animation the first frame is taken.

    Raises ValueError with the path if the file is missing, empty, no image, cut off, smaller than 8x8, or larger than
    MAX_PIXELS.
    """
    with opened(path) as image:
        image.load()  # newer Pillows turn a TIFF here, and its orientation is 1 from then on
        orientation, (w, h) = orientation_of(image), image.size
        pixels = np.empty((h, w, 3) if orientation < 5 else (w, h, 3), np.uint8)
        stored = AS_STORED[orientation](pixels)
        for rows, band in bands(image):
            stored[rows] = _to_rgb(band)
    return pixels


@contextmanager
def leaving_out(failed: list[str]) -> Iterator[None]:
    """Data sets that are opened in the block leave out pictures that are damaged; the errors are added to `failed`.

    So one damaged picture does not cost an evaluation. Training is stricter: there the first one is raised.
    """
    _LEFT_OUT.append(failed)
    try:
        yield
    finally:
        _LEFT_OUT.pop()
        failed.sort()  # threads find them in any order


def unless_left_out(read: Callable[[Path], T], path: Path) -> T | None:
    """read(path); in a block of `leaving_out` None where that raises ValueError."""
    try:
        return read(path)
    except ValueError as error:
        if not _LEFT_OUT:
            raise
        if str(error) not in _LEFT_OUT[-1]:
            _LEFT_OUT[-1].append(str(error))
        return None


def none_left(source: str | PathLike, count: int) -> ValueError:
    """The error for a data set all of whose pictures are left out."""
    first = f"; the first: {min(_LEFT_OUT[-1])}" if _LEFT_OUT and _LEFT_OUT[-1] else ""
    return ValueError(f"{source}: none of {count} pictures can be read{first}")


def bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """(rows, the part of the image with these rows), from top to bottom: to convert a large image in little memory."""
    w, h = image.size
    height = max(1, BAND // w)
    for top in range(0, h, height):
        bottom = min(top + height, h)
        yield slice(top, bottom), image.crop((0, top, w, bottom))


@contextmanager
def opened(path: str | PathLike | TarMember, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The file as an open Pillow image; whatever fails inside the block is a ValueError with the path.

    most: pixels that it may have.
    """
    if isinstance(path, TarMember):
        size = path.size
    elif is_there(path := Path(path)):
        size = path.stat().st_size
    else:
        raise missing(path, "image file")
    if size == 0:
        raise ValueError(f"{path}: the image file is empty (0 bytes); copy it again")
    try:
        with open_binary(path) as file, Image.open(file) as image:  # by path, Pillow 13 garbles grey turned TIFFs
            width, height = image.size
            if min(width, height) >= MIN_SIDE and width * height <= most:
                yield image
    except UnidentifiedImageError as error:
        what = f"not an image, or of a kind unknown to Pillow{_kind_of(path)}"
        raise ValueError(f"{path}: {what}; save it as JPEG or PNG") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = int(re.search(r"\d+", str(error))[0])  # Pillow's own limits: the size is not known here
        raise _too_large(path, "", pixels, most) from error
    except PermissionError as error:
        raise ValueError(f"{path}: you may not read it ({error.strerror}); change its permissions") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged data, SyntaxError among them
        raise ValueError(f"{path}: the image cannot be decoded ({error}); copy or save it again") from error
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{path}: the image is {width}x{height}, need at least {MIN_SIDE}x{MIN_SIDE}; remove it")
    if width * height > most:
        raise _too_large(path, f" {width}x{height},", width * height, most)


def _too_large(path, size, pixels, most):
    limit = f"{most / 1e6:.0f} million are read at most"
    return ValueError(f"{path}: the image is{size} {pixels / 1e6:.0f} million pixels, {limit}; scale it down")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none. Pillow would decode a whole PNG to look for it."""
    has_exif = image.format != "PNG" or "exif" in image.info
    value = image.getexif().get(ORIENTATION, 1) if has_exif else 1
    return value if value in range(1, 9) else 1


def has_more(image: Image.Image) -> bool:
    """Whether an open image has frames or pages behind the first. Those of phones' JPEGs (MPO) are previews."""
    return image.format != "MPO" and getattr(image, "is_animated", False)


def stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) before EXIF turns the picture. Newer Pillows give the size of a TIFF after it."""
    return (image.tag_v2[256], image.tag_v2[257]) if image.format == "TIFF" else image.size


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range, save as 8-bit")
    if image.mode.startswith("I"):  # "I;16" and its byte orders; "I" is how older Pillows open a 16-bit PNG
        grey = np.clip(np.asarray(image, dtype=np.float64), 0, 65535)
        return Image.fromarray(np.floor(grey / 257 + 0.5).astype(np.uint8)).convert("RGB")  # 65535 / 257 = 255
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
