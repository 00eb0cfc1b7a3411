"""Painting of random scenes: what `Shapes` shows. Its annotations are in shapes.py."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

COLOURS = {
    "red": (205, 50, 45),
    "yellow": (228, 196, 48),
    "green": (60, 158, 70),
    "blue": (52, 92, 196),
    "purple": (142, 62, 160),
    "white": (232, 230, 224),
}


def _circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sqrt(u * u + v * v) - 0.95


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) - 0.82


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.max(_half_planes(u, v, sides=3, distance=0.6), axis=0)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sort(_half_planes(u, v, sides=5, distance=0.39), axis=0)[-2]  # inside four of a pentagram's five lines


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    longer, shorter = np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    return np.maximum(longer - 0.98, shorter - 0.36)


def _half_planes(u: np.ndarray, v: np.ndarray, sides: int, distance: float) -> list[np.ndarray]:
    """Signed distances to `sides` lines at equal angles, all `distance` from the origin; negative on its side."""
    angles = [2 * math.pi * k / sides for k in range(sides)]
    return [math.sin(angle) * u + math.cos(angle) * v - distance for angle in angles]


# Kind -> f(u, v) in the object's own coordinates: negative inside, near the outline about the distance to it.
KINDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
}
REACH = 1.27  # no kind reaches farther from its centre


class Thing(NamedTuple):
    """What is known of an object when it has been painted; later ones may still cover parts of it."""

    kind: str
    colour: str
    area: int  # pixels
    extremes: np.ndarray  # (4, 2) x, y: see `extreme_points`


def paint_scene(
    rng: np.random.Generator, size: tuple[int, int], kinds: Sequence[str], max_objects: int
) -> tuple[np.ndarray, np.ndarray, list[Thing]]:
    """Image (H, W, 3) uint8, owner (H, W) int64: the index of the object seen at a pixel, or -1; the objects."""
    canvas = _background(rng, *size)
    owner = np.full(size, -1, dtype=np.int64)
    things: list[Thing] = []
    for _ in range(rng.integers(1, max_objects + 1)):
        _add_object(rng, canvas, owner, things, kinds)
    canvas += rng.standard_normal(canvas.shape, dtype=np.float32) * rng.uniform(2, 9)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8), owner, things


def extreme_points(mask: np.ndarray) -> np.ndarray:
    """(4, 2) x, y: the middle pixels of the topmost row, rightmost column, lowest row and leftmost column."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]

    def middle(line: np.ndarray) -> int:
        hits = np.flatnonzero(line)
        return hits[len(hits) // 2]

    points = (
        (middle(mask[top]), top),
        (right, middle(mask[:, right])),
        (middle(mask[bottom]), bottom),
        (left, middle(mask[:, left])),
    )
    return np.array(points) + 0.5  # a pixel's centre


def _background(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """(h, w, 3) float32: a muted colour with soft blotches and a faint ripple."""
    base = rng.uniform(75, 175) + rng.uniform(-20, 20, 3)
    blotches = _enlarge(rng.uniform(-32, 32, (5, 6, 3)).astype(np.float32), h, w)
    angle, period, strength = rng.uniform(0, math.pi), rng.uniform(6, 40), rng.uniform(0, 14)
    x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    ripple = strength * _wave((x * math.cos(angle) + y * math.sin(angle)) / period)
    return blotches + ripple[..., None] + base.astype(np.float32)


def _enlarge(grid: np.ndarray, h: int, w: int) -> np.ndarray:
    """(a, b, 3) values to (h, w, 3) by linear interpolation, corners on corners."""
    for axis, length in enumerate((h, w)):
        at = np.linspace(0, grid.shape[axis] - 1, length, dtype=np.float32)
        below = np.minimum(at.astype(np.int64), grid.shape[axis] - 2)
        share = np.expand_dims(at - below.astype(np.float32), (1 - axis, 2))
        low, high = grid.take(below, axis), grid.take(below + 1, axis)
        grid = low + (high - low) * share
    return grid


def _wave(t: np.ndarray) -> np.ndarray:
    """Triangle wave of period 1 between -1 and 1."""
    return 4 * abs(t - np.floor(t) - 0.5) - 1


def _add_object(
    rng: np.random.Generator, canvas: np.ndarray, owner: np.ndarray, things: list[Thing], kinds: Sequence[str]
) -> None:
    """Paint one more object where it fits; a scene that is full stays as it is."""
    h, w = owner.shape
    kind, colour = kinds[rng.integers(len(kinds))], list(COLOURS)[rng.integers(len(COLOURS))]
    for _ in range(12):
        radius = min(h, w) * math.exp(rng.uniform(math.log(0.11), math.log(0.23)))
        reach = REACH * radius
        x, y, angle = rng.uniform(reach, w - reach), rng.uniform(reach, h - reach), rng.uniform(0, 2 * math.pi)
        patch = slice(int(y - reach), int(y + reach) + 1), slice(int(x - reach), int(x + reach) + 1)
        dy = (np.arange(patch[0].start, patch[0].stop, dtype=np.float32)[:, None] + 0.5 - y) / radius
        dx = (np.arange(patch[1].start, patch[1].stop, dtype=np.float32) + 0.5 - x) / radius
        u, v = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
        distance = KINDS[kind](u, v) * radius  # in pixels
        inside = distance < 0
        if _fits(inside, owner[patch], owner, things):
            break
    else:
        return
    light = 1 - 0.12 * (dx + dy)  # from the top left
    paint = (_texture(rng, u, v, distance) * light)[..., None] * _varied(rng, COLOURS[colour])
    share = np.clip(0.5 - distance, 0, 1)[..., None]  # pixels on the outline are covered in part
    canvas[patch] += share * (paint - canvas[patch])
    owner[patch][inside] = len(things)
    offset = patch[1].start, patch[0].start
    things.append(Thing(kind, colour, int(inside.sum()), extreme_points(inside) + offset))


def _fits(inside: np.ndarray, below: np.ndarray, owner: np.ndarray, things: list[Thing]) -> bool:
    """Whether all painted objects keep a quarter in sight, and the new one lies on others by at most 40 %."""
    bins = len(things) + 1  # the first counts the background
    covered = np.bincount(below[inside] + 1, minlength=bins)[1:]
    in_sight = np.bincount(owner.ravel() + 1, minlength=bins)[1:] - covered
    return covered.sum() <= 0.4 * inside.sum() and all(in_sight > [0.25 * thing.area for thing in things])


def _texture(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(h, w) brightness: plain, striped, checked or dotted in a darker tone, with a dark rim."""
    a, b = _wave(u * rng.uniform(1, 2.2)), _wave(v * rng.uniform(1, 2.2))
    pattern = (np.full_like(a, -1), a, 4 * a * b, a + b - 0.6)[rng.integers(4)]
    tone = 1 - rng.uniform(0.2, 0.5) * np.clip(0.5 + 3 * pattern, 0, 1)  # steep: two tones with soft edges
    return np.where(distance > -1.5, 0.6 * tone, tone)


def _varied(rng: np.random.Generator, rgb: tuple[int, int, int]) -> np.ndarray:
    return (np.array(rgb) + rng.uniform(-14, 14, 3)).astype(np.float32)
