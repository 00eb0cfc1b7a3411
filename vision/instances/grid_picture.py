"""A picture of location-specific classifiers: what each of the K x K says of a box, and what comes of them."""

import numpy as np
from PIL import Image

from nn.layers.activation import sigmoid
from vision.instances.location_grid import interpolated

SIDE, GAP = 90, 4  # pixels of one map, and between two


def draw_grid(image: np.ndarray, box: np.ndarray, scores: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: the crop and the interpolated mask, then K rows of K maps, 0 black, 1 white.

    image (H, W, 3) uint8, box (4,) in its pixels, scores and alpha (K K, size, size). A blue frame is around the pixels
    of a map where its classifier counts most.
    """
    k = int(len(scores) ** 0.5)
    whole = interpolated(scores[None], alpha)[0]
    cut = Image.fromarray(image).crop(tuple(int(side) for side in np.round(box))).resize((SIDE, SIDE))
    maps = [grey(each) for each in sigmoid(scores)]
    for each, own in zip(maps, (alpha.argmax(axis=0) == np.arange(k * k)[:, None, None])):
        rows, columns = (np.flatnonzero(own.any(axis=axis)) * SIDE // len(own) for axis in (1, 0))
        frame(each, rows[0], columns[0], rows[-1] + SIDE // len(own), columns[-1] + SIDE // len(own))
    rows = [[np.array(cut), grey(whole)], *(maps[i * k : (i + 1) * k] for i in range(k))]
    picture = np.full(((k + 1) * (SIDE + GAP), max(k, 2) * (SIDE + GAP), 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            picture[i * (SIDE + GAP) :, j * (SIDE + GAP) :][:SIDE, :SIDE] = tile
    return picture


def grey(p: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 of probabilities (size, size)."""
    at = np.arange(SIDE) * len(p) // SIDE
    return np.repeat((255 * p[at[:, None], at]).astype(np.uint8)[..., None], 3, axis=2)


def frame(tile: np.ndarray, top: int, left: int, bottom: int, right: int):
    """Draw a blue frame into a tile."""
    inside = np.zeros(tile.shape[:2], bool)
    inside[top:bottom, left:right] = True
    inside[top + 1 : bottom - 1, left + 1 : right - 1] = False
    tile[inside] = (60, 120, 255)
