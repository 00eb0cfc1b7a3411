"""MNIST digits that are rotated, scaled and moved, seen from aside, or bent: what a spatial transformer has to undo.

Reference: Jaderberg et al. 2015, Spatial transformer networks, arXiv:1506.02025, sec. 4.1 and appendix A.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from nn.layers.bilinear import sample
from nn.layers.warp_grids import thin_plate_matrix

from .listing import Listed
from .mnist import MNIST, SIDE, rgb

LARGE = 42  # pixels of a side where digits move
CORNER, BEND = 5.0, 1.5  # standard deviations in pixels: of the image's corners in P, of the control points of E
POINTS = 4  # control points of a side


def rotated(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """R: turned by -90 to 90 degrees about the middle."""
    return similar(SIDE, rng.uniform(-np.pi / 2, np.pi / 2), 1.0, (SIDE / 2, SIDE / 2))


def rotated_scaled_translated(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """RTS: turned by -45 to 45 degrees, 0.7 to 1.2 times as large, anywhere on 42x42 where the upright square fits."""
    angle, scale = rng.uniform(-np.pi / 4, np.pi / 4), rng.uniform(0.7, 1.2)
    half = scale * SIDE / 2
    return similar(LARGE, angle, scale, rng.uniform(half, LARGE - half, 2))


def similar(size: int, angle: float, scale: float, centre) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns), of the digit's pixels for each pixel of the image (size, size), the digit's middle at `centre`.

    centre: (x, y), from the image's edge. A positive angle turns the digit clockwise.
    """
    y, x = np.mgrid[:size, :size] + 0.5
    dx, dy = (x - centre[0]) / scale, (y - centre[1]) / scale
    cos, sin = np.cos(angle), np.sin(angle)
    return -sin * dx + cos * dy + SIDE / 2 - 0.5, cos * dx + sin * dy + SIDE / 2 - 0.5


def projected(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """P: 0.75 to 1 times as large in the middle of 42x42, then each corner of this image moved at random."""
    scale, corners = rng.uniform(0.75, 1.0), LARGE * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    h = homography(corners + rng.normal(0, CORNER, (4, 2)), corners)
    y, x = np.mgrid[:LARGE, :LARGE] + 0.5
    u, v, w = np.tensordot(h, np.stack([x, y, np.ones_like(x)]), axes=1)
    seen = w > 1e-6  # beyond the horizon is nothing
    u, v = (np.where(seen, a / np.where(seen, w, 1), -LARGE) for a in (u, v))
    return (v - LARGE / 2) / scale + SIDE / 2 - 0.5, (u - LARGE / 2) / scale + SIDE / 2 - 0.5


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The matrix (3, 3), its last element 1, that sends four points (4, 2) to four others.

    u (g x + h y + 1) = a x + b y + c and v (g x + h y + 1) = d x + e y + f: 8 linear equations.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(rows, values), 1).reshape(3, 3)


def bent(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """E: 16 control points, each moved at random, and a thin-plate spline between them."""
    matrix, centres = _spline()
    column, row = (matrix @ (centres + rng.normal(0, BEND, centres.shape))).T
    return row.reshape(SIDE, SIDE), column.reshape(SIDE, SIDE)


@cache
def _spline():
    """Of the pixels of a digit: the matrix from values at the control points; and these, (x, y) in pixels."""
    line, pixels = np.linspace(0, SIDE - 1, POINTS), np.arange(SIDE)
    centres, points = (np.stack(np.meshgrid(a, a), axis=-1).reshape(-1, 2) for a in (line, pixels))
    return thin_plate_matrix(points, centres), centres


KINDS: dict[str, Callable] = {"R": rotated, "RTS": rotated_scaled_translated, "P": projected, "E": bent}


class DistortedMNIST:
    """Digits, each distorted at random. kind: "R", "RTS", "P" or "E"; images of 28x28 (R, E) or 42x42 pixels.

    Sample: image (size, size, 3) uint8, interpolated bilinearly; label int, id str. Sample i has digit i % len(digits),
    all else comes from default_rng([seed, i]). With `copies` the data set has each digit so many times, each time
    distorted in another way. The paper does not say what size P has.

    Raises ValueError for another kind and copies under 1.
    """

    def __init__(self, digits: MNIST, kind: str, seed: int = 0, copies: int = 1):
        if kind not in KINDS:
            raise ValueError(f"DistortedMNIST: kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if copies < 1:
            raise ValueError(f"DistortedMNIST: copies must be at least 1, got {copies}")
        self.digits, self.classes, self.kind, self.seed, self.copies = digits, digits.classes, kind, seed, copies
        self.size = LARGE if kind in ("RTS", "P") else SIDE
        self.labels = np.tile(digits.labels, copies)

    def __len__(self) -> int:
        return self.copies * len(self.digits)

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        which, rng = index % len(self.digits), np.random.default_rng([self.seed, index])
        rows, columns = KINDS[self.kind](rng)
        digit = self.digits.digits[which].astype(np.float32)
        values = sample(digit[None], rows.ravel(), columns.ravel()).reshape(rows.shape)
        image = np.floor(values + 0.5).astype(np.uint8)
        id_, label = f"{self.digits.split}/{index}", int(self.digits.labels[which])
        return {"id": id_, "image": rgb(image), "label": label}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (Listed(f"{self.digits.split}/{index}", (self.size, self.size)) for index in range(len(self)))
