"""Star models: a root filter, part filters at twice the resolution, and what it costs to move each part.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, sec. 3.1 and 3.2.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from nn import one_hot
from nn.dispatch import functions
from nn.layer import Layer, Parameter, check_shape
from nn.layers.windows import Geometry
from vision.boxes.rpn import gaussian
from vision.detection.distance_transform import distance_transform
from vision.detection.dpm_features import CHANNELS
from vision.detection.dpm_pyramid import Level

BIAS_SCALE = 10.0  # the bias is the weight of a feature of this size, so the norm hardly holds it down
LEAST = 0.01  # of the quadratic costs: a part is at a definite position
FIRST_COSTS = (0, 0, 0.1, 0.1)  # of dx, dy, dx^2 and dy^2 (sec. 5.2)


class Shown(NamedTuple):
    """What E placements show: component (E,); features under the root (E, 31, S, S), zero beyond its size, and under
    the parts (E, P, 31, p, p); moved (E, P, 4): dx, dy, dx^2, dy^2 of each part from its anchor. Zeros for no part."""

    component: np.ndarray
    root: np.ndarray
    parts: np.ndarray
    moved: np.ndarray


class LevelScores(NamedTuple):
    """roots: for each component the scores (2, rows, columns) of its placements in the map and in the mirrored one,
    None where the map is too small; best (2, K, P, h, w, 2): the row and column of each part for each anchor."""

    roots: list[np.ndarray | None]
    best: np.ndarray | None


class StarModels(Layer):
    """K star models. score = root . features + sum over parts of (filter . features - cost . (dx, dy, dx^2, dy^2)) + b.

    roots (K, 31, S, S), of which the first sizes (K, 2) rows and columns count, (0, 0) for a model that is not used;
    parts (K, P, 31, p, p); costs (K, P, 4); biases (K,). anchors (K, P, 2): row and column of each part in the root, in
    cells of twice the resolution; -1 for a part that is not used.
    """

    buffers = ("sizes", "anchors")

    def __init__(self, models: int, side: int, parts: int, part_side: int, *, rng: np.random.Generator):
        self.roots = Parameter(gaussian((models, CHANNELS, side, side), 0.01, rng))
        self.parts = Parameter(gaussian((models, parts, CHANNELS, part_side, part_side), 0.01, rng))
        self.costs = Parameter(np.tile(np.array(FIRST_COSTS, np.float32), (models, parts, 1)))
        self.biases = Parameter(np.zeros(models, np.float32))
        self.sizes = np.full((models, 2), side, np.int64)
        self.anchors = np.zeros((models, parts, 2), np.int64)

    def forward(self, x: Shown, training=True):
        """Scores (E,) of what placements show."""
        check_shape(self, root=(x.root, ("E", *self.roots.value.shape[1:])))
        k = x.component
        y = (self.roots.value[k] * x.root).sum(axis=(1, 2, 3)) + self.biases.value[k]
        y = y + (self.parts.value[k] * x.parts).sum(axis=(1, 2, 3, 4))
        return y - (self.costs.value[k] * x.moved).sum(axis=(1, 2)), x

    def backward(self, dy, cache):
        """Add the gradients of the parameters. Placements and what they show are constants."""
        x, models = cache, len(self.sizes)
        chosen = dy * one_hot(x.component, models, axis=0)  # (K, E): dy in the row of its component
        # y = roots[k] . root + parts[k] . parts - costs[k] . moved + biases[k], for each example's k
        for parameter, shown, sign in (
            (self.roots, x.root, 1), (self.parts, x.parts, 1), (self.costs, x.moved, -1),
        ):  # fmt: skip
            flat = shown.reshape(len(dy), parameter.value[0].size)
            parameter.grad += sign * (chosen @ flat).reshape(parameter.value.shape)
        self.biases.grad += chosen.sum(axis=1)

    def level_scores(self, level: Level) -> LevelScores:
        """The best score of each root placement over all positions of the parts (eq. 4 to 6)."""
        scores, best, models = [], None, len(self.sizes)
        if used := int((self.anchors[:, :, 0] >= 0).any(axis=0).sum()):
            filters = self.parts.value[:, :used].reshape(models * used, *self.parts.value.shape[2:])
            responses = correlate(level.parts, filters)
            responses = responses.reshape(2, models, used, *responses.shape[2:])
            values, best = distance_transform(responses, self.costs.value[:, :used])
        for k, (h, w) in enumerate(self.sizes.tolist()):
            if h == 0 or h > level.roots.shape[2] or w > level.roots.shape[3]:
                scores.append(None)
                continue
            total = correlate(level.roots, self.roots.value[k : k + 1, :, :h, :w])[:, 0] + self.biases.value[k]
            rows, columns = total.shape[1:]
            for i, (r, c) in enumerate(self.anchors[k].tolist()):
                if r >= 0:  # D_i(2 (x, y) + v_i)
                    total = total + values[:, k, i, r : r + 2 * rows - 1 : 2, c : c + 2 * columns - 1 : 2]
            scores.append(total)
        return LevelScores(scores, best)

    def part_positions(self, found: LevelScores, k: int, is_mirrored, rows, columns) -> np.ndarray:
        """(E, P, 2): row and column of the parts of root placements (E,) of model k; -1 for parts not used."""
        positions = np.full((len(rows), self.anchors.shape[1], 2), -1, np.int64)
        for i, (r, c) in enumerate(self.anchors[k].tolist()):
            if r >= 0:
                positions[:, i] = found.best[is_mirrored, k, i, 2 * rows + r, 2 * columns + c]
        return positions

    def vector(self, k: int) -> np.ndarray:
        """(D,): all parameters of model k, in the order of `vectors`."""
        parts = [p.value[k].ravel() for p in (self.roots, self.parts, self.costs)]
        return np.concatenate([*parts, self.biases.value[k : k + 1] / BIAS_SCALE])

    def set_vector(self, k: int, w: np.ndarray) -> None:
        """The inverse of `vector`."""
        start = 0
        for parameter in (self.roots, self.parts, self.costs):
            size = parameter.value[k].size
            parameter.value[k] = w[start : start + size].reshape(parameter.value[k].shape)
            start += size
        self.biases.value[k] = w[start] * BIAS_SCALE

    def vectors(self, x: Shown) -> np.ndarray:
        """(E, D): vectors(x) @ vector(k) is the score of each example of model k."""
        flat = [each.reshape(len(each), prod(each.shape[1:])) for each in (x.root, x.parts, -x.moved)]
        return np.concatenate([*flat, np.full((len(x.root), 1), BIAS_SCALE, x.root.dtype)], axis=1)

    def least(self) -> np.ndarray:
        """(D,): the lower bounds of a vector."""
        bounds = np.full(self.vector(0).shape, -np.inf)
        first = self.roots.value[0].size + self.parts.value[0].size
        bounds[first : first + self.costs.value[0].size].reshape(-1, 4)[:, 2:] = LEAST
        return bounds


def correlate(maps: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """(N, O, rows, columns): filters (O, C, h, w) at all positions inside maps (N, C, H, W)."""
    geometry = Geometry(filters.shape[2:])
    size = geometry.output_size("correlate", *maps.shape[2:])
    return functions("nn.layers.conv", maps, filters).conv2d(maps, filters, geometry, size)
