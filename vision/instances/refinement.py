"""Region refinement of SDS: what a region of this class looks like from afar, then superpixel by superpixel.

    coarse = sigmoid(W_c features)          (10, 10): one logistic classifier for each cell of the padded box
    seen   = the mean of coarse over a superpixel, and whether the region holds it
    mask   = the superpixels with w_c seen + b_c >= 0

Reference: Hariharan et al. 2014, Simultaneous detection and segmentation, arXiv:1407.1808, sec. 3.4.
"""

from typing import NamedTuple

import numpy as np

from nn import Linear
from nn.gpu.device import device_of, to_device
from nn.layer import Layer
from nn.layers.activation import sigmoid
from vision.boxes.boxes import clip
from vision.instances.logistic import fit_logistic
from vision.instances.masks import mask_targets, spread
from vision.proposals.segments import Segments

CELLS = 10  # of the coarse mask, along each side


class Rows(NamedTuple):
    """Regions of an image: features (n, D), members (n, S), boxes (n, 4), and the masks (n, h, w) of their objects."""

    features: np.ndarray
    members: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray


class Refiner(Layer):
    """The classifiers of all classes: coarse (classes 100, D) and fine (classes, 2). They are fitted, not trained."""

    buffers = ("fitted",)

    def __init__(self, features: int, classes: int, *, rng: np.random.Generator):
        self.coarse = Linear(features, classes * CELLS**2, rng=rng)
        self.fine = Linear(2, classes, rng=rng)
        self.fitted = np.zeros(1, bool)
        for layer in (self.coarse, self.fine):
            layer.weight.value[...] = 0

    def fit_coarse(self, c: int, rows: list[Rows], penalty: float):
        """The 100 classifiers of class c; which cells of the padded boxes are the object's?"""
        targets = []
        for r in rows:
            boxes, each = padded(r.boxes, r.masks.shape[1:]), np.arange(len(r.boxes))
            targets.append(mask_targets(r.masks, boxes, each, CELLS).reshape(len(boxes), CELLS**2))
        x, y = np.concatenate([r.features for r in rows]), np.concatenate(targets)
        _assign(self.coarse, self._cells(c), *fit_logistic(x, y, penalty))

    def examples(self, c: int, segments: Segments, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """x (m, 2), y (m, 1): the superpixels in the padded boxes, and whether most of each is the object's."""
        size = segments.superpixels.shape
        near = segments.share(spread(np.ones((len(rows.boxes), 1, 1)), padded(rows.boxes, size), size)) > 0
        return self.seen(c, segments, rows)[near], (segments.share(rows.masks) > 0.5)[near][:, None]

    def fit_fine(self, c: int, examples: list[tuple[np.ndarray, np.ndarray]]):
        """The classifier of class c's superpixels."""
        _assign(self.fine, slice(c, c + 1), *fit_logistic(*map(np.concatenate, zip(*examples)), penalty=1e-6))

    def seen(self, c: int, segments: Segments, rows: Rows) -> np.ndarray:
        """(n, S, 2): of each superpixel its mean of the coarse mask, and whether the region holds it."""
        layer, size = to_device((self.coarse.weight.value, self.coarse.bias.value), "cpu"), segments.superpixels.shape
        weight, bias = (each[self._cells(c)] for each in layer)
        cells = sigmoid(rows.features @ weight.T + bias).reshape(len(rows.boxes), CELLS, CELLS)
        coarse = spread(cells, padded(rows.boxes, size), size)
        return np.stack([segments.share(coarse), rows.members], axis=2)

    def masks(self, c: int, segments: Segments, rows: Rows) -> np.ndarray:
        """Masks (n, h, w) bool of regions of class c; a region of which nothing would be left stays as it is."""
        weight, bias = to_device((self.fine.weight.value[c], self.fine.bias.value[c]), "cpu")
        chosen = self.seen(c, segments, rows) @ weight + bias >= 0
        return np.where(chosen.any(axis=1, keepdims=True), chosen, rows.members)[:, segments.superpixels]

    def _cells(self, c):
        return slice(c * CELLS**2, (c + 1) * CELLS**2)


def padded(boxes: np.ndarray, image_size: tuple[int, int], share: float = 0.1) -> np.ndarray:
    """The boxes (K, 4) with `share` of their sides more on each side, inside the image."""
    around = share * np.tile(boxes[:, 2:] - boxes[:, :2], 2) * np.array([-1, -1, 1, 1])
    return clip(boxes + around, image_size).astype(np.float32)


def _assign(layer, rows, weight, bias):
    """Set rows of a layer, on its device."""
    where, dtype = device_of(layer.weight.value), layer.weight.value.dtype
    layer.weight.value[rows] = to_device(weight.astype(dtype), where)
    layer.bias.value[rows] = to_device(bias.astype(dtype), where)
