"""Regions on a feature pyramid: one RPN for all levels, and RoIAlign on the level that fits a region's size.

Reference: Lin et al. 2017, arXiv:1612.03144, sec. 4.
"""

from collections.abc import Sequence

import numpy as np

from nn import Conv2d, ReLU, RoIAlign, Sequential, binary_cross_entropy_with_logits, smooth_l1
from nn.dispatch import array_module
from nn.layer import Layer
from vision.boxes.anchors import base_anchors, grid_anchors
from vision.boxes.boxes import area, clip, decode
from vision.boxes.matching import anchor_targets
from vision.boxes.nms import nms_among
from vision.boxes.rpn import gaussian

CANONICAL_LEVEL = 2  # index of the level of regions of the canonical size: eq. 1's k_0 = 4, where the finest is 2


class RPNHead(Layer):
    """A map (N, C, h, w) -> scores (N, h w k) and deltas (N, h w k, 4). The names are torchvision's.

    Its weights are Gaussian with standard deviation 0.01; from_scratch: those of the 3x3 convolution are He's.
    """

    def __init__(self, channels: int, k: int, from_scratch: bool = False, *, rng: np.random.Generator):
        self.k = k
        self.conv = Sequential(Sequential(Conv2d(channels, channels, 3, padding=1, rng=rng), ReLU()))
        self.cls_logits = Conv2d(channels, k, 1, rng=rng)
        self.bbox_pred = Conv2d(channels, 4 * k, 1, rng=rng)
        for layer in (*([] if from_scratch else [self.conv[0][0]]), self.cls_logits, self.bbox_pred):
            layer.weight.value[...] = gaussian(layer.weight.value.shape, 0.01, rng)

    def forward(self, x, training=True):
        (n, _, h, w), k = x.shape, self.k
        hidden, c_conv = self.conv.forward(x, training)
        scores, c_scores = self.cls_logits.forward(hidden, training)
        deltas, c_deltas = self.bbox_pred.forward(hidden, training)
        scores = scores.transpose(0, 2, 3, 1).reshape(n, h * w * k)
        deltas = deltas.reshape(n, k, 4, h, w).transpose(0, 3, 4, 1, 2).reshape(n, h * w * k, 4)
        return (scores, deltas), (x.shape, c_conv, c_scores, c_deltas)

    def backward(self, dy, cache):
        (dscores, ddeltas), ((n, _, h, w), c_conv, c_scores, c_deltas), k = dy, cache, self.k
        xp = array_module(dscores)
        dscores = xp.ascontiguousarray(dscores.reshape(n, h, w, k).transpose(0, 3, 1, 2))  # (N, k, h, w)
        ddeltas = xp.ascontiguousarray(ddeltas.reshape(n, h, w, k, 4).transpose(0, 3, 4, 1, 2))  # (N, k, 4, h, w)
        dhidden = self.cls_logits.backward(dscores, c_scores)
        dhidden = dhidden + self.bbox_pred.backward(ddeltas.reshape(n, 4 * k, h, w), c_deltas)
        return self.conv.backward(dhidden, c_conv)


class PyramidRPN(Layer):
    """maps P_1 .. P_n -> scores (N, A) and deltas (N, A, 4) of the anchors of all levels, the finest first.

    A level has anchors of one scale: options.anchor_scales has one for each. The head is shared, so its gradients add
    up over the levels. options: those of Faster R-CNN; the pre-NMS counts are for each level.
    """

    constants = ("bases",)

    def __init__(self, channels: int, strides: Sequence[int], options, *, rng: np.random.Generator):
        if len(options.anchor_scales) != len(strides):
            got = f"{len(options.anchor_scales)} for {len(strides)} levels"
            raise ValueError(f"PyramidRPN: anchor_scales must have one scale a level, got {got}")
        self.options, self.strides = options, tuple(strides)
        self.bases = [base_anchors((scale,), options.anchor_ratios) for scale in options.anchor_scales]
        self.head = RPNHead(channels, len(options.anchor_ratios), options.from_scratch, rng=rng)

    def forward(self, maps, training=True):
        xp = array_module(maps[0])
        outputs, caches = zip(*(self.head.forward(x, training) for x in maps))
        return tuple(xp.concatenate(parts, axis=1) for parts in zip(*outputs)), caches

    def backward(self, dy, cache):
        dmaps, start = [], 0
        for of_level in cache:
            _, _, h, w = of_level[0]
            part = slice(start, start + h * w * self.head.k)
            dmaps.append(self.head.backward(tuple(d[:, part] for d in dy), of_level))
            start = part.stop
        return tuple(dmaps)

    def loss(self, outputs, labels, deltas):
        """Binary cross-entropy and smooth L1, both over the sampled anchors. labels (N, A): 1, 0 or -1."""
        (scores, predicted), positive = outputs, labels == 1
        counted = int((labels >= 0).sum())
        cls, dscores = binary_cross_entropy_with_logits(scores, positive, weights=labels >= 0, normaliser=counted)
        weights = positive[..., None]
        box, ddeltas = smooth_l1(predicted, deltas, self.options.rpn_beta, weights, normaliser=counted)
        return {"rpn_cls": cls, "rpn_box": box}, (dscores, ddeltas)

    def anchors(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """(A, 4): the anchors of the cells of all maps, in pixels of the image."""
        grids = [grid_anchors(base, x.shape[2:], stride) for base, x, stride in zip(self.bases, maps, self.strides)]
        return array_module(*grids).concatenate(grids)

    def match(self, anchors, target: dict, rng: np.random.Generator):
        """labels (A,) and deltas (A, 4): see anchor_targets. Anchors that reach out of the image count (sec. 5.1)."""
        o = self.options
        return anchor_targets(
            anchors, target["boxes"], target["image_size"], rng, positive_iou=o.positive_iou, border=1e6,
            negative_iou=o.negative_iou, samples=o.anchor_samples, positive_fraction=o.anchor_positive_fraction,
        )  # fmt: skip

    def propose(self, scores, deltas, anchors, image_size: tuple[int, int], training: bool) -> np.ndarray:
        """Boxes (M, 4) of one image: the best of each level go into NMS, which only compares boxes of one level."""
        o, xp = self.options, array_module(scores)
        pre, post = (o.train_pre_nms, o.train_post_nms) if training else (o.test_pre_nms, o.test_post_nms)
        sides = np.array(o.anchor_scales)
        level = (area(anchors)[:, None] > xp.asarray(sides[1:] * sides[:-1])).sum(axis=1)  # an area is scale^2
        best = [own[xp.argsort(-scores[own], kind="stable")[:pre]] for own in self._of_levels(level)]
        best = xp.concatenate(best)
        boxes = clip(decode(deltas[best], anchors[best]), image_size)
        large = (boxes[:, 2:] - boxes[:, :2] >= o.min_size).all(axis=1)
        return boxes[nms_among(large, boxes, scores[best], o.proposal_nms_iou, level[best], max_keep=post)]

    def _of_levels(self, level):
        return [array_module(level).flatnonzero(level == i) for i in range(len(self.strides))]


class PyramidAlign(Layer):
    """Regions pooled from the level that fits their size.    maps, rois (R, 4), image_index (R,) -> (R, C, ph, pw).

    k = floor(k_0 + log2(sqrt(w h) / canonical)), within the levels that are pooled from (eq. 1): a region of half the
    size is pooled from a map of twice the resolution. The coarsest map of an FPN, P_n+1, is not among them.
    """

    def __init__(self, output_size: int, strides: Sequence[int], sampling_ratio: int, canonical: float):
        self.canonical = canonical
        self.aligns = [RoIAlign(output_size, 1 / stride, sampling_ratio) for stride in strides]

    def forward(self, maps, rois, image_index, training=True):
        xp, level = array_module(rois), self.level(rois)
        parts, caches, chosen = [], [], []
        for i, (align, x) in enumerate(zip(self.aligns, maps)):
            own = xp.flatnonzero(level == i)
            y, cache = align.forward(x, rois[own], image_index[own], training)
            parts, caches, chosen = [*parts, y], [*caches, cache], [*chosen, own]
        order = xp.argsort(xp.concatenate(chosen), kind="stable")
        return xp.concatenate(parts)[order], (chosen, caches)

    def backward(self, dy, cache):
        """The gradients of the maps, zeros for levels that nothing is pooled from; none for rois and image_index."""
        chosen, caches = cache
        return tuple(align.backward(dy[own], c)[0] for align, own, c in zip(self.aligns, chosen, caches)), None, None

    def level(self, rois) -> np.ndarray:
        """The index of the level (R,) of each region: how many of the sizes where a next level begins it reaches."""
        xp = array_module(rois)
        begins = self.canonical * 2.0 ** (np.arange(1, len(self.aligns)) - CANONICAL_LEVEL)  # eq. 1
        return (xp.sqrt(area(rois))[:, None] * (1 + 1e-6) >= xp.asarray(begins)).sum(axis=1)
