"""SSD: class and box from every cell of several feature maps in one pass, without proposals.

The networks it stands on are in ssd_networks.py.

Reference: Liu et al. 2016, SSD: single shot multibox detector, arXiv:1512.02325 (v5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, L2Norm, log_softmax, smooth_l1, softmax, softmax_cross_entropy
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from vision.backbones.backbone import Backbone
from vision.boxes.boxes import decode
from vision.boxes.default_boxes import (
    CENTRE_SIZE_STD,
    default_boxes,
    default_shapes,
    hard_negatives,
    match_default_boxes,
    unmatched,
)
from vision.detection.detector import Detector, best_of_each_class
from vision.options import ImageOptions
from vision.preprocess import Preprocess


@dataclass(frozen=True)
class Options(ImageOptions):
    """SSD300. Images become squares. The sizes of boxes are the code's for VOC, the paper's scales in whole percent."""

    short_side: int = 300  # pixels of each side of the square
    sizes: tuple[float, ...] = (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)  # s_k of each map, of the side; and one more
    ratios: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))  # aspect ratios a map
    matching_iou: float = 0.5  # above this overlap a default box belongs to an object
    negative_ratio: float = 3.0  # negatives for each positive at most
    alpha: float = 1.0  # weight of the box loss
    score_threshold: float = 0.01  # lower scores are no detections
    nms_iou: float = 0.45  # IoU above which NMS drops a detection
    detections_per_image: int = 200  # detections kept at most

    def preprocess(self, **changes) -> Preprocess:
        """Squares."""
        return super().preprocess(resize="square", max_side=self.short_side, **changes)


class Sampled(NamedTuple):
    """What a step chooses before the losses: constants, no gradient goes through them.

    labels (N, A), -1 where a default box does not count; deltas (N, A, 4).
    """

    labels: np.ndarray
    deltas: np.ndarray


class Cache(NamedTuple):
    """From loss to backward."""

    maps: Any
    heads: Any
    doutputs: tuple
    sampled: Sampled


class SSD(Detector):
    """A backbone with taps, more layers above its last stage, and two 3x3 convolutions for each map.

    The first maps are the stages `taps` of the backbone; in the very first each cell is normalised to length 20
    (sec. 3.1), as its features are much larger than those of later maps. extras: the layers from the backbone's last
    stage to the next map, from there to the next, and so on, as many as options.ratios has maps; channels: of the map
    of each. With k default boxes in a cell, a map's class_heads gives k (1 + classes) channels, its box_heads 4 k.

    Variants give another norm and size of heads, and their own default_shapes, class_loss, background_loss and scores.
    """

    constants = ("shapes",)

    def __init__(
        self, classes, backbone: Backbone, taps: Sequence[str], extras: Sequence[Layer], channels: Sequence[int],
        options: Options, *, norm: Layer | None = None, head_size: int = 3, rng: np.random.Generator,
    ):  # fmt: skip
        super().__init__(classes, options, options.preprocess())
        channels = [*(backbone.channels[tap] for tap in taps), *channels]
        maps = len(options.ratios)
        if not len(taps) <= maps == len(options.sizes) - 1 <= len(channels):
            wanted = f"{len(taps)} to {len(channels)} maps: sizes must have one more element than ratios"
            raise ValueError(f"SSD: it has {wanted}, got {len(options.sizes)} sizes and {maps} ratios")
        self.backbone, self.taps = backbone, tuple(taps)
        self.norm = L2Norm(channels[0]) if norm is None else norm
        self.extras = tuple(extras[: maps - len(taps)])
        self.shapes = self.default_shapes()
        counts, outputs = [len(shapes) for shapes in self.shapes], 1 + len(self.classes)
        head = {"kernel_size": head_size, "padding": head_size // 2, "rng": rng}
        self.class_heads = tuple(Conv2d(c, k * outputs, **head) for c, k in zip(channels, counts))
        self.box_heads = tuple(Conv2d(c, k * 4, **head) for c, k in zip(channels, counts))

    def default_shapes(self) -> tuple[np.ndarray, ...]:
        """For each map (k, 2): width and height of the default boxes of a cell, in pixels."""
        side, o = self.options.short_side, self.options
        pairs = zip(o.sizes, o.sizes[1:], o.ratios)
        return tuple(default_shapes(small * side, large * side, ratios) for small, large, ratios in pairs)

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({cls, box}, cache): eq. 1, L = (L_conf + alpha L_loc) / N, N the default boxes of objects in the batch."""
        images, targets = batch
        maps, c_maps = self.forward_maps(images)
        (logits, deltas), c_heads = self.forward_heads(maps)
        if sampled is None:
            sampled = self.match(logits, self.defaults(maps, images.shape[2:]), targets)
        positive = sampled.labels > 0
        n = int(positive.sum())  # "If N = 0, we set the loss to 0": nothing counts then
        cls, dlogits = self.class_loss(logits, sampled.labels, n)
        weights = positive[..., None] * self.options.alpha
        box, ddeltas = smooth_l1(deltas, sampled.deltas, weights=weights, normaliser=n)
        return {"cls": cls, "box": box}, Cache(c_maps, c_heads, (dlogits, ddeltas), sampled)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        dmaps = self.backward_heads(cache.doutputs, cache.heads)
        self.backward_maps(dmaps, cache.maps)

    def forward_maps(self, images, training: bool = True):
        """([maps], cache), the finest first."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        names = (*self.taps, self.backbone.names[-1])
        (*maps, x), c_backbone = self.backbone.forward_stages(images, training, names)
        maps[0], c_norm = self.norm.forward(maps[0], training)
        caches = []
        for layers in self.extras:
            x, cache = layers.forward(x, training)
            maps.append(x)
            caches.append(cache)
        return maps, (c_backbone, c_norm, caches)

    def backward_maps(self, dmaps, cache):
        """Add the gradients of the parameters for those of the maps; nobody wants the gradient of the images."""
        c_backbone, c_norm, caches = cache
        dtaps, dextras, dx = dmaps[: len(self.taps)], dmaps[len(self.taps) :], 0
        for layers, c_layers, dmap in zip(reversed(self.extras), reversed(caches), reversed(dextras)):
            dx = layers.backward(dmap + dx, c_layers)  # a map goes to its heads and the next layers: gradients add up
        dtaps[0] = self.norm.backward(dtaps[0], c_norm)
        self.backbone.backward_stages((*dtaps, dx), c_backbone, images=False)

    def forward_heads(self, maps, training: bool = True):
        """((logits (N, A, 1 + classes), deltas (N, A, 4)), cache): the default boxes of all maps, map by map."""
        xp, caches, outputs = array_module(maps[0]), [], []
        for heads, values in ((self.class_heads, 1 + len(self.classes)), (self.box_heads, 4)):
            made = [head.forward(x, training) for head, x in zip(heads, maps)]
            outputs.append(xp.concatenate([by_box(y, values) for y, _ in made], axis=1))
            caches.append([cache for _, cache in made])
        return tuple(outputs), ([x.shape for x in maps], caches)

    def backward_heads(self, doutputs, cache):
        """The gradients of the maps for those of the logits and deltas."""
        (shapes, caches), dmaps = cache, [None] * len(self.shapes)
        for heads, own, dy in zip((self.class_heads, self.box_heads), caches, doutputs):
            start = 0
            for i, (head, c_head, (_, _, h, w)) in enumerate(zip(heads, own, shapes)):
                end = start + h * w * len(self.shapes[i])
                dx = head.backward(by_channel(dy[:, start:end], (h, w)), c_head)
                dmaps[i] = dx if dmaps[i] is None else dmaps[i] + dx
                start = end
        return dmaps

    def defaults(self, maps, image_size: tuple[int, int]) -> np.ndarray:
        """(A, 4): the default boxes of all maps in pixels of the image."""
        made = [default_boxes(shapes, x.shape[2:], image_size) for shapes, x in zip(self.shapes, maps)]
        return array_module(made[0]).concatenate(made)

    def untrained(self, objects: Sequence[np.ndarray]) -> str:
        side = self.options.short_side
        maps, _ = self.forward_maps(np.zeros((1, 3, side, side), np.float32), training=False)
        defaults = self.defaults(maps, (side, side))
        lost = sum(unmatched(defaults, boxes) for boxes in objects)
        return f"{lost} overlap no default box that is free, and are not learnt" if lost else ""

    def match(self, logits, defaults, targets) -> Sampled:
        """Targets of the default boxes of all images, and the negatives that count."""
        xp, o = array_module(defaults), self.options
        matched = [
            match_default_boxes(defaults, t["boxes"], t["labels"], len(self.classes), o.matching_iou) for t in targets
        ]
        labels, deltas = (xp.stack(parts) for parts in zip(*matched))
        negative = hard_negatives(self.background_loss(logits).real, labels > 0, o.negative_ratio)
        return Sampled(xp.where((labels > 0) | negative, labels, -1), deltas)

    def dense(self, images) -> dict[str, np.ndarray]:
        """For each default box its logits (N, A, 1 + classes) and deltas (N, A, 4)."""
        maps, _ = self.forward_maps(images, training=False)
        (logits, deltas), _ = self.forward_heads(maps, training=False)
        return {"logits": logits, "deltas": deltas}

    def class_loss(self, logits, labels, n: int):
        """Value and gradient of L_conf / N, eq. 3: softmax cross-entropy where labels (N, A) are not -1."""
        value, dlogits = softmax_cross_entropy(logits.swapaxes(1, 2), labels, normaliser=n)
        return value, dlogits.swapaxes(1, 2)

    def background_loss(self, logits) -> np.ndarray:
        """(N, A): the loss of each default box as background, by which hard negatives are chosen."""
        return -log_softmax(logits, axis=2)[..., 0]

    def scores(self, logits) -> np.ndarray:
        """(N, A, classes): probabilities, without background."""
        return softmax(logits, axis=2)[..., 1:]

    def predict(self, images, image_sizes=None) -> list[dict]:
        """Detections in each image (N, 3, H, W), of whose boxes those inside image_sizes [(h, w), ...] remain."""
        maps, _ = self.forward_maps(images, training=False)
        (logits, deltas), _ = self.forward_heads(maps, training=False)
        xp, o, scores = array_module(logits), self.options, self.scores(logits)
        boxes = decode(deltas * xp.asarray(CENTRE_SIZE_STD, deltas.dtype), self.defaults(maps, images.shape[2:]))
        sizes = image_sizes or [images.shape[2:]] * len(images)
        return [best_of_each_class(*each, o) for each in zip(boxes, scores, sizes)]


def by_box(y, values):
    """(N, k * values, H, W) -> (N, H * W * k, values)."""
    n, channels, h, w = y.shape
    return y.reshape(n, channels // values, values, h, w).transpose(0, 3, 4, 1, 2).reshape(n, -1, values)


def by_channel(dy, map_size):
    """(N, H * W * k, values) -> (N, k * values, H, W): the way back."""
    (n, _, values), (h, w) = dy.shape, map_size
    dy = dy.reshape(n, h, w, -1, values).transpose(0, 3, 4, 1, 2).reshape(n, -1, h, w)
    return array_module(dy).ascontiguousarray(dy)
