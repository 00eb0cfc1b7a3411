"""Image files to arrays: whatever the file holds, out comes (H, W, 3) uint8 RGB."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MIN_SIDE = 8  # a smaller picture holds nothing to learn from: surely a damaged or a wrong file
END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}  # near the end of every file that was written completely
ORIENTATION = 0x0112  # EXIF tag; its values 5 to 8 lay the picture on its side


def read_image(path: str | PathLike) -> np.ndarray:
    """The picture in a file as (H, W, 3) uint8 RGB, upright (EXIF orientation applied).

    Grey and palette images become RGB, transparent ones are laid over white, CMYK is converted,
    16-bit grey is scaled from 0..65535 to 0..255; of an animation, the first frame.

    Raises ValueError with the path if the file is missing, empty, no image, cut off, or smaller than 8x8.
    """
    with opened(path) as image:
        pixels = np.array(_to_rgb(ImageOps.exif_transpose(image)))  # a copy: Pillow's own buffer is read-only
    return pixels


def image_size(path: str | PathLike) -> tuple[int, int]:
    """(height, width) as `read_image` will return it, from the header alone: about 0.1 ms.

    A JPEG or PNG without its end mark is decoded to be sure: so a file that was cut off while it was
    copied is found before training starts. Raises ValueError as `read_image` does.
    """
    with opened(path) as image:
        width, height = image.size
        has_exif = image.format != "PNG" or "exif" in image.info  # Pillow would decode a whole PNG to look for it
        on_its_side = has_exif and image.getexif().get(ORIENTATION, 1) >= 5
        if END_MARKS.get(image.format, b"") not in _tail(path):
            image.load()
    return (width, height) if on_its_side else (height, width)


@contextmanager
def opened(path: str | PathLike) -> Iterator[Image.Image]:
    """The file as an open Pillow image; whatever fails inside the block is a ValueError with the path."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such image file; check the path")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the image file is empty (0 bytes); copy it again")
    try:
        with Image.open(path) as image:
            width, height = image.size
            if min(width, height) >= MIN_SIDE:
                yield image
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image, or of a kind unknown to Pillow; save it as JPEG or PNG") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged data, SyntaxError among them
        raise ValueError(f"{path}: the image cannot be decoded ({error}); copy or save it again") from error
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{path}: the image is {width}x{height}, need at least {MIN_SIDE}x{MIN_SIDE}; remove it")


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


def _tail(path: str | PathLike, count: int = 64) -> bytes:
    """The last bytes of a file; some cameras and tools write a little padding behind the end mark."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - count))
        return file.read()
