"""MNIST digits in several known forms each: shifted, or one digit turned, scaled and lit as a turntable shows a thing.

Both say which samples are similar without any label: see datasets.neighbours.

Reference: Hadsell, Chopra and LeCun 2006, Dimensionality reduction by learning an invariant mapping, sec. 3.3 and 3.4.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from nn.layers.bilinear import sample

from .listing import Listed
from .mnist import SIDE, rgb
from .mnist_distorted import similar
from .neighbours import across_changes, pixel_neighbours

CANVAS = 32  # pixels of a side
SHIFTS = (-6, -3, 0, 3, 6)  # pixels to the right
ANGLES, SCALES, LIGHTS = 18, 9, 6  # views of NORB: azimuths, elevations, lightings
DARK = 0.4  # brightness at the far edge, at the near one 1


class ShiftedDigits:
    """Each digit at each of `shifts`, on a black 32x32. Sample i * len(shifts) + s is digit i, shifted by shifts[s].

    Sample: image (32, 32, 3) uint8; label int; origin int, the digit; form int, s; id str. digits (N, 28, 28) uint8,
    labels (N,). forms: the names of the shifts. neighbours(k): all forms of a digit and of its k nearest in pixel
    space, unshifted.
    """

    def __init__(self, digits: np.ndarray, labels: np.ndarray, classes: Sequence[str], shifts: Sequence[int] = SHIFTS):
        self.digits, self.classes, self.shifts = digits, tuple(classes), tuple(shifts)
        self.labels, self.forms = np.repeat(labels, len(self.shifts)), tuple(f"{s:+d}" for s in self.shifts)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        origin, s = divmod(index, len(self.shifts))
        image, before = np.zeros((CANVAS, CANVAS), np.uint8), (CANVAS - SIDE) // 2
        image[before : before + SIDE, before : before + SIDE] = self.digits[origin]
        moved, shift = np.zeros_like(image), self.shifts[s]
        columns = slice(max(shift, 0), CANVAS + min(shift, 0)), slice(max(-shift, 0), CANVAS + min(-shift, 0))
        moved[:, columns[0]] = image[:, columns[1]]
        id_ = f"{origin}, shifted {shift:+d}"
        return {"id": id_, "image": rgb(moved), "label": int(self.labels[index]), "origin": origin, "form": s}

    def neighbours(self, k: int) -> list[np.ndarray]:
        """The graph for NeighbourPairs."""
        return across_changes(pixel_neighbours(self.digits, k), len(self.shifts))

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        n = len(self.shifts)
        return (Listed(f"{i // n}, shifted {self.shifts[i % n]:+d}", (CANVAS, CANVAS)) for i in range(len(self)))


class TurnedDigit:
    """972 views of one digit, as NORB has of an airplane: 18 angles, 9 sizes, lit from 6 sides.

    Views are similar whose angles are equal or next to each other (20 degrees), and whose sizes are; the light makes no
    difference. The angles close up to a ring, the sizes make a line: together a cylinder. split: two thirds of the
    views, drawn by `seed`, are "train", the rest is "test".

    Sample: image (32, 32, 3) uint8; label int, the angle's index; angle float, in radians; size int, its index; origin
    int, of the angle and size; form int, of the light; id str. digit (28, 28) uint8. forms: the names of the lights.
    """

    def __init__(self, digit: np.ndarray, split: str = "train", seed: int = 0):
        if split not in ("train", "test"):
            raise ValueError(f"TurnedDigit: split must be train or test, got {split!r}")
        views = [(a, s, x) for a in range(ANGLES) for s in range(SCALES) for x in range(LIGHTS)]
        order, third = np.random.default_rng(seed).permutation(len(views)), len(views) // 3
        chosen = sorted(order[third:].tolist() if split == "train" else order[:third].tolist())
        self.digit, self.views = digit.astype(np.float32), np.array([views[i] for i in chosen])
        self.labels = self.views[:, 0]
        self.classes = tuple(f"{360 // ANGLES * a} degrees" for a in range(ANGLES))
        self.forms, self.drawn = tuple(f"lit from {360 // LIGHTS * x} degrees" for x in range(LIGHTS)), {}

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> dict:
        angle, size, light = self.views[index].tolist()
        turn = 2 * np.pi * angle / ANGLES
        if index not in self.drawn:
            scale = 0.5 + 0.05 * size  # 0.5 to 0.9 of the digit's own size
            self.drawn[index] = view_of(self.digit, turn, scale, 2 * np.pi * light / LIGHTS)
        view = {"id": self._id(index), "label": angle, "angle": turn, "size": size}
        return view | {"origin": angle * SCALES + size, "form": light, "image": self.drawn[index].copy()}

    def neighbours(self, k: int) -> list[np.ndarray]:
        """The graph for NeighbourPairs; k is not used, for the views say what is next to them."""
        angles, sizes = self.views[:, 0], self.views[:, 1]
        around = abs(angles[:, None] - angles)
        near = (np.minimum(around, ANGLES - around) <= 1) & (abs(sizes[:, None] - sizes) <= 1)
        np.fill_diagonal(near, False)
        return [np.flatnonzero(row) for row in near]

    def listing(self) -> Iterator[Listed]:
        """The id and size of each view."""
        return (Listed(self._id(index), (CANVAS, CANVAS)) for index in range(len(self)))

    def _id(self, index):
        angle, size, light = self.views[index].tolist()
        return f"angle {angle}, size {size}, light {light}"


def view_of(digit: np.ndarray, turn: float, scale: float, light: float) -> np.ndarray:
    """(32, 32, 3) uint8: the digit (28, 28) float turned about its middle and scaled, lit from a direction.

    turn, light: clockwise, in radians; light from 0 comes from the right.
    """
    rows, columns = similar(CANVAS, turn, scale, (CANVAS / 2, CANVAS / 2))
    image = sample(digit[None], rows.ravel(), columns.ravel()).reshape(rows.shape)
    y, x = (np.mgrid[:CANVAS, :CANVAS] + 0.5) * 2 / CANVAS - 1  # -1 .. 1
    towards = x * np.cos(light) + y * np.sin(light)
    brightness = (1 + DARK) / 2 + (1 - DARK) / 2 * towards.clip(-1, 1)
    return rgb(np.floor(image * brightness + 0.5).astype(np.uint8))
