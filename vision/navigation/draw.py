"""Mazes from above, with the ways of agents, and episodes as moving pictures."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

CELL = 24  # pixels
INK, PAPER, START, GOAL, APPLE = (60, 60, 70), (245, 245, 240), (40, 90, 200), (230, 40, 200), (90, 200, 60)


def draw_maze(walls: np.ndarray, goal: Sequence[float], paths: Sequence[np.ndarray] = (), apples=()) -> np.ndarray:
    """(24 R, 24 C, 3) uint8: walls (R, C), the goal and apples at (x, y), each path (T, 2) from blue to orange."""
    cells = np.where(walls[..., None], INK, PAPER).astype(np.uint8)
    picture = Image.fromarray(cells.repeat(CELL, 0).repeat(CELL, 1))
    pen = ImageDraw.Draw(picture)
    for (x, y), colour, radius in [(goal, GOAL, 0.3), *((apple, APPLE, 0.15) for apple in apples)]:
        pen.ellipse([CELL * (x - radius), CELL * (y - radius), CELL * (x + radius), CELL * (y + radius)], fill=colour)
    for path in paths:
        points = [tuple(point) for point in CELL * path]
        for i, (a, b) in enumerate(pairwise(points)):
            share = i / max(len(points) - 1, 1)
            pen.line([a, b], fill=(int(40 + 200 * share), int(90 + 40 * share), int(200 - 160 * share)), width=3)
    return np.asarray(picture)


def frame(view: np.ndarray, above: np.ndarray) -> np.ndarray:
    """A first-person view, enlarged to the height of the maze from above, beside it."""
    h = len(above)
    w = round(view.shape[1] * h / view.shape[0])
    return np.concatenate([np.asarray(Image.fromarray(view).resize((w, h), Image.Resampling.NEAREST)), above], axis=1)


def draw_policy(view: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A view, and below it a bar for the probability of each action."""
    h, w = view.shape[:2]
    picture = Image.new("RGB", (max(w, 160), h + 14 * len(names)), PAPER)
    picture.paste(Image.fromarray(view))
    pen = ImageDraw.Draw(picture)
    for i, (name, p) in enumerate(zip(names, probabilities)):
        pen.rectangle([76, h + 14 * i + 2, 76 + 80 * float(p), h + 14 * i + 12], fill=START)
        pen.text((2, h + 14 * i + 1), name, fill=INK)
    return np.asarray(picture)
