"""Hypercolumns: at each pixel the outputs of all layers above it, in one vector, and a linear classifier on them.

Reference: Hariharan et al. 2015, Hypercolumns for object segmentation and fine-grained localization, arXiv:1411.5752.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, Dropout, MaxPool2d, ReLU, Sequential
from nn.layer import Layer, check_shape, positive
from vision.backbones.vgg import VGG
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.encoder_decoder import freeze_cancelled, widened
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.fcn import convolutional, rounding_up
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS
from vision.segmentation.refinement import REFINEMENT, RefinedClassifier

PUBLISHED = ("pool2", "conv4", "fc7")  # of AlexNet in the paper; here what has these names in VGG-16


class Cache(NamedTuple):
    """The caches of the parts of the network, and of each tap's score layer and interpolation."""

    parts: list
    scores: list
    enlarge: list


class Hypercolumns(Layer):
    """images (N, 3, H, W) to logits (N, classes, H, W): linear in the stacked, interpolated outputs of `taps`.

        logits = b + W [up(h_1); up(h_2); ...] = sum over taps of up(W_t h_t + b_t)

    Interpolation and a 1x1 convolution commute, as one works on places and the other on channels; so only the few
    channels of the scores are enlarged, and the stack, thousands of channels at every pixel, is never built (sec. 3).
    There is one classifier for all places: those of the paper, in a grid over a box, are for objects in boxes.

    taps: names in the order of the network, conv1 .. conv5 (the last ReLU of a block of VGG-16), pool1 .. pool5, fc6
    and fc7 (7x7, then 1x1, `hidden` channels, dropout). `features` and `classifier` have torchvision's numbers. What
    lies above the last tap is left out. width: channels of the first convolution. batch_norm: before each ReLU, and of
    each tap, so that all depths are of one scale. Raises ValueError for other taps, or in another order.

    Reference: Hariharan et al. 2015, arXiv:1411.5752, sec. 3.
    """

    def __init__(
        self, classes: int, taps: Sequence[str] = PUBLISHED, *, width: int = 64, hidden: int = 4096,
        dropout: float = 0.5, batch_norm: bool = False, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, hidden=hidden)
        features = freeze_cancelled(VGG(widened(width), batch_norm=batch_norm, rng=rng).features)
        layers = [rounding_up(layer) for layer in features]
        for inputs, kernel_size in ((8 * width, 7), (hidden, 1)):  # fc6, fc7
            conv = Conv2d(inputs, hidden, kernel_size, padding=kernel_size // 2, rng=rng)
            layers += [conv, ReLU(), Dropout(dropout, rng=rng.spawn(1)[0])]
        ends = _ends(layers)
        if not taps or [*taps] != [name for name in ends if name in taps]:
            raise ValueError(f"Hypercolumns: taps must be some of {', '.join(ends)}, in this order, got {list(taps)}")
        self.taps, starts = tuple(taps), [0, *(ends[name] for name in taps)]
        self.parts = [Sequential(*layers[a:b]) for a, b in pairwise(starts)]
        used, split = layers[: starts[-1]], len(features)
        self.features, self.classifier = Sequential(*used[:split]), Sequential(*used[split:])

        def score(name):
            channels = hidden if name.startswith("fc") else min(8, 2 ** (int(name[-1]) - 1)) * width
            return Sequential(*([BatchNorm2d(channels)] if batch_norm else []), Conv2d(channels, classes, 1, rng=rng))

        self.scores = [score(name) for name in taps]
        for layer in self.scores[:-1]:
            layer[len(layer) - 1].bias = None  # one bias is enough: that of the last tap
        self.enlarge = [Enlarge(_stride(name)) for name in taps]

    def children(self):
        """features and classifier by torchvision's numbers, scores by the names of the taps."""
        yield from (("features", self.features), ("classifier", self.classifier))
        yield from ((f"score_{name}", score) for name, score in zip(self.taps, self.scores))

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        size, cache, logits = x.shape[2:], Cache([], [], []), 0
        for part, score, enlarge in zip(self.parts, self.scores, self.enlarge):
            x, c_part = part.forward(x, training)
            small, c_score = score.forward(x, training)
            y, c_enlarge = enlarge.forward(small, size, training)
            logits = logits + y
            for caches, c in zip(cache, (c_part, c_score, c_enlarge)):
                caches.append(c)
        return logits, cache

    def backward(self, dy, cache):
        dx = None
        for i in reversed(range(len(self.parts))):
            dtap = self.scores[i].backward(self.enlarge[i].backward(dy, cache.enlarge[i]), cache.scores[i])
            dx = dtap if dx is None else dx + dtap  # a tap forks: gradients add up
            dx = self.parts[i].backward(dx, cache.parts[i])
        return dx

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A classifier's weights as this net takes them."""
        return convolutional(arrays)


def _ends(layers) -> dict[str, int]:
    """{conv1: how many layers there are up to its end, pool1: ..., conv2: ...}, in the order of the network."""
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, MaxPool2d)]
    ends = {f"{kind}{n}": i + (kind == "pool") for n, i in enumerate(pools, 1) for kind in ("conv", "pool")}
    return ends | {"fc6": len(layers) - 3, "fc7": len(layers)}


def _stride(name):
    """Pixels a cell of a tap."""
    return 2 ** (5 if name.startswith("fc") else int(name[-1]) - name.startswith("conv"))


# For a start from the weights of a classifier (--pretrained); the paper fine-tunes a detector's, on boxes.
RECIPE = {
    "data": "voc", "epochs": 50, "batch_size": 10, "lr": 0.001, "weight_decay": 0.0005, "schedule": "polynomial",
    "warm_up": 0, "crop": [321, 321],
}  # fmt: skip
SMALL = ON_SHAPES
OWN = {
    "taps": PUBLISHED, "width": 64, "hidden": 4096, "dropout": 0.5, "batch_norm": False, "short_side": 375,
    "max_side": 500, "std": (1.0, 1.0, 1.0),
}  # fmt: skip


def _made(name, classes, rng, options, own):
    options = complete(name, options, **OPTIONS | REFINEMENT | own)
    words = ("taps", "width", "hidden", "dropout", "batch_norm")
    network = Hypercolumns(len(classes), **{word: options[word] for word in words}, rng=rng)
    return RefinedClassifier(network, classes, options)


@register("hypercolumns", "segmentation", recipe=RECIPE)
def hypercolumns(classes, rng: np.random.Generator, **options) -> RefinedClassifier:
    """Hypercolumns of VGG-16's pool2, conv4_3 and fc7."""
    return _made("hypercolumns", classes, rng, options, OWN)


@register("hypercolumns_small", "segmentation", recipe=SMALL)
def hypercolumns_small(classes, rng: np.random.Generator, **options) -> RefinedClassifier:
    """Narrow ones of one map of every size, with batch normalisation, for generated scenes and CPUs."""
    own = {
        "taps": ("conv1", "conv2", "conv3", "conv4", "conv5", "fc7"), "width": 8, "hidden": 64, "dropout": 0.1,
        "batch_norm": True, "short_side": 64, "max_side": 80, "std": OPTIONS["std"],
    }  # fmt: skip
    return _made("hypercolumns_small", classes, rng, options, OWN | own)
