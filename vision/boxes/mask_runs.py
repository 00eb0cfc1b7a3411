"""Masks as runs of pixels: areas and overlaps without going through all pixels.

A mask of H x W pixels, read row by row, is a sequence of runs. Its edges are the positions where a run of the object
begins and ends: begin, end, begin, end, ... A run-length encoding holds the same, as lengths.
"""

from collections.abc import Sequence

import numpy as np


def mask_runs(masks: np.ndarray) -> list[np.ndarray]:
    """The edges of each of the masks (K, H, W) bool: K arrays of even length, rising."""
    return [_edges(np.asarray(mask, bool)) for mask in masks]


def run_areas(edges: Sequence[np.ndarray]) -> np.ndarray:
    """The number of pixels (K,) of each mask: the sum of end - begin."""
    return np.array([(each[1::2] - each[::2]).sum() for each in edges], np.float64)


def run_intersections(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    """The number of pixels (A, B) that each mask of a shares with each mask of b.

    before(p), the pixels of a mask before position p, is made of straight lines: it rises by 1 a position inside runs
    and is level between them, so that np.interp finds it exactly. A run of another mask from s to e holds
    before(e) - before(s) of its pixels.
    """
    shared = np.zeros((len(a), len(b)))
    positions = np.concatenate([np.zeros(0, np.int64), *b])
    owner = np.repeat(np.arange(len(b)), [len(each) for each in b])
    sign = np.where(np.concatenate([np.zeros(0, np.int64), *map(_parity, b)]), 1.0, -1.0)  # - begin, + end
    for row, edges in zip(shared, a):
        if len(edges) and len(b):
            heights = np.cumsum(np.diff(edges, prepend=edges[0]) * _parity(edges))
            row[:] = np.bincount(owner, sign * np.interp(positions, edges, heights), minlength=len(b))
    return shared


def run_iou(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    """Intersection over union (A, B) of masks; an empty mask overlaps nothing."""
    shared = run_intersections(a, b)
    union = run_areas(a)[:, None] + run_areas(b) - shared
    return shared / np.where(union > 0, union, 1)


def _edges(mask):
    """Of one mask (H, W); only the rows from the first to the last of the object are gone through."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return np.zeros(0, np.int64)
    first, last = rows[0], rows[-1]
    padded = np.concatenate([[False], mask[first : last + 1].ravel(), [False]])  # so that border pixels have edges
    return np.flatnonzero(padded[1:] != padded[:-1]) + first * mask.shape[1]


def _parity(edges):
    """0, 1, 0, 1, ...: 1 for the ends of runs."""
    return np.arange(len(edges)) % 2
