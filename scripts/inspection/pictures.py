"""Arrays as pictures: maps in a grid, matrices, vectors; PNGs of 8 bits with a palette, as text for the page."""

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

GAP, FEW, MOST, WIDE = 1, 12, 36, 320  # pixels between maps; maps of a picture if there are, at most; columns at most
SOME = 2000  # cells from which the variation of a map is taken
ONE, TWO = "magma", "RdBu_r"  # palettes: of values from 0 up, of values of both signs around 0
TILE = 32  # side of a picture in a film strip
CLEAR = 255  # the entry of a palette that is transparent


class Picture(NamedTuple):
    """A PNG as text, and how to read it: tiles of rows x columns, each a map of `channels`, `cell` pixels a cell."""

    uri: str
    width: int
    height: int
    kind: str  # "maps", "matrix"
    across: int = 1
    tile: tuple[int, int] = (0, 0)  # rows, columns of a tile in the picture
    cells: tuple[int, int] = (0, 0)  # rows, columns of the map itself
    channels: tuple[int, ...] = ()
    of: int = 0  # channels there are
    low: float = 0.0
    high: float = 0.0


def as_uri(image: Image.Image, kind: str = "PNG", **options) -> str:
    """The file of an image as a data: address."""
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def photograph(image: np.ndarray) -> str:
    """An image (H, W, 3) uint8 as a data: address."""
    return as_uri(Image.fromarray(image), "JPEG", quality=88)


def paletted(levels: np.ndarray, palette: str) -> str:
    """Levels (H, W) uint8, 0 .. 254 from low to high and CLEAR, in the colours of a palette of matplotlib."""
    image = Image.fromarray(levels, "L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours(palette))
    return as_uri(image, transparency=CLEAR, optimize=False, compress_level=6)


@lru_cache
def colours(palette: str) -> bytes:
    """The 256 colours of a palette, the last one for what is transparent."""
    from matplotlib import colormaps  # imported here: it takes as long as everything else

    table = (255 * colormaps[palette](np.linspace(0, 1, CLEAR))[:, :3] + 0.5).astype(np.uint8)
    return table.tobytes() + b"\0\0\0"


def levels_of(
    x: np.ndarray, both: bool | None = None, high: float | None = None
) -> tuple[np.ndarray, str, float, float]:
    """(levels 0 .. 254, palette, low, high): of values without a negative one from 0, of others around 0.

    high: by default the 99.5th percentile of the magnitudes, so that one outlier does not make all else dark. NaN and
    infinity are CLEAR.
    """
    finite = np.isfinite(x)
    known = x[finite]
    both = bool((known < 0).any()) if both is None else both
    if high is None:
        high = float(np.percentile(abs(known), 99.5)) if known.size else 0.0
        high = high or float(abs(known).max(initial=0)) or 1.0
    low = -high if both else 0.0
    scaled = np.clip((np.where(finite, x, 0) - low) / (high - low), 0, 1) * (CLEAR - 1)
    return np.where(finite, scaled + 0.5, CLEAR).astype(np.uint8), TWO if both else ONE, low, high


def maps(x: np.ndarray, pixels: int, both: bool | None = None, chosen: tuple[int, ...] = ()) -> Picture:
    """A grid of the chosen maps (C, H, W), by default those that vary most, in the order of their channels; of about so
    many pixels."""
    channels, h, w = x.shape
    count = len(chosen) or min(channels, MOST, max(FEW, pixels // (h * w)))
    scale = min(1.0, (pixels / (count * h * w)) ** 0.5)
    tile_h, tile_w = max(1, round(h * scale)), max(1, round(w * scale))
    spread = np.nan_to_num(x.reshape(channels, -1)[:, :: max(1, h * w // SOME)].std(axis=1))
    chosen = list(chosen) or np.sort(np.argsort(-spread, kind="stable")[:count]).tolist()
    across = columns_of(count, tile_h, tile_w)
    down = -(-count // across)
    levels, palette, low, high = levels_of(shrunk(x[chosen], tile_h, tile_w), both)
    sheet = np.full((down * (tile_h + GAP) - GAP, across * (tile_w + GAP) - GAP), CLEAR, np.uint8)
    for i, each in enumerate(levels):
        top, left = i // across * (tile_h + GAP), i % across * (tile_w + GAP)
        sheet[top : top + tile_h, left : left + tile_w] = each
    size = sheet.shape[1], sheet.shape[0]
    about = across, (tile_h, tile_w), (h, w), tuple(chosen), channels, low, high
    return Picture(paletted(sheet, palette), *size, "maps", *about)


def columns_of(count: int, h: int, w: int) -> int:
    """Columns of a grid of about 3 : 2."""
    return max(1, min(count, round((1.5 * count * h / w) ** 0.5)))


def shrunk(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """Maps (C, H, W) as (C, h, w), h <= H and w <= W: means of blocks."""
    for axis, size in ((1, h), (2, w)):
        edges = np.linspace(0, x.shape[axis], size + 1).astype(int)
        x = np.add.reduceat(x, edges[:-1], axis=axis) / np.diff(edges).reshape(
            [-1 if i == axis else 1 for i in range(3)]
        )
    return x


def matrix(x: np.ndarray, pixels: int, both: bool | None = None, high: float | None = None) -> Picture:
    """A matrix (rows, columns), made smaller by means of blocks where it is large."""
    rows, columns = x.shape
    w = min(columns, WIDE)
    h = max(1, min(rows, pixels // w))
    levels, palette, low, high = levels_of(shrunk(x[None], h, w)[0], both, high)
    about = {"tile": (h, w), "cells": (rows, columns), "channels": (0,), "of": 1, "low": low, "high": high}
    return Picture(paletted(levels, palette), w, h, "matrix", **about)


def overlay(gradient: np.ndarray) -> str:
    """How much each pixel matters, from a gradient (C, H, W): the largest magnitude over the channels, in colours."""
    magnitude = abs(gradient).max(axis=0)
    levels, palette, _, _ = levels_of(magnitude, both=False)
    return paletted(levels, palette)


def strip(arrays: Sequence, side: int = TILE) -> str:
    """One tile of side x side pixels for each array, side by side, each scaled by itself; None: an empty tile.

    Of maps (N, C, H, W) the mean magnitude over the channels; of all else the values in the order of the memory.
    """
    sheet = np.full((side, max(1, len(arrays)) * side), CLEAR, np.uint8)
    for i, x in enumerate(arrays):
        if x is None or not x.size:
            continue
        small = thumbnail(x, side)
        levels = levels_of(small, both=False)[0]
        down, across = (-(-side // size) for size in levels.shape)
        large = levels.repeat(down, axis=0).repeat(across, axis=1)
        rows = np.arange(side) * large.shape[0] // side
        sheet[:, i * side : (i + 1) * side] = large[rows][:, np.arange(side) * large.shape[1] // side]
    return paletted(sheet, ONE)


def thumbnail(x: np.ndarray, side: int) -> np.ndarray:
    """(h, w), both at most `side`: the magnitudes of an array, of that image or region where they are largest."""
    if x.ndim == 3 and x.shape[1] < x.shape[0]:  # over time
        plane = abs(x[:, 0])
    elif x.ndim > 2:
        row = abs(x[int(abs(x.reshape(len(x), -1)).sum(axis=1).argmax())])
        plane = row.mean(axis=0) if row.ndim == 3 else row.reshape(len(row), -1)
    else:
        rows = abs(x.reshape(1, -1)) if x.ndim < 2 else abs(x)
        vector = rows[rows.sum(axis=1).argmax()]
        edge = int(np.ceil(vector.size**0.5))
        plane = np.pad(vector, (0, edge * edge - vector.size)).reshape(edge, edge)
    return shrunk(plane[None].astype(float), min(side, plane.shape[0]), min(side, plane.shape[1]))[0]
