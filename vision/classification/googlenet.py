"""GoogLeNet: 22 layers, no large fully connected one, and two heads in between that help only in training.

Reference: Szegedy et al. 2015, Going deeper with convolutions, arXiv:1409.4842.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    ReLU,
    Sequential,
)
from vision.backbones import GoogLeNet
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.classification.mixup import Mix, draw_mix, mixed, mixed_cross_entropy
from vision.registry import Tiny, register

TAPS = {"aux1": "inception4a", "aux2": "inception4d"}  # the stage that each auxiliary head sees
POOLED = 4  # rows and columns of cells of an auxiliary head


class Cache(NamedTuple):
    """From loss to backward: the backbone's cache, and the caches and gradients of the heads, the last one first."""

    backbone: Any
    heads: list[Any]
    dlogits: list[np.ndarray]
    sampled: Mix | None


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """The paper's network."""

    width: int = 64  # channels of the first convolution; all others in proportion
    auxiliary: bool = True  # heads after inception4a and inception4d, in training only
    aux_weight: float = 0.3  # weight of the loss of each auxiliary head
    dropout: float = 0.4  # share of features dropped before the last layer
    batch_norm: bool = False  # batch normalisation before each ReLU instead of local response normalisation
    small_stem: bool = False  # for images of 32 pixels: a first convolution of 3x3, and no pooling before inception3b
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@dataclass(frozen=True)
class SmallOptions(Options):
    """For images of 32 pixels: a quarter of the width."""

    width: int = 16
    batch_norm: bool = True
    small_stem: bool = True
    short_side: int = 32
    max_side: int = 64


class GoogLeNetClassifier(Classifier):
    """images (N, 3, H, W) to logits (N, classes); in training also those of two auxiliary heads.

    loss = cls + aux_weight (aux1 + aux2), each a softmax cross-entropy. `forward` and `predict` know nothing of the
    auxiliary heads, whose parameters are aux1 and aux2: they are thrown away at test time.

    Reference: Szegedy et al. 2015, sec. 5.
    """

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        backbone = GoogLeNet(options.width, options.small_stem, options.batch_norm, rng=rng)
        last = {
            "pool": GlobalAvgPool2d(),
            "dropout": Dropout(options.dropout, rng=rng.spawn(1)[0]),
            "fc": Linear(backbone.out_channels, len(classes), rng=rng),
        }
        super().__init__(ClassificationNetwork(backbone, last), classes, options)
        taps = TAPS if options.auxiliary else {}
        self.auxiliary = {
            name: auxiliary_head(backbone.channels[stage], len(classes), options.width, rng)
            for name, stage in taps.items()
        }
        self.taps = (backbone.names[-1], *taps.values())

    def children(self):
        """Those of the network, and the auxiliary heads."""
        yield from self.network.children()
        yield from self.auxiliary.items()

    def loss(self, batch, rng: np.random.Generator, sampled: Mix | None = None):
        """({cls, aux1, aux2}, cache): the means over the images; those of the auxiliary heads times their weight."""
        images, labels = batch
        mix = sampled or draw_mix(len(labels), self.common.mixup, rng)
        maps, c_backbone = self.network.backbone.forward_stages(mixed(images, mix), names=self.taps)
        heads = {"cls": self.network.head} | self.auxiliary
        losses, cache = {}, Cache(c_backbone, [], [], mix)
        for (name, head), features in zip(heads.items(), maps):
            logits, c_head = head.forward(features)
            value, dlogits = mixed_cross_entropy(logits, labels, mix, self.common.label_smoothing)
            weight = 1.0 if name == "cls" else self.options.aux_weight
            losses[name] = weight * value
            cache.heads.append(c_head)
            cache.dlogits.append(weight * dlogits)
        return losses, cache

    def backward(self, cache: Cache):
        """Add the gradients of the total loss to all parameters."""
        heads = (self.network.head, *self.auxiliary.values())
        dmaps = [head.backward(dlogits, c) for head, dlogits, c in zip(heads, cache.dlogits, cache.heads)]
        self.network.backbone.backward_stages(dmaps, cache.backbone, images=False)


def auxiliary_head(in_channels: int, classes: int, width: int, rng: np.random.Generator) -> Sequential:
    """Average pooling to 4x4 cells, 1x1 to 2 width channels, ReLU, 16 width units, ReLU, dropout of 0.7, the classes.

    The paper pools 5x5 with stride 3, which gives 4x4 cells of an image of 224.
    """
    channels, hidden = 2 * width, 16 * width
    return Sequential(
        AdaptiveAvgPool2d(POOLED), Conv2d(in_channels, channels, 1, rng=rng), ReLU(), Flatten(),
        Linear(channels * POOLED**2, hidden, rng=rng), ReLU(), Dropout(0.7, rng=rng.spawn(1)[0]),
        Linear(hidden, classes, rng=rng),
    )  # fmt: skip


# Sec. 6: momentum 0.9, the rate falls by 4 % every 8 epochs; batch, rate and length are not given. These are those of
# bvlc_googlenet's quick_solver: batches of 32, 60 epochs, a polynomial of power 0.5 (here 0.9).
RECIPE = {
    "epochs": 60, "batch_size": 32, "lr": 0.01, "weight_decay": 0.0002, "schedule": "polynomial", "warm_up": 0,
    "clip_norm": 0.0, "resized_crop": [0.08, 1.0],
}  # fmt: skip
SMALL_RECIPE = {
    "epochs": 60, "batch_size": 128, "lr": 0.1, "weight_decay": 0.0005, "schedule": "cosine", "clip_norm": 0.0,
    "shift": 4, "jitter": 0.0,
}  # fmt: skip
PAPER = "Szegedy et al. 2015, arXiv:1409.4842"


@register(
    "googlenet", "classification", RECIPE, options=Options, tiny=Tiny({"width": 8}, size=(64, 80)), system="GoogLeNet",
    paper=PAPER, figures="6,998,552 parameters without the auxiliary heads, as published; not trained here",
)  # fmt: skip
def googlenet(classes, options: Options, rng: np.random.Generator) -> GoogLeNetClassifier:
    """GoogLeNet: 6,998,552 parameters for 1000 classes, and 6,379,984 in the auxiliary heads."""
    return GoogLeNetClassifier(classes, options, rng)


@register(
    "googlenet_small", "classification", SMALL_RECIPE, options=SmallOptions,
    # On maps of 32x32 some ReLU is always near its kink; with a complex step the test checks them all.
    tiny=Tiny({"width": 8, "small_stem": False, "batch_norm": False}, size=(64, 80)),
    system="GoogLeNet, small", paper=PAPER,
)  # fmt: skip
def googlenet_small(classes, options: SmallOptions, rng: np.random.Generator) -> GoogLeNetClassifier:
    """For images of 32 pixels: the first convolution is 3x3, and the map keeps its size up to inception3b."""
    return GoogLeNetClassifier(classes, options, rng)
