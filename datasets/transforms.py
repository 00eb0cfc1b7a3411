"""Changes to a sample that keep its image, boxes, masks and points together.

Every function is `f(sample, rng, **options) -> new sample`; the argument is never modified. Fields that a
sample does not have are left out; fields without coordinates are passed on. Give options with
functools.partial and chain with `compose`:

    train = compose(partial(resize, short_side=240, max_side=320), horizontal_flip, colour_jitter)

Coordinates are continuous pixels: the image spans [0, W] x [0, H], the first pixel is [0, 1] x [0, 1].
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image

PER_OBJECT = ("boxes", "labels", "kinds", "colours", "difficult", "crowd", "area", "masks", "keypoints")  # (K, ...)
BOXES = {"boxes", "proposals"}  # (K, 4): of the objects; and those that may hold some, of any number
PIXEL_LABELS = {"masks", "segmentation", "instances"}  # last two axes: (H, W)
TEXTS = {"caption", "questions"}  # lists of str, which may say where things are
UNKNOWN = -1  # label of pixels that no image covers: not counted
FILL = (124, 116, 104)  # their colour, about the mean of photographs


def compose(*functions: Callable[[dict, np.random.Generator], dict]) -> Callable[[dict, np.random.Generator], dict]:
    """One transform that applies several in order, sharing `rng`."""
    return partial(_in_order, functions)  # no inner function: processes that read data take it pickled


def _in_order(functions, sample, rng):
    for function in functions:
        sample = function(sample, rng)
    return sample


def resize(sample: dict, rng: np.random.Generator | None = None, *, short_side: int, max_side: int) -> dict:
    """Scale so that the shorter side is `short_side`, or less where the longer would pass `max_side`.

    Adds scale (sx, sy) = new size / original size, to map results back, and original_size (h, w);
    both survive a second resize. Height and width are rounded, so sx and sy may differ a little.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.3 (600 and 1000 there).
    """
    if not 0 < short_side <= max_side:
        raise ValueError(f"resize: need 0 < short_side <= max_side, got {short_side} and {max_side}")

    def size(h, w):
        factor = min(short_side / min(h, w), max_side / max(h, w))
        return _rounded(h * factor), _rounded(w * factor)

    return resize_to(sample, size=size)


def resize_to(
    sample: dict, rng: np.random.Generator | None = None, *, size: Callable[[int, int], tuple[int, int]]
) -> dict:
    """Scale an image of h x w pixels to size(h, w): `resize` for any rule, such as that of a model's Preprocess.

    Adds scale and original_size as `resize` does.
    """
    h, w = sample["image"].shape[:2]
    new_h, new_w = size(h, w)
    before = sample.get("scale", (1.0, 1.0))
    new = _scale_to(sample, new_h, new_w)
    new["scale"] = (before[0] * new_w / w, before[1] * new_h / h)
    new.setdefault("original_size", (h, w))
    return new


def horizontal_flip(
    sample: dict, rng: np.random.Generator, *, probability: float = 0.5, keypoint_order: Sequence[int] | None = None
) -> dict:
    """Mirror left and right: x' = W - x. "left" and "right" are exchanged in captions and questions.

    `keypoint_order` re-orders points that are left or right: for (nose, left eye, right eye) it is (0, 2, 1).
    """
    if rng.random() >= probability:
        return dict(sample)
    return _flip(sample, 0, keypoint_order, words=("left", "right"))


def vertical_flip(
    sample: dict, rng: np.random.Generator, *, probability: float = 0.5, keypoint_order: Sequence[int] | None = None
) -> dict:
    """Mirror top and bottom: y' = H - y. "above" and "below" are exchanged in captions and questions."""
    if rng.random() >= probability:
        return dict(sample)
    return _flip(sample, 1, keypoint_order, words=("above", "below"))


def random_scale(
    sample: dict,
    rng: np.random.Generator,
    *,
    low: float = 0.75,
    high: float = 1.33,
    min_area_left: float = 0.3,
    fill: Sequence[int] = FILL,
) -> dict:
    """Zoom by a factor from [low, high] (log-uniform) at a random position; the image keeps its size.

    Zoomed out, the border is filled with `fill`, segmentation and instances with -1. Zoomed in, boxes are clipped;
    objects with less than `min_area_left` of their box left are dropped from every per-object field; points that
    leave the image become (0, 0, 0). For training: `scale` no longer maps back to the file.
    """
    if not 0 < low <= high:
        raise ValueError(f"random_scale: need 0 < low <= high, got {low} and {high}")
    h, w = sample["image"].shape[:2]
    factor = np.exp(rng.uniform(np.log(low), np.log(high)))
    scaled_h, scaled_w = _rounded(h * factor), _rounded(w * factor)
    x0 = int(np.floor(rng.random() * (scaled_w - w) + 0.5))  # negative, when zoomed out: the image starts inside
    y0 = int(np.floor(rng.random() * (scaled_h - h) + 0.5))
    return _window(_scale_to(sample, scaled_h, scaled_w), x0, y0, h, w, min_area_left, fill)


def random_crop(
    sample: dict, rng: np.random.Generator, *, size: Sequence[int], min_area_left: float = 0.3,
    fill: Sequence[int] = FILL,
) -> dict:  # fmt: skip
    """A part of `size` (height, width) at a random position, with the rules of random_scale for what is cut.

    A side of the image that is shorter is filled up at the right or the bottom with the colour `fill` and label -1.
    Raises ValueError unless size is two integers of at least 1.
    """
    if np.shape(size) != (2,) or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in size):
        raise ValueError(f"random_crop: size must be (height, width), whole numbers of at least 1, got {size!r}")
    (h, w), (old_h, old_w) = size, sample["image"].shape[:2]
    x0, y0 = (int(rng.integers(0, max(old - new, 0) + 1)) for old, new in ((old_w, w), (old_h, h)))
    return _window(sample, x0, y0, h, w, min_area_left, fill)


def colour_jitter(
    sample: dict,
    rng: np.random.Generator,
    *,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
) -> dict:
    """Random light and colour: the image, its distance from its mean grey, and from each pixel's grey, times a factor.

    The factors are uniform in [1 - brightness, 1 + brightness], and so on; the result is rounded and clipped to 0..255.
    """
    b, c, s = (rng.uniform(1 - a, 1 + a) for a in (brightness, contrast, saturation))
    x = sample["image"].astype(np.float32) * b
    mean = _grey(x).mean()
    x = mean + c * (x - mean)
    grey = _grey(x)[..., None]
    x = grey + s * (x - grey)
    return {**sample, "image": np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)}


def drop_difficult(sample: dict, rng: np.random.Generator | None = None) -> dict:
    """Leave out the objects marked difficult, as is usual in training (never in evaluation)."""
    return _keep(sample, ~sample["difficult"]) if "difficult" in sample else dict(sample)


def _keep(sample: dict, kept: np.ndarray) -> dict:
    """Only the objects where `kept` (K,) bool, in every per-object field."""
    return {key: value[kept] if key in PER_OBJECT else value for key, value in sample.items()}


def _scale_to(sample: dict, new_h: int, new_w: int) -> dict:
    """Image by antialiased bilinear interpolation, masks and labels by the nearest pixel, coordinates exactly."""
    h, w = sample["image"].shape[:2]
    if (new_h, new_w) == (h, w):
        return dict(sample)
    rows = ((np.arange(new_h) + 0.5) * h / new_h).astype(np.int64)  # the pixel that the new centre falls into
    columns = ((np.arange(new_w) + 0.5) * w / new_w).astype(np.int64)
    new = _move(sample, scale=(new_w / w, new_h / h), shift=(0, 0))
    new["image"] = np.array(Image.fromarray(sample["image"]).resize((new_w, new_h), Image.Resampling.BILINEAR))
    for key in PIXEL_LABELS & sample.keys():
        new[key] = sample[key][..., rows[:, None], columns]
    return new


def _flip(sample: dict, axis: int, keypoint_order: Sequence[int] | None, words: tuple[str, str]) -> dict:
    """Mirror along x (axis 0) or y (axis 1); `axis` is the index of the coordinate in (x, y)."""
    h, w = sample["image"].shape[:2]
    scale, shift = (((-1, 1), (w, 0)), ((1, -1), (0, h)))[axis]
    new = _move(sample, scale, shift)
    new["image"] = np.ascontiguousarray(np.flip(sample["image"], 1 - axis))
    for key in PIXEL_LABELS & sample.keys():
        new[key] = np.ascontiguousarray(np.flip(sample[key], -1 - axis))
    if "keypoints" in new and keypoint_order is not None:
        new["keypoints"] = new["keypoints"][:, list(keypoint_order)]
    other = dict(zip(words, reversed(words), strict=True))
    for key in TEXTS & new.keys():
        new[key] = [re.sub(rf"\b({'|'.join(words)})\b", lambda m: other[m[0]], text) for text in new[key]]
    return new


def _window(sample: dict, x0: int, y0: int, h: int, w: int, min_area_left: float, fill: Sequence[int]) -> dict:
    """The part of size (h, w) whose top left corner is at (x0, y0), which may lie partly outside the image."""
    old_h, old_w = sample["image"].shape[:2]
    source = slice(max(y0, 0), min(y0 + h, old_h)), slice(max(x0, 0), min(x0 + w, old_w))
    target = tuple(slice(part.start - start, part.stop - start) for part, start in zip(source, (y0, x0), strict=True))
    new = _move(sample, scale=(1, 1), shift=(-x0, -y0))
    new["image"] = np.full((h, w, 3), fill, dtype=np.uint8)
    new["image"][target] = sample["image"][source]
    for key in PIXEL_LABELS & sample.keys():
        outside = False if key == "masks" else UNKNOWN
        new[key] = np.full((*sample[key].shape[:-2], h, w), outside, dtype=sample[key].dtype)
        new[key][(..., *target)] = sample[key][(..., *source)]
    if "keypoints" in new:
        x, y = new["keypoints"][..., 0], new["keypoints"][..., 1]
        new["keypoints"][(x < 0) | (y < 0) | (x > w) | (y > h)] = 0
    whole = new.get("boxes")
    for key in BOXES & new.keys():
        new[key] = np.clip(new[key], 0, np.array([w, h, w, h], dtype=new[key].dtype))
    if "proposals" in new:
        new["proposals"] = new["proposals"][_area(new["proposals"]) > 0]
    if whole is None:
        return new
    left, area = _area(new["boxes"]), _area(whole)
    if "area" in new:  # of an object what share of its box is left
        new["area"] = new["area"] * (left / np.where(area > 0, area, 1))
    return _keep(new, (left > 0) & (left >= min_area_left * area))


def _move(sample: dict, scale: Sequence[float], shift: Sequence[float]) -> dict:
    """A copy whose boxes, proposals and keypoints are at (x, y) * scale + shift; a negative scale mirrors."""
    new = dict(sample)
    for key in BOXES & sample.keys():
        boxes = sample[key]
        corners = boxes.reshape(-1, 2, 2) * np.array(scale, dtype=boxes.dtype) + np.array(shift, dtype=boxes.dtype)
        new[key] = np.sort(corners, axis=1).reshape(-1, 4)  # mirrored, the old right side is the new left one
    if "area" in sample:
        new["area"] = sample["area"] * abs(scale[0] * scale[1])
    if "keypoints" in sample:
        new["keypoints"] = points = sample["keypoints"].copy()
        points[..., :2] = points[..., :2] * np.array(scale, points.dtype) + np.array(shift, points.dtype)
        points[points[..., 2] == 0] = 0  # absent points have no position: COCO writes (0, 0, 0)
    return new


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _grey(image: np.ndarray) -> np.ndarray:
    """Luma of (H, W, 3) RGB, ITU-R BT.601."""
    return image @ np.array([0.299, 0.587, 0.114], dtype=image.dtype)


def _rounded(length: float) -> int:
    return max(1, int(length + 0.5))
