"""VGG-16: 3x3 convolutions, 2x2 poolings, three fully connected layers.

Reference: Simonyan and Zisserman 2015, Very deep convolutional networks for large-scale image recognition,
arXiv:1409.1556.
"""

from dataclasses import dataclass

import numpy as np

from nn import AdaptiveAvgPool2d, Dropout, Flatten, Linear, ReLU, Sequential
from nn.layer import positive
from vision.backbones import VGG, vgg16_plan
from vision.classification.classifier import ClassificationNetwork, Classifier
from vision.options import ImageOptions
from vision.registry import Tiny, register

POOLED = 7  # rows and columns of cells before the fully connected layers: an image of 224 halved 5 times


class VGG16(ClassificationNetwork):
    """images (N, 3, H, W) to logits (N, classes): configuration D, 13 convolutions and 3 fully connected layers.

    width: channels of the first two convolutions, 64 in the paper; all others grow with it. hidden: units of the two
    hidden fully connected layers, each followed by ReLU and dropout. Layers have torchvision's names, features.0 ...
    classifier.6, so that weights of its vgg16 fit. As there, features of other sizes are averaged to 7x7 cells; at
    least 32x32 pixels are needed. New weights are He's; the paper started from a shallower network's.

    Reference: Simonyan and Zisserman 2015, sec. 2.1 and table 1, configuration D.
    """

    def __init__(self, classes: int, width: int = 64, hidden: int = 4096, dropout: float = 0.5, *, rng):
        positive(self, classes=classes, width=width, hidden=hidden)
        backbone = VGG(vgg16_plan(width), rng=rng)
        classifier = Sequential(
            Linear(8 * width * POOLED**2, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
            Linear(hidden, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
            Linear(hidden, classes, rng=rng),
        )  # fmt: skip
        super().__init__(backbone, {
            "pool": AdaptiveAvgPool2d(POOLED),
            "flatten": Flatten(),
            "classifier": classifier,
        })  # fmt: skip


# Sec. 3.1: batches of 256, 370,000 steps (74 epochs of ImageNet's 1.28 million images), the rate divided by 10 three
# times when validation stopped improving. The steps are not given; here at each quarter.
RECIPE = {
    "epochs": 74, "batch_size": 256, "lr": 0.01, "weight_decay": 0.0005, "milestones": [0.25, 0.5, 0.75], "warm_up": 0,
    "clip_norm": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options(ImageOptions):
    """mean and std are torchvision's; the paper's std is 1."""

    width: int = 64  # channels of the first two convolutions
    hidden: int = 4096  # units of each hidden fully connected layer
    dropout: float = 0.5  # share of hidden units dropped in training
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@register(
    "vgg16", "classification", RECIPE, options=Options, tiny=Tiny({"width": 4, "hidden": 6}),
    system="VGG-16", paper="Simonyan and Zisserman 2015, arXiv:1409.1556",
    figures="138,357,544 parameters, as published; not trained here",
)  # fmt: skip
def vgg16(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """VGG-16: 138,357,544 parameters for 1000 classes."""
    network = VGG16(len(classes), options.width, options.hidden, options.dropout, rng=rng)
    return Classifier(network, classes, options)
