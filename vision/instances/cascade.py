"""The second and third stage of a multi-task network cascade: a mask for each box, then a class from both.

Reference: Dai et al. 2016, Instance-aware semantic segmentation via multi-task network cascades, arXiv:1512.04412,
sec. 3.2 and 3.3.
"""

from typing import NamedTuple

import numpy as np

from nn import AvgPool2d, Linear, MaxPool2d, ReLU, RoIWarp, Sequential, Sigmoid
from nn.dispatch import array_module
from nn.layer import Layer
from vision.boxes.rpn import gaussian


class StageOutputs(NamedTuple):
    """mask_logits (R, m, m), logits (R, 1 + classes), deltas (R, classes, 4), normalised."""

    mask_logits: np.ndarray
    logits: np.ndarray
    deltas: np.ndarray


class MasksAndClasses(Layer):
    """Stages 2 and 3 on shared features; a cascade of five stages calls it twice.

    F = RoIWarp(features, boxes)                  (R, C, 14, 14): a differentiable crop
    M = sigmoid(fc(relu(fc(F))))                  (R, 28, 28): figure or ground, whatever the class    sec. 3.2
    F_mask = F * M                                M on the 14 x 14 cells; background is suppressed     eq. 4
    hidden = [fcs(pool(F)), fcs(pool(F_mask))]    the box's and the mask's pathway, 7 x 7 cells        sec. 3.3
    logits, deltas = fc(hidden), fc(hidden)

    outputs, cache = forward(features (N, C, H, W), boxes (R, 4) in pixels, image_index (R,));
    dfeatures, dboxes = backward(StageOutputs of gradients, cache). What the class says of F_mask goes back to the mask,
    and all of it to the coordinates of the boxes.
    """

    def __init__(self, channels: int, classes: int, stride: int, options, *, rng: np.random.Generator):
        o, cells = options, options.mask_pooled
        self.classes, self.side, flat = classes, 2 * cells, channels * (cells // 2) ** 2
        self.warp = RoIWarp(cells, 1 / stride, aligned=True)
        self.mask = Sequential(
            Linear(channels * cells**2, o.mask_hidden, rng=rng), ReLU(), Linear(o.mask_hidden, self.side**2, rng=rng)
        )
        self.sigmoid, self.shrink, self.pool = Sigmoid(), AvgPool2d(2), MaxPool2d(2)
        self.box_path, self.mask_path = (
            Sequential(Linear(flat, o.hidden, rng=rng), ReLU(), Linear(o.hidden, o.hidden, rng=rng), ReLU())
            for _ in range(2)
        )
        self.cls_score, self.bbox_pred = (
            Linear(2 * o.hidden, outputs, rng=rng) for outputs in (1 + classes, 4 * classes)
        )
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            layer.weight.value[...] = gaussian(layer.weight.value.shape, std, rng)

    def forward(self, features, boxes, image_index, training=True):
        xp, r, m = array_module(features), len(boxes), self.side
        f, c_warp = self.warp.forward(features, boxes, image_index, training)  # (R, C, 14, 14)
        flat, c_mask = self.mask.forward(f.reshape(r, f[0].size if r else self.mask[0].in_features), training)
        masks, c_sigmoid = self.sigmoid.forward(flat, training)
        small, c_shrink = self.shrink.forward(masks.reshape(r, 1, m, m), training)  # (R, 1, 14, 14)
        of_box, c_pool = self.pool.forward(f, training)  # (R, C, 7, 7)
        of_mask, c_masked = self.pool.forward(f * small, training)
        width = self.box_path[0].in_features
        box, c_box = self.box_path.forward(of_box.reshape(r, width), training)
        mask, c_path = self.mask_path.forward(of_mask.reshape(r, width), training)
        hidden = xp.concatenate([box, mask], axis=1)
        logits, c_logits = self.cls_score.forward(hidden, training)
        deltas, c_deltas = self.bbox_pred.forward(hidden, training)
        outputs = StageOutputs(flat.reshape(r, m, m), logits, deltas.reshape(r, self.classes, 4))
        paths = c_box, c_path, c_logits, c_deltas
        return outputs, (f, small, of_box.shape, c_warp, c_mask, c_sigmoid, c_shrink, c_pool, c_masked, paths)

    def backward(self, dy, cache):
        f, small, pooled, c_warp, c_mask, c_sigmoid, c_shrink, c_pool, c_masked, paths = cache
        c_box, c_path, c_logits, c_deltas = paths
        r, half = len(f), self.cls_score.in_features // 2
        dhidden = self.cls_score.backward(dy.logits, c_logits)
        dhidden = dhidden + self.bbox_pred.backward(dy.deltas.reshape(r, 4 * self.classes), c_deltas)
        dmasked = self.mask_path.backward(dhidden[:, half:], c_path).reshape(pooled)
        dmasked = self.pool.backward(dmasked, c_masked)  # of F_mask = F * M
        dsmall = (dmasked * f).sum(axis=1, keepdims=True)  # term 1: M
        df = dmasked * small  # term 2: F, by the mask's pathway
        df = df + self.pool.backward(self.box_path.backward(dhidden[:, :half], c_box).reshape(pooled), c_pool)
        dmasks = self.shrink.backward(dsmall, c_shrink).reshape(r, self.side**2)
        dflat = self.sigmoid.backward(dmasks, c_sigmoid) + dy.mask_logits.reshape(r, self.side**2)
        df = df + self.mask.backward(dflat, c_mask).reshape(f.shape)
        dfeatures, dboxes, _ = self.warp.backward(df, c_warp)
        return dfeatures, dboxes
