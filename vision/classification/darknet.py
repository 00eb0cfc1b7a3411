"""The classifier whose convolutions YOLO starts from: trained at half the detector's resolution.

`scripts.train --model yolo --pretrained RUN` loads the convolutions of a run of darknet20; yolo_small those of
darknet_small.

Reference: Redmon et al. 2016, You only look once, arXiv:1506.02640, sec. 2.2.
"""

from dataclasses import dataclass

import numpy as np

from nn import GlobalAvgPool2d, Linear
from vision.backbones.darknet import Darknet, narrow_plan, yolo_plan
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.registry import Tiny, register

SYSTEM = {"system": "Pretraining of YOLO", "paper": "Redmon et al. 2016, arXiv:1506.02640"}


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """Images of half the detector's 448 pixels."""

    width: int = 64  # channels of the first convolution, the others in proportion
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@dataclass(frozen=True)
class SmallOptions(Options):
    """Images of half of yolo_small's 224 pixels."""

    width: int = 12  # channels of the first convolution, doubled after each pooling
    short_side: int = 112  # pixels of the shorter side
    max_side: int = 224  # pixels of the longer side at most


def classifier(classes, backbone: Darknet, options: Options, *, rng: np.random.Generator) -> Classifier:
    """Average pooling and a linear layer on the convolutions."""
    head = {"pool": GlobalAvgPool2d(), "classifier": Linear(backbone.out_channels, len(classes), rng=rng)}
    return Classifier(ClassificationNetwork(backbone, head), classes, options)


@register(
    "darknet20", "classification", {"epochs": 90, "batch_size": 128, "lr": 0.01}, options=Options,
    tiny=Tiny({"width": 1}), figures="every gradient checked; not trained here", **SYSTEM,
)  # fmt: skip
def darknet20(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """The first 20 convolutions of YOLO. The paper trained them for a week on ImageNet; it gives no recipe."""
    return classifier(classes, Darknet(yolo_plan(options.width), rng=rng), options, rng=rng)


@register(
    "darknet_small", "classification", {"epochs": 10, "batch_size": 16, "lr": 0.02}, options=SmallOptions,
    tiny=Tiny({"width": 2}, scenes=3, size=(96, 128)), **SYSTEM,
)  # fmt: skip
def darknet_small(classes, options: SmallOptions, rng: np.random.Generator) -> Classifier:
    """The convolutions of yolo_small up to its last pooling, and one more."""
    backbone = Darknet([*narrow_plan(options.width, 5), 32 * options.width], batch_norm=True, rng=rng)
    return classifier(classes, backbone, options, rng=rng)
