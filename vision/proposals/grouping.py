"""Hierarchical grouping: the two most similar neighbours become one region until one is left.

Reference: Uijlings et al. 2013, IJCV 104, alg. 1 and sec. 3.2.
"""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np


class Regions(NamedTuple):
    """R regions: sizes (R,) in pixels, boxes (R, 4), histograms of colour and texture (R, D), each of sum 1, and the
    regions that touch each of them."""

    sizes: np.ndarray
    boxes: np.ndarray
    colour: np.ndarray
    texture: np.ndarray
    neighbours: list[set[int]]


class Tree(NamedTuple):
    """All 2 R - 1 regions, those to begin with first, then in the order of merging: boxes (2 R - 1, 4), and children
    (R - 1, 2) and similarities (R - 1,) of the merged ones."""

    boxes: np.ndarray
    children: np.ndarray
    similarities: np.ndarray


def group(regions: Regions, measure: str = "CTSF") -> Tree:
    """The tree of merging by the sum of the similarities in `measure`: of colour, texture, size, fill.

    Each s is in 0 .. 1 (sec. 3.2, eq. 1-6; |.| counts pixels, BB is the box around both):
    C: sum over bins of min(c_i, c_j)                 T: the same of the texture
    S: 1 - (|r_i| + |r_j|) / |image|                  F: 1 - (|BB_ij| - |r_i| - |r_j|) / |image|

    A merged region's histograms are the mean of its parts' by size (eq. 3), so no pixel is looked at again. Of equal
    similarities the pair with the lower indices merges first. Raises ValueError where not all regions are connected.
    """
    count = len(regions.sizes)
    state, pixels = _room_for(regions, 2 * count - 1), regions.sizes.sum()
    near = [set(each) for each in regions.neighbours]
    heap = []  # (minus similarity, i, j) of neighbours; those of regions that are gone stay until they come up
    for i in range(count):
        later = np.array([j for j in near[i] if j > i], np.int64)
        heap += zip((-similarities(state, i, later, measure, pixels)).tolist(), [i] * len(later), later.tolist())
    heapify(heap)
    children, values = np.zeros((count - 1, 2), np.int64), np.zeros(count - 1)
    for new in range(count, 2 * count - 1):
        value, i, j = _next(heap, near)
        children[new - count], values[new - count] = (i, j), -value
        _merge(state, i, j, new)
        around = (near[i] | near[j]) - {i, j}
        near[i] = near[j] = None
        near.append(around)
        for k in around:
            near[k] -= {i, j}
            near[k].add(new)
        others = np.fromiter(around, np.int64, len(around))
        for value, k in zip((-similarities(state, new, others, measure, pixels)).tolist(), others.tolist()):
            heappush(heap, (value, k, new))
    return Tree(state.boxes, children, values)


def similarities(state: Regions, i: int, others: np.ndarray, measure: str, pixels: int) -> np.ndarray:
    """(K,): the similarity of region i to each of the others (K,); pixels: of the image."""
    both = state.sizes[i] + state.sizes[others]
    total = np.zeros(len(others))
    if "C" in measure:
        total += np.minimum(state.colour[i], state.colour[others]).sum(axis=1)
    if "T" in measure:
        total += np.minimum(state.texture[i], state.texture[others]).sum(axis=1)
    if "S" in measure:
        total += 1 - both / pixels
    if "F" in measure:
        low = np.minimum(state.boxes[i, :2], state.boxes[others, :2])
        high = np.maximum(state.boxes[i, 2:], state.boxes[others, 2:])
        total += 1 - ((high - low).prod(axis=1) - both) / pixels
    return total


def _merge(state, i, j, new):
    """Region `new` of i and j: eq. 3 for both histograms."""
    a, b = state.sizes[i], state.sizes[j]
    state.sizes[new] = a + b
    for histogram in (state.colour, state.texture):
        histogram[new] = (a * histogram[i] + b * histogram[j]) / (a + b)
    state.boxes[new, :2] = np.minimum(state.boxes[i, :2], state.boxes[j, :2])
    state.boxes[new, 2:] = np.maximum(state.boxes[i, 2:], state.boxes[j, 2:])


def _next(heap, near):
    """The most similar pair that is still there."""
    while heap:
        value, i, j = heappop(heap)
        if near[i] is not None and near[j] is not None:
            return value, i, j
    raise ValueError("group: the regions are not all connected")


def _room_for(regions, total):
    """The regions with room for those to come."""
    more = total - len(regions.sizes)
    grown = [np.concatenate([a, np.zeros((more, *a.shape[1:]), a.dtype)]) for a in regions[:4]]
    return Regions(*grown, regions.neighbours)
