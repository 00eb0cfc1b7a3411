"""Edges of an image, the groups that they form, and how likely two groups lie on one contour.

Reference: Zitnick and Dollar 2014, Edge boxes: locating object proposals from edges, ECCV 2014, sec. 3.1. There edges
are those of structured forests (Dollar and Zitnick 2013); here they are gradients, divided by their mean around, so
that texture counts less.
"""

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from vision.proposals.selective_search import correlate, gaussian_derivative

AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))  # the 8 neighbours
LEAST = 0.05  # smaller affinities count as 0 (sec. 3.1)


class EdgeGroups(NamedTuple):
    """labels (H, W): the group 0 .. G - 1 of an edge pixel, -1 where there is none. magnitudes (G,): sums of the
    pixels' magnitudes, centres (G, 2): their mean x, y, angles (G,): direction of the edge, in 0 .. pi. pixels (H, W):
    the magnitudes of edge pixels, 0 elsewhere. members (G, 2): x, y of a pixel of each group, its last one."""

    labels: np.ndarray
    magnitudes: np.ndarray
    centres: np.ndarray
    angles: np.ndarray
    pixels: np.ndarray
    members: np.ndarray


def edge_map(image: np.ndarray, sigma: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(magnitude (H, W) in 0 .. 1, direction (H, W) in 0 .. pi of the edge) of (H, W, 3) uint8, thinned.

    The channel with the steepest gradient counts. magnitude / (mean around + 0.03), over the largest of the image.
    A pixel stays where it is not less than its two neighbours across the edge.
    """
    x = image / 255.0
    dx, dy = (gaussian_derivative(x, axis, sigma) for axis in (1, 0))
    steepest = (dx**2 + dy**2).argmax(axis=2)[..., None]
    dx, dy = (np.take_along_axis(d, steepest, axis=2)[..., 0] for d in (dx, dy))
    magnitude = np.hypot(dx, dy)
    box = np.full(15, 1 / 15)
    mean = correlate(correlate(magnitude[..., None], box, 0), box, 1)[..., 0]
    magnitude = magnitude / (mean + 0.03)
    thin = magnitude * _is_ridge(magnitude, dx, dy)
    thin[[0, -1]] = thin[:, [0, -1]] = 0  # the border is no edge
    return thin / max(thin.max(), 1e-12), np.arctan2(dx, -dy) % np.pi


def _is_ridge(magnitude, dx, dy):
    """Whether each pixel is at least as large as its two neighbours along the gradient, to the nearest 45 degrees."""
    sector = np.floor(np.arctan2(dy, dx) / (np.pi / 4) + 0.5).astype(np.int64) % 4
    padded, (h, w), ridge = np.pad(magnitude, 1), magnitude.shape, np.zeros(magnitude.shape, bool)
    for k, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead, behind = (padded[1 + s * down :][:h, 1 + s * right :][:, :w] for s in (1, -1))
        ridge |= (sector == k) & (magnitude >= ahead) & (magnitude > behind)
    return ridge


def group_edges(magnitude: np.ndarray, direction: np.ndarray, least: float = 0.1, small: float = 0.5) -> EdgeGroups:
    """Edge groups: from each edge pixel on, the 8-connected neighbour of most similar direction is added until the
    differences of direction add up to pi / 2. Small groups are merged with those beside them (sec. 3.1).

    least: magnitudes from which on a pixel is an edge. small: groups whose magnitudes add up to no more are small; both
    are those of the authors' code.
    """
    h, w = magnitude.shape
    labels, angle = np.full((h, w), -1), direction.tolist()
    taken = [[m < least for m in row] for row in magnitude.tolist()]
    groups = []
    for row, column in np.argwhere(magnitude >= least).tolist():
        if taken[row][column]:
            continue
        taken[row][column], group, bend, candidates = True, [(row, column)], 0.0, []
        r, c = row, column
        while True:
            for down, right in AROUND:
                y, x = r + down, c + right
                if 0 <= y < h and 0 <= x < w and not taken[y][x]:
                    apart = abs(angle[y][x] - angle[r][c])
                    heappush(candidates, (min(apart, np.pi - apart), y, x))
            while candidates and taken[candidates[0][1]][candidates[0][2]]:
                heappop(candidates)
            if not candidates or bend + candidates[0][0] > np.pi / 2:
                break
            apart, r, c = heappop(candidates)
            bend, taken[r][c] = bend + apart, True
            group.append((r, c))
        if magnitude[tuple(zip(*group))].sum() > small:
            groups.append(group)
    for k, group in enumerate(groups):
        labels[tuple(zip(*group))] = k
    labels = joined(labels, (magnitude >= least) & (labels < 0), direction)
    return _described(labels, len(groups), np.where(magnitude >= least, magnitude, 0), direction)


def joined(labels, free, direction):
    """Labels in which the free pixels have joined, ring by ring, the group of that neighbour whose direction is most
    like theirs. Pixels that no group touches stay without one."""
    down, right = np.array(AROUND).T
    while free.any():
        rows, columns = np.nonzero(free)
        beside = np.pad(labels, 1, constant_values=-1)[rows[:, None] + down + 1, columns[:, None] + right + 1]  # (P, 8)
        there = np.pad(direction, 1)[rows[:, None] + down + 1, columns[:, None] + right + 1]
        apart = abs(there - direction[rows, columns][:, None])
        apart = np.where(beside < 0, np.inf, np.minimum(apart, np.pi - apart))
        joining = np.isfinite(apart.min(axis=1))
        if not joining.any():
            break
        to, best = (rows[joining], columns[joining]), apart[joining].argmin(axis=1)
        labels[to] = beside[joining, best]
        free[to] = False
    return labels


def _described(labels, count, magnitude, direction):
    """Sums and means over the pixels of each group, by magnitude; directions are averaged as doubled angles."""
    rows, columns = np.nonzero(labels >= 0)
    which, m, a = labels[rows, columns], magnitude[rows, columns], direction[rows, columns]

    def total(values):
        return np.bincount(which, values, count)

    sums = total(m)
    centres = np.stack([total(m * columns), total(m * rows)], axis=1) / np.maximum(sums, 1e-12)[:, None] + 0.5
    angles = np.arctan2(total(m * np.sin(2 * a)), total(m * np.cos(2 * a))) / 2 % np.pi
    members = np.zeros((count, 2), np.int64)
    members[which] = np.stack([columns, rows], axis=1)
    return EdgeGroups(labels, sums, centres, angles, magnitude, members)


def affinities(groups: EdgeGroups, reach: int = 2, gamma: float = 2.0) -> list[dict[int, float]]:
    """For each group its neighbours, at most `reach` pixels away, and their affinity (eq. 1).

    a(i, j) = |cos(angle_i - angle_ij) cos(angle_j - angle_ij)|^gamma, angle_ij that of the line between the centres.
    """
    labels, pairs, count = groups.labels, [], len(groups.magnitudes)
    padded, (h, w) = np.pad(labels, reach, constant_values=-1), labels.shape
    for down in range(reach + 1):
        for right in range(-reach if down else 1, reach + 1):
            other = padded[reach + down :][:h, reach + right :][:, :w]
            both = (labels >= 0) & (other >= 0) & (labels != other)
            low, high = np.minimum(labels[both], other[both]), np.maximum(labels[both], other[both])
            pairs.append(np.unique(low * count + high))
    near = [{} for _ in range(count)]
    for key in np.unique(np.concatenate(pairs)).tolist():
        i, j = divmod(key, count)
        dx, dy = groups.centres[j] - groups.centres[i]
        between = np.arctan2(dy, dx)
        value = abs(np.cos(groups.angles[i] - between) * np.cos(groups.angles[j] - between)) ** gamma
        if value >= LEAST:
            near[i][j] = near[j][i] = float(value)
    return near


class Paths(NamedTuple):
    """The best paths from each group: those from group i are at starts[i] .. starts[i + 1] - 1 of groups (P,), where
    they end, and values (P,), their products."""

    starts: np.ndarray
    groups: np.ndarray
    values: np.ndarray


def best_paths(near: list[dict[int, float]]) -> Paths:
    """The largest product of affinities over all paths from group to group, 1 to itself (eq. 2).

    Dijkstra's algorithm on products; paths below 0.05 are left out.
    """
    starts, groups, values = [0], [], []
    for start in range(len(near)):
        heap, best = [(-1.0, start)], {}
        while heap:
            value, i = heappop(heap)
            if i in best:
                continue
            best[i] = -value
            for j, affinity in near[i].items():
                if j not in best and -value * affinity >= LEAST:
                    heappush(heap, (value * affinity, j))
        groups.extend(best)
        values.extend(best.values())
        starts.append(len(groups))
    return Paths(np.array(starts), np.array(groups, np.int64), np.array(values, np.float64))
