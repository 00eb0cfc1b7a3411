"""AlexNet: the network that made deep learning the method of computer vision, in its two forms.

Reference: Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks; Krizhevsky 2014, One
weird trick for parallelizing convolutional neural networks, arXiv:1404.5997.
"""

from dataclasses import dataclass

import numpy as np

from nn import AdaptiveAvgPool2d, Dropout, Flatten, Linear, ReLU, Sequential
from nn.layer import positive
from vision.backbones import AlexNet
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.registry import Tiny, register

POOLED = 6  # rows and columns of pool5 of an image of 224


def fully_connected(backbone: AlexNet, classes: int, hidden: int, dropout: float, rng) -> dict:
    """fc6, fc7 and fc8 behind pool5, with dropout after the ReLU of the first two: sec. 4.2 of 2012.

    As in torchvision, features of other sizes are averaged to 6x6 cells.
    """
    return {
        "pool": AdaptiveAvgPool2d(POOLED), "flatten": Flatten(),
        "fc6": Linear(backbone.out_channels * POOLED**2, hidden, rng=rng), "relu6": ReLU(),
        "drop6": Dropout(dropout, rng=rng.spawn(1)[0]),
        "fc7": Linear(hidden, hidden, rng=rng), "relu7": ReLU(), "drop7": Dropout(dropout, rng=rng.spawn(1)[0]),
        "fc8": Linear(hidden, classes, rng=rng),
    }  # fmt: skip


def torchvision_classifier(backbone: AlexNet, classes: int, hidden: int, dropout: float, rng) -> dict:
    """The same three layers with torchvision's names, classifier.1, .4 and .6; dropout is before the first two."""
    classifier = Sequential(
        Dropout(dropout, rng=rng.spawn(1)[0]), Linear(backbone.out_channels * POOLED**2, hidden, rng=rng), ReLU(),
        Dropout(dropout, rng=rng.spawn(1)[0]), Linear(hidden, hidden, rng=rng), ReLU(),
        Linear(hidden, classes, rng=rng),
    )  # fmt: skip
    return {"avgpool": AdaptiveAvgPool2d(POOLED), "flatten": Flatten(), "classifier": classifier}


# 2012, sec. 5: batches of 128, 90 epochs, the rate divided by 10 three times, when validation stopped improving. The
# steps are not given; here at each quarter. Sec. 4.1: parts of 224x224 of images of 256, reflected, their colours
# changed along their principal components: --set short_side=256 --crop 224 224; tested on ten crops: test_crops=224.
RECIPE = {
    "epochs": 90, "batch_size": 128, "lr": 0.01, "weight_decay": 0.0005, "milestones": [0.25, 0.5, 0.75], "warm_up": 0,
    "clip_norm": 0.0, "jitter": 0.0, "colour_pca": 0.1,
}  # fmt: skip
ONE_COLUMN = "Krizhevsky 2014, arXiv:1404.5997"


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """mean and std are torchvision's; the paper's std is 1."""

    width: int = 96  # channels of the first convolution, even; all others in proportion
    hidden: int = 4096  # units of each hidden fully connected layer
    dropout: float = 0.5  # share of units dropped in training
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@dataclass(frozen=True)
class OneColumnOptions(Options):
    """The single column has 64 channels in its first convolution."""

    width: int = 64


TINY = Tiny({"width": 4, "hidden": 6}, size=(64, 80))


@register(
    "alexnet_2012", "classification", RECIPE, options=Options, tiny=TINY, system="AlexNet",
    paper="Krizhevsky et al. 2012", figures="60,965,224 parameters; not trained here",
)  # fmt: skip
def alexnet_2012(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """The first form, groups of two and local response normalisation: 60,965,224 parameters for 1000 classes."""
    positive("alexnet_2012", hidden=options.hidden)
    backbone = AlexNet(2, options.width, rng=rng)
    head = fully_connected(backbone, len(classes), options.hidden, options.dropout, rng)
    return Classifier(ClassificationNetwork(backbone, head), classes, options)


@register(
    "alexnet", "classification", RECIPE, options=OneColumnOptions, tiny=TINY, system="AlexNet, one column",
    paper=ONE_COLUMN, figures="61,100,840 parameters, as published; the published convolutions give the published "
    "activations and perceptual distances; not trained here",
    published="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)  # fmt: skip
def alexnet(classes, options: OneColumnOptions, rng: np.random.Generator) -> Classifier:
    """The single column, torchvision's alexnet: 61,100,840 parameters for 1000 classes."""
    positive("alexnet", hidden=options.hidden)
    backbone = AlexNet(1, options.width, rng=rng)
    head = torchvision_classifier(backbone, len(classes), options.hidden, options.dropout, rng)
    return Classifier(ClassificationNetwork(backbone, head), classes, options)
