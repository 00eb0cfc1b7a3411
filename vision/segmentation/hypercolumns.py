"""Hypercolumns: at each pixel the outputs of all layers above it, in one vector, and a linear classifier on them.

Reference: Hariharan et al. 2015, Hypercolumns for object segmentation and fine-grained localization, arXiv:1411.5752.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, Dropout, ReLU, Sequential
from nn.layer import check_shape, positive
from vision.backbones import VGG, Backbone, FeatureMap, freeze_cancelled, vgg16_plan
from vision.backbones.convolutional import convolutional
from vision.registry import Tiny, register
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelNetwork
from vision.segmentation.refinement import RefinedClassifier, RefinedOptions

PUBLISHED = ("pool2", "conv4", "fc7")  # of AlexNet in the paper; here the layers of these names in VGG-16


class Cache(NamedTuple):
    """The caches of the backbone, and of each tap's score layer and interpolation."""

    backbone: Any
    scores: list
    enlarge: list


class Hypercolumns(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W): linear in the stacked, interpolated outputs of `taps`.

        logits = b + W [up(h_1); up(h_2); ...] = sum over taps of up(W_t h_t + b_t)

    Interpolation and a 1x1 convolution commute, as one mixes positions and the other channels. So only the few channels
    of the scores are enlarged, and the stack, thousands of channels at every pixel, is never built (sec. 3). All
    positions have one classifier; the paper's grid of classifiers over a box is for objects in boxes.

    taps: names in the order of the network, conv1 .. conv5 (the last ReLU of a block of VGG-16), pool1 .. pool5, fc6
    and fc7 (7x7, then 1x1, `hidden` channels, dropout). They are stages of the backbone, which ends with the last tap.
    Layers have torchvision's names, features.N and classifier.N. width: channels of the first convolution. batch_norm:
    before each ReLU, and of each tap, so that all depths have one scale. Raises ValueError for other taps, or another
    order.

    Reference: Hariharan et al. 2015, arXiv:1411.5752, sec. 3.
    """

    def __init__(
        self, classes: int, taps: Sequence[str] = PUBLISHED, *, width: int = 64, hidden: int = 4096,
        dropout: float = 0.5, batch_norm: bool = False, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, hidden=hidden)
        vgg = VGG(vgg16_plan(width), batch_norm=batch_norm, ceil_mode=True, rng=rng)
        freeze_cancelled(vgg.body)
        layers, stages, inputs = dict(vgg.children()), dict(vgg.stages), vgg.out_channels
        for i, (name, kernel_size) in enumerate((("fc6", 7), ("fc7", 1))):
            conv = Conv2d(inputs, hidden, kernel_size, padding=kernel_size // 2, rng=rng)
            added, inputs = (conv, ReLU(), Dropout(dropout, rng=rng.spawn(1)[0])), hidden
            layers |= {f"classifier.{3 * i + j}": layer for j, layer in enumerate(added)}
            stages[name] = FeatureMap(len(layers), hidden, vgg.stride)
        if not taps or [*taps] != [name for name in stages if name in taps]:
            raise ValueError(f"Hypercolumns: taps must be some of {', '.join(stages)}, in this order, got {list(taps)}")
        self.taps, self.backbone = tuple(taps), Backbone(layers, stages).up_to(taps[-1])

        def score(channels):
            return Sequential(*([BatchNorm2d(channels)] if batch_norm else []), Conv2d(channels, classes, 1, rng=rng))

        self.scores = [score(self.backbone.channels[name]) for name in taps]
        for layer in self.scores[:-1]:
            layer[len(layer) - 1].bias = None  # one bias is enough: that of the last tap
        self.enlarge = [Enlarge(self.backbone.strides[name]) for name in taps]

    def children(self):
        """Those of the backbone, and the score layers by the names of the taps."""
        yield from self.backbone.children()
        yield from ((f"score_{name}", score) for name, score in zip(self.taps, self.scores))

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        size, logits = x.shape[2:], 0
        maps, c_backbone = self.backbone.forward_stages(x, training, self.taps)
        cache = Cache(c_backbone, [], [])
        for tap, score, enlarge in zip(maps, self.scores, self.enlarge):
            small, c_score = score.forward(tap, training)
            y, c_enlarge = enlarge.forward(small, size, training)
            logits = logits + y
            cache.scores.append(c_score)
            cache.enlarge.append(c_enlarge)
        return logits, cache

    def backward(self, dy, cache, images=True):
        dsmall = [enlarge.backward(dy, c) for enlarge, c in zip(self.enlarge, cache.enlarge)]
        dtaps = [score.backward(d, c) for score, d, c in zip(self.scores, dsmall, cache.scores)]
        return self.backbone.backward_stages(dtaps, cache.backbone, images)

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A classifier's weights as this network takes them."""
        return convolutional(arrays)


@dataclass(frozen=True)
class Options(RefinedOptions):
    """VGG-16's pool2, conv4_3 and fc7. mean and std are those of torchvision's VGG-16; the paper's std is 1."""

    short_side: int = 375
    max_side: int = 500
    taps: tuple[str, ...] = PUBLISHED  # layers that are classified: conv1 .. conv5, pool1 .. pool5, fc6, fc7
    width: int = 64  # channels of the first convolution
    hidden: int = 4096  # channels of fc6 and fc7
    dropout: float = 0.5  # share of elements dropped after fc6 and fc7, in training
    batch_norm: bool = False  # whether batch normalisation stands before each ReLU, and before each tap's scores


@dataclass(frozen=True)
class SmallOptions(Options):
    """One map of every size, narrow, with batch normalisation, for generated scenes and CPUs."""

    short_side: int = 64
    max_side: int = 80
    taps: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc7")
    width: int = 8
    hidden: int = 64
    dropout: float = 0.1
    batch_norm: bool = True


# For a start from the weights of a classifier (--pretrained); the paper fine-tunes a detector's, on boxes.
RECIPE = {
    "data": "voc", "epochs": 50, "batch_size": 10, "lr": 0.001, "weight_decay": 0.0005, "schedule": "polynomial",
    "warm_up": 0, "crop": [321, 321],
}  # fmt: skip
TABLE = {"system": "Hypercolumns", "paper": "Hariharan et al. 2015, arXiv:1411.5752"}
TINY = Tiny({"width": 4, "hidden": 3}, scenes=1)
TINY_SMALL = Tiny({"width": 1, "hidden": 3, "taps": ["conv1", "pool2", "conv4"]}, scenes=1)


@register(
    "hypercolumns_small", "segmentation", ON_SHAPES, options=SmallOptions, tiny=TINY_SMALL,
    figures="mIoU 0.913 on generated scenes", **TABLE,
)  # fmt: skip
@register("hypercolumns", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def hypercolumns(classes, options: Options, rng: np.random.Generator) -> RefinedClassifier:
    """Hypercolumns of VGG-16."""
    o = options
    network = Hypercolumns(
        len(classes), o.taps, width=o.width, hidden=o.hidden, dropout=o.dropout, batch_norm=o.batch_norm, rng=rng
    )  # fmt: skip
    return RefinedClassifier(network, classes, options)
