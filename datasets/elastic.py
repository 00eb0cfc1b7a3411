"""Elastic deformation: a picture and its labels, bent smoothly and at random, as tissue bends."""

from collections.abc import Sequence

import numpy as np

from .transforms import FILL, UNKNOWN

NODES = 3  # of the coarse grid, along each axis


def elastic_deformation(
    sample: dict, rng: np.random.Generator, *, sigma: float = 10.0, fill: Sequence[int] = FILL
) -> dict:
    """Move every pixel by a smooth random field: y(p) = x(p + d(p)).

    The displacements of a coarse 3 x 3 grid over the image are normal with standard deviation `sigma`, in pixels; those
    of the pixels between come by bicubic interpolation. The image is interpolated bilinearly; segmentation and
    instances take the nearest pixel's label, so none are mixed; outside the image are the colour `fill` and label -1.
    sample: image (H, W, 3) uint8, segmentation and instances (H, W) int, if it has them; the rest passes unchanged.
    Raises ValueError for a sample with boxes, masks or keypoints, which would not fit any more, and a negative sigma
    or one that is not finite.

    Reference: Ronneberger et al. 2015, arXiv:1505.04597, sec. 3.1.
    """
    if not 0 <= sigma < np.inf:
        raise ValueError(f"elastic_deformation: sigma must be finite and at least 0 pixels, got {sigma}")
    if unfit := sorted({"boxes", "masks", "keypoints"} & sample.keys()):
        raise ValueError(f"elastic_deformation: cannot bend the {unfit[0]} of a sample; for labels of pixels only")
    h, w = sample["image"].shape[:2]
    d_rows, d_columns = _bicubic(h) @ rng.normal(0, sigma, (2, NODES, NODES)) @ _bicubic(w).T
    rows, columns = np.arange(h)[:, None] + d_rows, np.arange(w) + d_columns
    new = {**sample, "image": _bilinear(sample["image"], rows, columns, fill)}
    nearest = np.floor(rows + 0.5).astype(int), np.floor(columns + 0.5).astype(int)
    for key in {"segmentation", "instances"} & sample.keys():
        new[key] = _at(sample[key], *nearest, outside=UNKNOWN)
    return new


def _bicubic(n: int) -> np.ndarray:
    """(n, NODES): the weight of each node at each of n positions; nodes are spread evenly from first to last.

    Cubic convolution with a = -1/2; the outer nodes go on beyond the ends. Reference: Keys 1981, eq. 15.
    """
    position = np.arange(n) * (NODES - 1) / max(n - 1, 1)
    weights = np.zeros((n, NODES))
    for node in range(-2, NODES + 2):
        s = abs(position - node)
        near, far = 1.5 * s**3 - 2.5 * s**2 + 1, -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2
        weights[:, min(max(node, 0), NODES - 1)] += np.where(s < 1, near, np.where(s < 2, far, 0))
    return weights


def _bilinear(image, rows, columns, fill):
    """The image (H, W, 3) uint8 at real-valued positions (H, W), rounded."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    upper = (1 - right) * _at(image, top, left, fill) + right * _at(image, top, left + 1, fill)
    lower = (1 - right) * _at(image, top + 1, left, fill) + right * _at(image, top + 1, left + 1, fill)
    return np.floor((1 - down) * upper + down * lower + 0.5).astype(np.uint8)


def _at(x, rows, columns, outside):
    """x[rows, columns], `outside` where that is outside of x."""
    h, w = x.shape[:2]
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    y = x[np.clip(rows, 0, h - 1), np.clip(columns, 0, w - 1)]
    y[~inside] = outside
    return y
