"""Augmentation of images for classifiers: shifts, crops of any shape, colours along the data's own components.

Functions (sample, rng, **options) -> new sample, as in datasets.transforms; they carry every field along.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from datasets.transforms import FILL, _scale_to, _window

TRIES = 10  # random crops that may reach beyond the image before it is taken whole


def random_shift(sample: dict, rng: np.random.Generator, *, pixels: int, fill: Sequence[int] = FILL) -> dict:
    """Move the image by up to `pixels` to each side; it keeps its size, and `fill` comes in at the border.

    A border of `pixels` on all sides and a random crop of the old size is the same (He et al. 2016, arXiv:1512.03385,
    sec. 4.2: 4 pixels, black).
    """
    if not isinstance(pixels, (int, np.integer)) or pixels < 0:
        raise ValueError(f"random_shift: pixels must be a whole number >= 0, got {pixels!r}")
    h, w = sample["image"].shape[:2]
    x0, y0 = (int(rng.integers(-pixels, pixels + 1)) for _ in range(2))
    return _window(sample, x0, y0, h, w, 0.3, fill)


def random_resized_crop(
    sample: dict, rng: np.random.Generator, *, size: Sequence[int], area: Sequence[float] = (0.08, 1.0),
    aspect: Sequence[float] = (3 / 4, 4 / 3),
) -> dict:  # fmt: skip
    """A part of random area and shape at a random position, scaled to `size` (height, width).

    area: range of its share of the image's area, uniform; aspect: range of width / height, log-uniform. Where ten parts
    in a row reach beyond the image, the largest central part whose shape is in the range is taken, of a
    pixel at least. Raises ValueError for ranges that are empty or not above 0, and area above 1.

    Reference: Szegedy et al. 2015, Going deeper with convolutions, arXiv:1409.4842, sec. 6 (8 % to 100 %, 3/4 to 4/3).
    """
    if not (0 < area[0] <= area[1] <= 1 and 0 < aspect[0] <= aspect[1]):
        raise ValueError(f"random_resized_crop: need 0 < low <= high, area to 1, got {area} and {aspect}")
    old_h, old_w = sample["image"].shape[:2]
    for _ in range(TRIES):
        wanted, shape = old_h * old_w * rng.uniform(*area), np.exp(rng.uniform(*np.log(aspect)))
        h, w = int((wanted / shape) ** 0.5 + 0.5), int((wanted * shape) ** 0.5 + 0.5)
        if 1 <= h <= old_h and 1 <= w <= old_w:
            y0, x0 = int(rng.integers(old_h - h + 1)), int(rng.integers(old_w - w + 1))
            break
    else:
        h, w = min(old_h, max(1, int(old_w / aspect[0]))), min(old_w, max(1, int(old_h * aspect[1])))
        y0, x0 = (old_h - h) // 2, (old_w - w) // 2
    return _scale_to(_window(sample, x0, y0, h, w, 0.3, FILL), *size)


def colour_components(images: Sequence[np.ndarray]) -> np.ndarray:
    """(3, 3): principal components of the colours of images (H, W, 3) uint8, a column each, times their variances.

    Colours are in 0..1; covariance P diag(lambda) P^T; returned is P diag(lambda).
    """
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    variances, components = np.linalg.eigh(np.cov(pixels, rowvar=False))
    return components * variances


def colour_pca(sample: dict, rng: np.random.Generator, *, components: np.ndarray, std: float = 0.1) -> dict:
    """Add to all pixels P (alpha_1 lambda_1, alpha_2 lambda_2, alpha_3 lambda_3), alpha normal with deviation `std`.

    components: P diag(lambda) of the training set, see colour_components: changes are such as light makes them.

    Reference: Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks, sec. 4.1.
    """
    change = 255 * components @ (std * rng.standard_normal(3))
    return {**sample, "image": np.clip(np.floor(sample["image"] + change + 0.5), 0, 255).astype(np.uint8)}


def exposure_jitter(sample: dict, rng: np.random.Generator, *, factor: float = 1.5) -> dict:
    """Value and saturation (of HSV) each times or divided by a random number from 1 to `factor`, clipped.

    Raises ValueError for a factor below 1. Reference: Redmon et al. 2016, YOLO, arXiv:1506.02640, sec. 2.2; up and down
    alike as in darknet.
    """
    if not factor >= 1:
        raise ValueError(f"exposure_jitter: factor must be at least 1, got {factor}")
    saturation, value = rng.uniform(1, factor, 2) ** rng.choice([-1, 1], 2)
    hsv = np.array(Image.fromarray(sample["image"]).convert("HSV")) * np.array([1, saturation, value])
    hsv = np.clip(np.floor(hsv + 0.5), 0, 255).astype(np.uint8)
    return {**sample, "image": np.array(Image.fromarray(hsv, "HSV").convert("RGB"))}
