"""Square windows of images: cutting them out, and drawing them at random around objects or beside all of them."""

from typing import NamedTuple

import numpy as np

from nn import AffineGrid, GridSample
from nn.dispatch import array_module


class Windows(NamedTuple):
    """M windows: the image each is of (M,), its centre (M, 2) as x, y and its side (M,), in pixels."""

    image: np.ndarray
    centre: np.ndarray
    side: np.ndarray


def cut(images: np.ndarray, windows: Windows, size: int) -> np.ndarray:
    """(M, 3, size, size): the windows, scaled bilinearly; the mean colour, 0, where they reach out of the image."""
    xp, (h, w) = array_module(images), images.shape[2:]
    theta = xp.zeros((len(windows.image), 2, 3), images.real.dtype)
    for axis, length in enumerate((w, h)):
        theta[:, axis, axis] = windows.side / length
        theta[:, axis, 2] = 2 * windows.centre[:, axis] / length - 1
    return GridSample()(images[windows.image], AffineGrid((size, size))(theta))


def corners(windows: Windows) -> np.ndarray:
    """The windows as boxes (M, 4)."""
    half = windows.side[:, None] / 2
    return np.concatenate([windows.centre - half, windows.centre + half], axis=1)


def around(boxes: np.ndarray, shares: tuple[float, float], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centres (M, 2) and sides (M,) of a random window for each box (M, 4): its longer side is a share between the two
    of the window's, and at least three quarters of its width and of its height are inside: more than half of it."""
    size, middle = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    side = size.max(axis=1) / rng.uniform(*shares, len(boxes))
    reach = (side[:, None] - size) / 2 + size / 4
    return middle + reach * rng.uniform(-1, 1, size.shape), side


def beside(
    boxes: np.ndarray, image_size: tuple[int, int], sides: tuple[float, float], count: int, most: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Centres (M, 2) and sides (M,) of at most `count` random windows in an image of (h, w), with sides between the
    two, that hold no more than the share `most` of any of the boxes (K, 4)."""
    h, w = image_size
    side = rng.uniform(*sides, 4 * count)
    size = np.array([[w], [h]])
    low = np.minimum(side, size) / 2  # the window inside the image; around its middle where it is larger
    centre = (low + (size - 2 * low) * rng.random(low.shape)).T
    seen = corners(Windows(np.zeros(len(side), int), centre, side))[:, None]  # (M, 1, 4)
    inside = np.minimum(seen[..., 2:], boxes[:, 2:]) - np.maximum(seen[..., :2], boxes[:, :2])  # (M, K, 2)
    share = np.maximum(inside, 0).prod(axis=2) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6)
    empty = np.flatnonzero(share.max(axis=1, initial=0) <= most)[:count]
    return centre[empty], side[empty]
