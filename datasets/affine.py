"""Affine distortion: images turned, sheared, scaled and moved at random."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .transforms import FILL

ANGLE, SHEAR, SCALE, SHIFT = 10.0, 0.3, (0.8, 1.2), 2 / 105  # degrees; tangent; factor; share of the image's side
PROBABILITY = 0.5  # of each part
UNFIT = {"boxes", "masks", "keypoints", "segmentation", "instances"}


def affine_distortion(
    sample: dict, rng: np.random.Generator, *, strength: float = 1.0, fill: Sequence[int] = FILL
) -> dict:
    """A random affine map about the image's middle: rotation, shear, scale and shift, each with probability 0.5.

    With strength 1, as in the paper: turned by up to 10 degrees, sheared by up to 0.3 along x and along y, scaled by
    0.8 to 1.2 along each, moved by up to 2 of 105 pixels along each; another strength multiplies all of them. The image
    keeps its size and is interpolated bilinearly; `fill` comes in at the border. Raises ValueError for a sample with
    boxes, masks, keypoints or labels of pixels, which would not fit any more, and a strength that is not in 0 .. 3.

    Reference: Koch, Zemel and Salakhutdinov 2015, Siamese neural networks for one-shot image recognition, sec. 3.2
    (affine distortions).
    """
    if not 0 <= strength <= 3:
        raise ValueError(f"affine_distortion: strength must be 0 to 3, got {strength}")
    if unfit := sorted(UNFIT & sample.keys()):
        raise ValueError(f"affine_distortion: cannot move the {unfit[0]} of a sample; for labels of whole images only")
    h, w = sample["image"].shape[:2]
    matrix, shift = draw_affine(rng, strength)
    inverse, middle = np.linalg.inv(matrix), np.array([w, h]) / 2
    offset = middle - inverse @ (middle + shift * (w, h))  # source = inverse (target - middle - shift) + middle
    data = *inverse[0], offset[0], *inverse[1], offset[1]
    image = Image.fromarray(sample["image"])
    moved = image.transform((w, h), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR, fillcolor=tuple(fill))
    return {**sample, "image": np.array(moved)}


def draw_affine(rng: np.random.Generator, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """(matrix (2, 2), shift (2,) as a share of the sides) that moves points (x, y) of the image."""
    kept = rng.random(7) < PROBABILITY  # every number is drawn, whether it is kept or not
    angle, shear_x, shear_y, scale_x, scale_y, x, y = np.where(kept, rng.uniform(-1, 1, 7), 0) * strength
    turn, ratio = np.deg2rad(ANGLE * angle), SCALE[1]
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, -sin], [sin, cos]])
    sheared = np.array([[1, SHEAR * shear_x], [SHEAR * shear_y, 1]])
    scaled = np.diag(1 + (ratio - 1) * np.array([scale_x, scale_y]))
    return rotation @ sheared @ scaled, SHIFT * np.array([x, y])
