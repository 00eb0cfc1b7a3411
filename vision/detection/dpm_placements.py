"""Placements of star models in a pyramid: all of them with scores and boxes, those of objects, and hard negatives.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, sec. 3.2 and 4.
"""

from typing import NamedTuple

import numpy as np

from vision.boxes.boxes import iou
from vision.boxes.nms import nms
from vision.detection.detector import Detector
from vision.detection.dpm_boxes import from_root, part_inputs, root_only
from vision.detection.dpm_pyramid import Grid, Level
from vision.detection.dpm_star import Shown, StarModels
from vision.detection.windows import is_free
from vision.options import check_least

MODEL, MIRRORED, IMAGE, LEVEL, ROW, COLUMN, PARTS = range(7)  # columns of a placement; from PARTS on: rows and columns
SAME = 0.7  # hard negatives of a model in an image overlap less than this: others show nearly the same


class Found(NamedTuple):
    """Placements: rows (T, 6 + 2 P), see MODEL; roots (T, 4), their boxes in the image's pixels; scores (T,)."""

    rows: np.ndarray
    roots: np.ndarray
    scores: np.ndarray


class Placements(Detector):
    """Where star models are in images. Model k is component k % components of class k // components.

    A placement is in the image or, MIRRORED, in its mirror image, on a LEVEL of the pyramid, with its root at a ROW and
    COLUMN in cells, and each part at a row and column of cells half as large.
    box_weights (K, 1 + 2 P, 4): see vision.detection.dpm_boxes.
    """

    def make_stars(self, rng: np.random.Generator):
        """The models of the options, which are checked here."""
        o = self.options
        check_least("dpm", o, 1, "components", "part_side", "cell", "interval", "levels", "rounds", "passes")
        check_least("dpm", o, 3, "side")
        check_least("dpm", o, 0, "parts", "border")
        check_least("dpm", o, 0, "c", "largest", above=True)
        if (o.mean, o.std, o.per_image) != (0, 255, False):
            got = f"mean={o.mean}, std={o.std}, per_image={o.per_image}"
            raise ValueError(f"dpm: histograms need mean=0, std=255 and per_image=false, got {got}")
        self.grid = Grid(o.cell, o.largest, o.interval, o.levels, o.border)
        models = o.components * len(self.classes)
        self.stars = StarModels(models, o.side, o.parts, o.part_side, rng=rng)
        self.box_weights = np.stack([root_only(size, o.parts) for size in self.stars.sizes])

    def find(self, levels: list[Level], threshold: float = -np.inf) -> Found:
        """All placements of a pyramid whose score is at least the threshold; IMAGE is 0."""
        o, stars = self.options, self.stars
        parts = [(np.zeros((0, PARTS + 2 * o.parts), np.int64), np.zeros((0, 4)), np.zeros(0))]
        for number, level in enumerate(levels):
            scored = stars.level_scores(level)
            for k, scores in enumerate(scored.roots):
                if scores is None:
                    continue
                m, r, c = np.nonzero(scores >= threshold)
                own = np.stack([np.full_like(m, k), m, np.zeros_like(m), np.full_like(m, number), r, c], axis=1)
                moved = stars.part_positions(scored, k, m, r, c).reshape(len(m), 2 * o.parts)
                roots = self.grid.windows(r, c, stars.sizes[k], m, level.roots.shape[3], level.factor)
                parts.append((np.concatenate([own, moved], axis=1), roots, scores[m, r, c]))
        return Found(*(np.concatenate(each) for each in zip(*parts)))

    def root_boxes(self, rows: np.ndarray, image_size) -> np.ndarray:
        """(E, 4): the boxes of the roots of placements in one image (h, w)."""
        factors = self.grid.factors(image_size)
        widths = np.array([self.grid.shape(image_size, f)[1] for f in factors])[rows[:, LEVEL]]
        h, w = self.stars.sizes[rows[:, MODEL]].T
        factor = np.array(factors)[rows[:, LEVEL]]
        return self.grid.windows(rows[:, ROW], rows[:, COLUMN], (h, w), rows[:, MIRRORED], widths, factor)

    def boxes(self, found: Found) -> np.ndarray:
        """(T, 4): the objects' boxes of placements."""
        boxes = found.roots.copy()
        for k in range(len(self.box_weights)):
            own = np.flatnonzero(found.rows[:, MODEL] == k)
            relative = self.box_inputs(found.rows[own]) @ self.box_weights[k]
            boxes[own] = from_root(relative, found.roots[own], found.rows[own, MIRRORED])
        return boxes

    def box_inputs(self, rows: np.ndarray) -> np.ndarray:
        """(E, 1 + 2 P): where the parts of placements of one model are."""
        parts = rows[:, PARTS:].reshape(len(rows), self.options.parts, 2)
        width = self.stars.sizes[rows[0, MODEL], 1] if len(rows) else 1
        return part_inputs(rows[:, [ROW, COLUMN]], parts, width)

    def placed(self, found: Found, target) -> np.ndarray:
        """(G, 6 + 2 P): the best placement of each object among those that overlap it enough; objects without any are
        left out."""
        best, labels = [], found.rows[:, MODEL] // self.options.components + 1
        for box, label in zip(target["boxes"], target["labels"]):
            near = (iou(found.roots, box[None].astype(float))[:, 0] >= self.options.overlap) & (labels == label)
            if near.any():
                best.append(np.where(near, found.scores, -np.inf).argmax())
        return found.rows[np.array(best, np.int64)]

    def hard_negatives(self, found: Found, target) -> np.ndarray:
        """(K, 6 + 2 P): the `hard` best placements of each model above the margin that overlap none of its objects."""
        o, best = self.options, [np.zeros(0, np.int64)]
        for k in range(len(self.stars.sizes)):
            own = np.flatnonzero((found.rows[:, MODEL] == k) & (found.scores >= -1))
            own = own[is_free(found.roots[own], target, k // o.components + 1, o.negative_iou)]
            best.append(own[nms(found.roots[own], found.scores[own], SAME, max_keep=o.hard)])
        return found.rows[np.concatenate(best)]

    def shown(self, levels: list[Level], rows: np.ndarray) -> Shown:
        """What placements show of their image's pyramid."""
        stars, e = self.stars, len(rows)
        shapes = stars.roots.value.shape[1:], stars.parts.value.shape[1:], stars.costs.value.shape[1:]
        root, parts, moved = (np.zeros((e, *shape), np.float32) for shape in shapes)
        p = self.options.part_side
        for i, (k, m, _, number, r, c, *positions) in enumerate(rows.tolist()):
            (h, w), level = stars.sizes[k], levels[number]
            root[i, :, :h, :w] = level.roots[m, :, r : r + h, c : c + w]
            for j, (y, x) in enumerate(zip(positions[::2], positions[1::2])):
                if y >= 0:
                    parts[i, j] = level.parts[m, :, y : y + p, x : x + p]
                    dy, dx = y - 2 * r - stars.anchors[k, j, 0], x - 2 * c - stars.anchors[k, j, 1]
                    moved[i, j] = dx, dy, dx**2, dy**2
        return Shown(rows[:, MODEL], root, parts, moved)
