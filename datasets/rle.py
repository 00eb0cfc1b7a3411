"""Masks as COCO writes them: polygons, and runs of equal pixels (run-length encoding, RLE).

An RLE has {"size": [H, W], "counts": ...}: the lengths of runs of 0, 1, 0, 1, ... down the columns, the first column
first. Counts are a list, or a text that packs them: six bits a character, differences to the run before the last.

Reference: Lin et al. 2014, arXiv:1405.0312, and its code, pycocotools: masks agree with it pixel by pixel.
"""

from collections.abc import Sequence

import numpy as np

from .pictures import MAX_PIXELS

FAR = 2  # sides of the image that a polygon may reach beyond it: its boundary is walked step by step
FINER = 5  # boundaries are followed on a grid so much finer than the pixels


def decode(rle: dict, size: tuple[int, int] | None = None) -> np.ndarray:
    """The mask (H, W) bool of an RLE. ValueError where it is none, or not of the size (H, W) wanted."""
    h, w = _size_of(rle, size)
    counts = rle.get("counts")
    counts = unpack(counts) if isinstance(counts, (str, bytes)) else counts
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("the counts of an RLE must be a list of whole numbers from 0, or packed text")
    if sum(counts) != h * w:
        raise ValueError(f"the counts of an RLE of {w}x{h} pixels must add up to {h * w}, got {sum(counts)}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(w, h).T  # (H, W) down the columns


def encode(mask: np.ndarray) -> dict:
    """The RLE of a mask (H, W), counts as packed text: what COCO's results files hold."""
    return {"size": list(mask.shape), "counts": pack(runs(mask))}


def runs(mask: np.ndarray) -> list[int]:
    """The lengths of the runs of a mask (H, W), down the columns, the first a run of 0 and perhaps empty."""
    flat = np.asarray(mask, bool).T.ravel()  # (W H,)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def pack(counts: Sequence[int]) -> str:
    """Counts as text: five bits and a sixth for "more follows" in each character, the lowest bits first."""
    text = []
    for i, n in enumerate(counts):
        n = int(n) - (int(counts[i - 2]) if i > 2 else 0)
        more = True
        while more:
            bits, n = n & 31, n >> 5
            more = n != -1 if bits & 16 else n != 0  # bit 4 is the sign
            text.append(chr(bits + 32 * more + 48))
    return "".join(text)


def unpack(text: str | bytes) -> list[int]:
    """The counts in packed text. ValueError where it is cut off, or holds other characters."""
    codes = [code - 48 for code in (text.encode() if isinstance(text, str) else text)]
    counts, value, shift = [], 0, 0
    for code in codes:
        if not 0 <= code < 64:
            raise ValueError("the packed counts of an RLE hold a character that does not belong there")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (code >> 4 & 1) << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError("the packed counts of an RLE are cut off")
    return counts


def polygon_mask(polygon: Sequence[float], h: int, w: int) -> np.ndarray:
    """The pixels (H, W) bool inside a polygon [x1, y1, x2, y2, ...], in pixels from the upper left corner.

    The boundary is walked on a grid five times as fine. Where it enters a new column of pixels, the run of this column
    changes between 0 and 1 at its height.
    """
    x, y = (FINER * np.asarray(polygon, np.float64).reshape(-1, 2).T + 0.5).astype(np.int64)
    x_end, y_end = np.roll(x, -1), np.roll(y, -1)
    dx, dy = np.abs(x_end - x), np.abs(y_end - y)
    steps = np.maximum(dx, dy)
    flat = dx >= dy
    backward = np.where(flat, x > x_end, y > y_end)  # each edge is walked upward, so that its two directions agree
    x0, x1 = np.where(backward, x_end, x), np.where(backward, x, x_end)
    y0, y1 = np.where(backward, y_end, y), np.where(backward, y, y_end)
    slope = np.where(flat, y1 - y0, x1 - x0) / np.maximum(steps, 1)
    edge = np.repeat(np.arange(len(x)), steps + 1)
    t = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)  # 0 .. steps of each edge
    t = np.where(backward[edge], steps[edge] - t, t)
    u = np.where(flat[edge], t + x0[edge], (x0[edge] + slope[edge] * t + 0.5).astype(np.int64))
    v = np.where(flat[edge], (y0[edge] + slope[edge] * t + 0.5).astype(np.int64), t + y0[edge])
    crossing = u[1:] != u[:-1]
    column = (np.minimum(u[1:], u[:-1])[crossing] + 0.5) / FINER - 0.5
    row = (np.minimum(v[1:], v[:-1])[crossing] + 0.5) / FINER - 0.5
    inside = (column == np.floor(column)) & (column >= 0) & (column <= w - 1)
    column, row = column[inside].astype(np.int64), np.ceil(np.clip(row[inside], 0, h)).astype(np.int64)
    changes = np.bincount(column * h + row, minlength=h * w + 1)[: h * w]
    return (np.cumsum(changes) % 2 == 1).reshape(w, h).T


def reaches_far(shape: list | dict | None, size: tuple[int, int]) -> bool:
    """Whether the polygons of a `segmentation`, if it has some, reach far outside of an image of this size."""
    polygons = shape if isinstance(shape, list) else ()
    return any(abs(value) > (1 + FAR) * max(size) for polygon in polygons for value in polygon)


def doubt_about(shape: list | dict | None, size: tuple[int, int]) -> str:
    """Why a `segmentation` cannot be the mask of an object in an image of this size (H, W); "" where it can.

    ValueError for an RLE of another size.
    """
    if not shape:
        return ""
    if isinstance(shape, dict):
        _size_of(shape, size)
        counts = shape["counts"]
        counts = unpack(counts) if isinstance(counts, (str, bytes)) else counts
        return "" if sum(counts[1::2]) else "the RLE of {} has no pixel"
    if reaches_far(shape, size):
        return "the polygon of {} reaches far outside"
    points = np.concatenate(shape).reshape(-1, 2)  # (P, 2): x, y
    outside = (points.max(axis=0) <= 0) | (points.min(axis=0) >= size[::-1])
    return "the polygon of {} lies outside of the image" if outside.any() else ""


def shape_mask(shape: list | dict, h: int, w: int) -> np.ndarray:
    """The mask (H, W) bool of an object's `segmentation`: polygons, of which it is the union, or an RLE."""
    if isinstance(shape, dict):
        return decode(shape, (h, w))
    mask = np.zeros((h, w), bool)
    for polygon in shape:
        mask |= polygon_mask(polygon, h, w)
    return mask


def draw_masks(things: Sequence[tuple[list | dict | None, Sequence[float]]], size: tuple[int, int]) -> np.ndarray:
    """Masks (K, H, W) bool of (shape, box) of each object; an object without a shape has the pixels of its box."""
    masks = np.zeros((len(things), *size), bool)
    for mask, (shape, box) in zip(masks, things):
        if shape:
            mask[:] = shape_mask(shape, *size)
        else:
            x1, y1, x2, y2 = (max(int(np.floor(value + 0.5)), 0) for value in box)
            mask[y1:y2, x1:x2] = True
    return masks


def _size_of(rle, wanted):
    size = rle.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and n > 0 for n in size):
        raise ValueError(f"the size of an RLE must be [height, width], got {size!r:.60}")
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"an RLE of {size[0]!r:.20}x{size[1]!r:.20} pixels; {MAX_PIXELS // 10**6} million are read")
    h, w = size
    if wanted not in (None, (h, w)):
        raise ValueError(f"the RLE is of {w}x{h} pixels, wanted {wanted[1]}x{wanted[0]}")
    return h, w
