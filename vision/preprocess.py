"""From a photograph to the input of a network: size, normalisation, padding."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from vision.contrast import darkened, stretch

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of red, green and blue, in units of 0..255
IMAGENET_STD = (58.395, 57.12, 57.375)

MAX_PIXELS = 64_000_000  # of a photograph: a few kilobytes can hold more than the memory
ORIENTATION = 0x0112  # EXIF tag: 1 is upright
BAND = 1 << 20  # pixels that are converted together

Photograph = str | os.PathLike | Image.Image | np.ndarray


@dataclass(frozen=True)
class Preprocess:
    """How a photograph becomes an image (3, H, W) of a batch.

    resize: "short_side": the shorter side becomes short_side, or less where the longer would exceed max_side (Ren et
    al. 2015, arXiv:1506.01497, sec. 3.3); "square": scaled to short_side x short_side; "fixed": scaled to `fixed`,
    (height, width); "none": unchanged; "centre": the square in the middle, of `crop` times the shorter side, is scaled
    to short_side x short_side. filter: how pixels are interpolated. The new value of a pixel is (pixel - mean) / std.
    per_image: mean and std are those of all values of the whole image itself, as microscopes differ in their light.
    percentiles, dark_background: the photograph is first stretched and inverted, as contrast.py says.
    Images are padded with the mean colour, at the right and the bottom, to a multiple of `multiple` and to the largest
    of the batch.

    Raises ValueError for sides below 1, short_side > max_side, a crop outside 0 .. 1, a mean or std that is not finite,
    std <= 0, and percentiles but 0 <= low < high <= 100.
    """

    short_side: int = 600
    max_side: int = 1000
    mean: float | tuple[float, float, float] = IMAGENET_MEAN
    std: float | tuple[float, float, float] = IMAGENET_STD
    multiple: int = 1
    resize: Literal["short_side", "square", "fixed", "none", "centre"] = "short_side"
    fixed: tuple[int, int] | None = None
    crop: float = 1.0
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    per_image: bool = False
    percentiles: tuple[float, float] | None = None
    dark_background: bool = False

    def __post_init__(self):
        sides = {"short_side": self.short_side, "max_side": self.max_side, "multiple": self.multiple}
        for name, value in sides.items():
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ValueError(f"Preprocess: {name} must be a whole number >= 1, got {value!r}")
        if self.short_side > self.max_side:
            got = f"{self.short_side} and {self.max_side}"
            raise ValueError(f"Preprocess: short_side must not be above max_side, got {got}")
        if (self.resize == "fixed") != (self.fixed is not None):
            raise ValueError(f"Preprocess: resize='fixed' goes with fixed=(height, width), got {self.fixed!r}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"Preprocess: crop must be above 0 and at most 1, got {self.crop!r}")
        low, high = self.percentiles or (0, 100)
        if not 0 <= low < high <= 100:
            raise ValueError(f"Preprocess: percentiles must be 0 <= low < high <= 100, got {[low, high]}")
        for name, values, least in (("mean", self.mean, -np.inf), ("std", self.std, 0)):
            array = np.asarray(values)
            if array.dtype.kind not in "iuf" or array.shape not in ((), (3,)):
                raise ValueError(f"Preprocess: {name} must be a number, or three, got {values!r}")
            if not (np.isfinite(array) & (array > least)).all():
                raise ValueError(f"Preprocess: {name} must be finite{' and above 0' * (name == 'std')}, got {values!r}")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) that a photograph of this size is scaled to; for "centre" the whole one, uncropped.

        Raises ValueError for more than MAX_PIXELS.
        """
        h, w = self._size(height, width)
        if h * w > max(MAX_PIXELS, height * width):
            raise ValueError(
                f"a photograph of {width}x{height} would be scaled to {w}x{h}, {h * w / 1e6:.0f} million pixels; "
                f"{MAX_PIXELS // 10**6} are taken at most: choose smaller sizes"
            )
        return h, w

    def _size(self, height, width):
        if self.resize == "none":
            return height, width
        if self.resize == "fixed":
            return self.fixed
        if self.resize == "square":
            return self.short_side, self.short_side
        if self.resize == "centre":
            factor = self.short_side / (self.crop * min(height, width))
            return tuple(max(self.short_side, int(side * factor + 0.5)) for side in (height, width))
        factor = min(self.short_side / min(height, width), self.max_side / max(height, width))
        return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))

    def scaled(self, photograph: np.ndarray) -> np.ndarray:
        """The photograph (H, W, 3) uint8 in the size of the network's input, antialiased, its light evened out."""
        return self.resized(self.lit(photograph))

    def resized(self, photograph: np.ndarray) -> np.ndarray:
        """The photograph (H, W, 3) uint8 in the size of the network's input, antialiased."""
        h, w = self.size(*photograph.shape[:2])
        if self.resize == "centre":
            photograph, h, w = self.centre(photograph), self.short_side, self.short_side
        if (h, w) == photograph.shape[:2]:
            return photograph
        filter = Image.Resampling[self.filter.upper()]
        return np.array(Image.fromarray(photograph).resize((w, h), filter))

    def lit(self, photograph: np.ndarray) -> np.ndarray:
        """The photograph (H, W, 3) uint8, stretched and inverted where wanted."""
        photograph = stretch(photograph, self.percentiles) if self.percentiles else photograph
        return darkened(photograph) if self.dark_background else photograph

    def light(self, photograph: np.ndarray) -> tuple[float, float]:
        """(mean, std) that per_image normalises a photograph (H, W, 3) uint8 by, and so each part of it.

        They are those of the photograph in the size of the network's input.
        """
        return mean_and_deviation(self.resized(photograph))

    def centre(self, photograph: np.ndarray) -> np.ndarray:
        """The square in the middle of a photograph (H, W, 3), of `crop` times its shorter side, at least one pixel."""
        height, width = photograph.shape[:2]
        side = max(1, int(self.crop * min(height, width)))
        top, left = (height - side) // 2, (width - side) // 2
        return photograph[top : top + side, left : left + side]

    def batch_of(self, samples: Sequence[dict]) -> np.ndarray:
        """`batch` of the samples' images, with their `light` where they have it."""
        return self.batch([sample["image"] for sample in samples], [sample.get("light") for sample in samples])

    def batch(self, images: Sequence[np.ndarray], lights: Sequence[tuple[float, float] | None] = ()) -> np.ndarray:
        """(N, 3, H, W) float32: images (H_i, W_i, 3) uint8, already scaled, normalised and padded.

        lights: for per_image, `light` of the photograph that each image is a part of; None: it is the whole.
        """
        sides = np.max([x.shape[:2] for x in images], 0).tolist()
        height, width = (-(-side // self.multiple) * self.multiple for side in sides)
        if height * width > max(MAX_PIXELS, sides[0] * sides[1]):
            raise ValueError(f"padding to multiples of {self.multiple} makes images of {width}x{height} pixels")
        batch = np.zeros((len(images), 3, height, width), np.float32)
        for into, image, light in zip(batch, images, lights or [None] * len(images)):
            into[:, : image.shape[0], : image.shape[1]] = self.normalised(image, light).transpose(2, 0, 1)
        return batch

    def normalised(self, image: np.ndarray, light: tuple[float, float] | None = None) -> np.ndarray:
        """(H, W, 3) float32: (image - mean) / std; per_image by the light given, or else by the image's own."""
        values = (light or mean_and_deviation(image)) if self.per_image else (self.mean, self.std)
        mean, std = (np.asarray(each, dtype=np.float32) for each in values)
        return (image - mean) / std


def mean_and_deviation(image: np.ndarray) -> tuple[float, float]:
    """Of all values of an image; where they are nearly equal the deviation counts as 1."""
    return float(image.mean()), max(float(image.std()), 1.0)


def open_photograph(photograph: Photograph) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a path, a PIL image (turned upright by its EXIF data), or an array (H, W, 3) or (H, W).

    Raises ValueError for arrays of another dtype or shape, and for files that are missing or are no pictures.
    """
    if isinstance(photograph, np.ndarray):
        if not photograph.size:
            raise ValueError(f"a photograph must have pixels, got an array {photograph.shape}")
        if photograph.dtype != np.uint8 or photograph.ndim not in (2, 3) or photograph.shape[2:] not in ((), (3,)):
            got = f"{photograph.dtype} {photograph.shape}"
            raise ValueError(f"a photograph must be (H, W, 3) or (H, W) of uint8, got {got}: {_advice(photograph)}")
        return photograph if photograph.ndim == 3 else np.repeat(photograph[..., None], 3, axis=2)
    if isinstance(photograph, Image.Image):
        return _as_array(photograph)
    if not isinstance(photograph, (str, os.PathLike)):
        wanted = "a photograph must be a path, a PIL image, or an array (H, W, 3) of uint8"
        raise ValueError(f"{wanted}, got {type(photograph).__name__}; several photographs go one after another")
    try:
        with (
            open(photograph, "rb") as file,
            Image.open(file) as image,
        ):  # by its path, Pillow 13 garbles grey turned TIFFs
            return open_photograph(image)
    except Exception as error:  # Pillow's decoders raise many types on damaged data, SyntaxError among them
        raise ValueError(f"{os.fspath(photograph)}: cannot be read as a picture: {error}") from error


def _advice(array: np.ndarray) -> str:
    """What to do with an array that is no photograph."""
    if array.ndim == 4:
        return "batches go to predict"
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3):
        return "put the channels last, array.transpose(1, 2, 0), as batches of (N, 3, H, W) go to predict"
    if array.ndim == 3 and array.shape[2] in (1, 4):
        return "give array[..., :3] of RGBA, array[..., 0] of grey"
    if array.dtype.kind == "f" and array.max() <= 1:
        return "values from 0 to 1 become uint8 by (255 * array).round().astype(np.uint8)"
    return "values from 0 to 255 become uint8 by array.astype(np.uint8)"


def _as_array(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8, upright; converted band by band, as a large picture would take its size several times over."""
    w, h = image.size
    if w * h > MAX_PIXELS:
        raise ValueError(
            f"it has {w * h / 1e6:.0f} million pixels, {MAX_PIXELS / 1e6:.0f} are read at most: scale it down"
        )
    turned = image.getexif().get(ORIENTATION, 1) != 1
    upright, height = ImageOps.exif_transpose(image) if turned else image, max(1, BAND // w)
    pixels = np.empty((*upright.size[::-1], 3), np.uint8)
    for top in range(0, len(pixels), height):
        bottom = min(top + height, len(pixels))
        pixels[top:bottom] = _as_rgb(upright.crop((0, top, upright.width, bottom)))
    return pixels


def _as_rgb(image):
    """RGB of a PIL image: 16-bit greys by their high byte, transparent pixels over white, as data sets are read."""
    if image.mode == "F":
        raise ValueError("a photograph of floating-point pixels has no agreed range: save it as 8-bit")
    if image.mode.startswith("I"):  # 16 bits
        grey = np.clip(np.asarray(image, np.float64), 0, 65535)
        image = Image.fromarray(np.floor(grey / 257 + 0.5).astype(np.uint8))  # 65535 / 257 = 255
    elif "A" in image.getbands() or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")
