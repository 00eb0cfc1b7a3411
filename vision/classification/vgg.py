"""VGG: 3x3 convolutions, 2x2 poolings, three fully connected layers, by depth.

Reference: Simonyan and Zisserman 2015, Very deep convolutional networks for large-scale image recognition,
arXiv:1409.1556.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn import AdaptiveAvgPool2d, Dropout, Flatten, Linear, ReLU, Sequential
from nn.layer import positive
from vision.backbones import VGG, freeze_cancelled, vgg_plan
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.registry import Tiny, register

POOLED = 7  # rows and columns of cells before the fully connected layers: an image of 224 halved 5 times


class VGGNetwork(ClassificationNetwork):
    """images (N, 3, H, W) to logits (N, classes): the convolutions of a plan, and 3 fully connected layers.

    plan: see vision.backbones.VGG; vgg_plan(16) and vgg_plan(19) are configurations D and E. hidden: units of the two
    hidden fully connected layers, each followed by ReLU and dropout. Layers have torchvision's names, features.0 ...
    classifier.6, so that weights of its vgg16, vgg19, vgg16_bn and vgg19_bn fit. As there, features of other sizes are
    averaged to `pooled` x `pooled` cells; at least 32x32 pixels are needed. New weights are He's; the paper started
    from a shallower network's.

    Reference: Simonyan and Zisserman 2015, sec. 2.1 and table 1.
    """

    def __init__(
        self, classes: int, plan: Sequence, hidden: int = 4096, dropout: float = 0.5, batch_norm: bool = False,
        pooled: int = POOLED, *, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, hidden=hidden)
        backbone = VGG(plan, batch_norm=batch_norm, rng=rng)
        freeze_cancelled(backbone.body)
        classifier = Sequential(
            Linear(backbone.out_channels * pooled**2, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
            Linear(hidden, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
            Linear(hidden, classes, rng=rng),
        )  # fmt: skip
        super().__init__(backbone, {
            "pool": AdaptiveAvgPool2d(pooled),
            "flatten": Flatten(),
            "classifier": classifier,
        })  # fmt: skip


# Sec. 3.1: batches of 256, 370,000 steps (74 epochs of ImageNet's 1.28 million images), the rate divided by 10 three
# times when validation stopped improving. The steps are not given; here at each quarter. Parts of 224x224 as AlexNet's,
# of images of 256 to 512; table 4: tested at three scales, test_scales=[256,384,512].
RECIPE = {
    "epochs": 74, "batch_size": 256, "lr": 0.01, "weight_decay": 0.0005, "milestones": [0.25, 0.5, 0.75], "warm_up": 0,
    "clip_norm": 0.0, "jitter": 0.0, "colour_pca": 0.1,
}  # fmt: skip


PAPER = "Simonyan and Zisserman 2015, arXiv:1409.1556"


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """mean and std are torchvision's; the paper's std is 1."""

    width: int = 64  # channels of the first two convolutions
    hidden: int = 4096  # units of each hidden fully connected layer
    dropout: float = 0.5  # share of hidden units dropped in training
    batch_norm: bool = False  # before each ReLU of the convolutions: torchvision's vgg16_bn, vgg19_bn
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@dataclass(frozen=True)
class SmallOptions(Options):
    """For images of 32 pixels."""

    width: int = 32
    hidden: int = 256
    batch_norm: bool = True
    short_side: int = 32
    max_side: int = 64


@register(
    "vgg16", "classification", RECIPE, options=Options, tiny=Tiny({"width": 4, "hidden": 6}),
    system="VGG-16", paper=PAPER, figures="138,357,544 parameters, as published; the published convolutions give the "
    "published perceptual distances; not trained here",
    published="https://download.pytorch.org/models/vgg16-397923af.pth",
)  # fmt: skip
def vgg16(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """VGG-16, configuration D: 138,357,544 parameters for 1000 classes."""
    return _classifier(vgg_plan(16, options.width), classes, options, rng)


@register(
    "vgg19", "classification", RECIPE, options=Options, tiny=Tiny({"width": 4, "hidden": 6, "batch_norm": True}),
    system="VGG-19", paper=PAPER, figures="143,667,240 parameters, as published; not trained here",
    published="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
)  # fmt: skip
def vgg19(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """VGG-19, configuration E: 143,667,240 parameters for 1000 classes."""
    return _classifier(vgg_plan(19, options.width), classes, options, rng)


# For CIFAR-10 on two cores, trained as the ResNets there.
SMALL_RECIPE = {
    "epochs": 60, "batch_size": 128, "lr": 0.05, "weight_decay": 0.0005, "milestones": [0.5, 0.75], "clip_norm": 0.0,
    "shift": 4, "jitter": 0.0,
}  # fmt: skip


@register(
    "vgg_small", "classification", SMALL_RECIPE, options=SmallOptions,
    tiny=Tiny({"width": 2, "hidden": 6}, size=(32, 32)),
    system="VGG, small", paper=PAPER,
)  # fmt: skip
def vgg_small(classes, options: SmallOptions, rng: np.random.Generator) -> Classifier:
    """Three pairs of convolutions, each with a pooling, and the three fully connected layers behind 4x4 cells."""
    return _classifier(vgg_plan(13, options.width, depth=3), classes, options, rng, pooled=4)


def _classifier(plan, classes, options, rng, pooled=POOLED):
    network = VGGNetwork(len(classes), plan, options.hidden, options.dropout, options.batch_norm, pooled, rng=rng)
    return Classifier(network, classes, options)
