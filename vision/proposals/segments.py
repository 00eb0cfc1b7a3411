"""Regions in place of boxes: every node of Selective Search's merge trees is a set of superpixels.

MCG, whose regions the papers on instance segmentation use, is not here: it needs a learned edge detector and ranking.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nn.io.checkpoint import read_checkpoint, write_checkpoint
from vision.proposals.cache import picture_digest
from vision.proposals.colour import SPACES
from vision.proposals.grouping import Tree, group
from vision.proposals.selective_search import (
    FastOptions,
    describe,
    histogram_channels,
    initial_segments,
    rank_values,
    region_boxes,
)


class Segments(NamedTuple):
    """Regions of an image, best first: superpixels (H, W) int64 in 0 .. S - 1, and members (K, S) bool, of which of
    them each region is made."""

    superpixels: np.ndarray
    members: np.ndarray

    def masks(self) -> np.ndarray:
        """(K, H, W) bool."""
        return self.members[:, self.superpixels]

    def boxes(self) -> np.ndarray:
        """(K, 4) float32: the boxes around the regions."""
        parts = region_boxes(self.superpixels)  # (S, 4)
        low = np.where(self.members[..., None], parts[:, :2], np.inf).min(axis=1)
        high = np.where(self.members[..., None], parts[:, 2:], -np.inf).max(axis=1)
        return np.concatenate([low, high], axis=1).astype(np.float32)

    def share(self, masks: np.ndarray) -> np.ndarray:
        """(G, S): how much of each superpixel lies in masks (G, H, W) of bool, or of probabilities: their mean."""
        flat, count = self.superpixels.ravel(), self.members.shape[1]
        sums = [np.bincount(flat, mask.ravel(), count) for mask in masks]
        return np.array(sums).reshape(len(masks), count) / np.bincount(flat, minlength=count)

    def iou(self, masks: np.ndarray) -> np.ndarray:
        """(K, G): the intersection over union of each region with masks (G, H, W) bool."""
        sizes = np.bincount(self.superpixels.ravel(), minlength=self.members.shape[1]).astype(np.float64)
        shared = self.members @ (self.share(masks) * sizes).T
        union = (self.members @ sizes)[:, None] + masks.sum(axis=(1, 2)) - shared
        return shared / np.maximum(union, 1)


def propose_segments(image: np.ndarray, options: FastOptions) -> Segments:
    """The regions of (H, W, 3) uint8 by all strategies of Selective Search, ranked as its boxes are: see propose.

    Superpixels are the cuts of the initial segments of all strategies. Regions whose box is narrower or lower than
    min_side are left out, equal ones come once, and there are `count` at most.
    """
    rng, layers, found = np.random.default_rng(options.seed), [], []
    for space in options.spaces:
        pixels = SPACES[space](image)
        channels = histogram_channels(pixels)
        for scale in options.scales:
            layers.append(initial_segments(pixels, scale))
            regions = describe(layers[-1], *channels)
            for measure in options.measures:
                tree = group(regions, measure)
                found.append((len(layers) - 1, leaves(tree), rank_values(len(tree.boxes), rng)))
    stack = np.stack([layer.ravel() for layer in layers])  # (layers, H W)
    cuts, superpixels = np.unique(stack, axis=1, return_inverse=True)  # (layers, S): the segment of each superpixel
    members = np.concatenate([held[:, cuts[layer]] for layer, held, _ in found])
    order = np.argsort(np.concatenate([ranks for _, _, ranks in found]), kind="stable")
    return best_segments(Segments(superpixels.reshape(image.shape[:2]), members[order]), options)


def leaves(tree: Tree) -> np.ndarray:
    """(2 R - 1, R) bool: the initial segments that each node of a tree of merging holds."""
    count = len(tree.children) + 1
    held = np.zeros((2 * count - 1, count), bool)
    held[np.arange(count), np.arange(count)] = True
    for node, (i, j) in enumerate(tree.children, count):  # children come before their parents
        held[node] = held[i] | held[j]
    return held


def best_segments(segments: Segments, options) -> Segments:
    """The first `count` different regions whose boxes have sides of at least min_side."""
    first = np.sort(np.unique(np.packbits(segments.members, axis=1), axis=0, return_index=True)[1])
    segments = segments._replace(members=segments.members[first])
    boxes = segments.boxes()
    large = (boxes[:, 2:] - boxes[:, :2] >= options.min_side).all(axis=1)
    return segments._replace(members=segments.members[large][: options.count])


def block_segments(image: np.ndarray, side: int) -> Segments:
    """A baseline that looks at no pixel: superpixels are blocks of side x side pixels, regions all their rectangles."""
    h, w = image.shape[:2]
    rows, columns = -(-h // side), -(-w // side)
    superpixels = np.arange(h)[:, None] // side * columns + np.arange(w) // side
    spans = [(a, b) for count in (rows, columns) for a in range(count) for b in range(a + 1, count + 1)]
    down, across = spans[: rows * (rows + 1) // 2], spans[rows * (rows + 1) // 2 :]
    members = np.zeros((len(down), len(across), rows, columns), bool)
    for i, (top, bottom) in enumerate(down):
        for j, (left, right) in enumerate(across):
            members[i, j, top:bottom, left:right] = True
    return Segments(superpixels, members.reshape(len(down) * len(across), rows * columns))


def kept_segments(image: np.ndarray, options: FastOptions, folder: Path | None) -> Segments:
    """propose_segments of an image, computed once: kept in a file of the folder, if there is one. A damaged file is
    computed again."""
    path = folder and folder / f"{picture_digest(image)}.npz"
    if path and path.exists():
        with suppress(ValueError, TypeError):
            return Segments(**read_checkpoint(path)[0])
    segments = propose_segments(image, options)
    if path:
        folder.mkdir(exist_ok=True)
        write_checkpoint(path, segments._asdict(), {})
    return segments
