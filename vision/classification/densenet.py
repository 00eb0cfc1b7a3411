"""DenseNet-121, and DenseNet-40 and DenseNet-BC-100 for CIFAR. The network is in vision/backbones/densenet.py.

Reference: Huang et al. 2017, Densely connected convolutional networks, arXiv:1608.06993.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import GlobalAvgPool2d, Linear
from vision.backbones import DenseNet
from vision.backbones.densenet import Memory
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.registry import Tiny, register

# Sec. 4.2: Nesterov's momentum, batches of 256, the rate divided by 10 at epochs 30 and 60 of 90. Sec. 4.1: images
# augmented as those of ResNet's implementation at Facebook, by crops of any shape.
RECIPE = {
    "epochs": 90, "batch_size": 256, "optimiser": "nesterov", "lr": 0.1, "weight_decay": 0.0001,
    "milestones": [1 / 3, 2 / 3], "warm_up": 0, "clip_norm": 0.0, "resized_crop": [0.08, 1.0],
}  # fmt: skip
# Batches of 64, the rate divided by 10 at half and three quarters of 300 epochs; images mirrored and shifted.
CIFAR_RECIPE = RECIPE | {
    "epochs": 300, "batch_size": 64, "milestones": [0.5, 0.75], "resized_crop": None, "shift": 4, "jitter": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """DenseNet-121."""

    blocks: tuple[int, ...] = (6, 12, 24, 16)  # layers of each dense block
    growth: int = 32  # k: channels that a layer adds
    channels: int = 64  # of the first convolution
    bottleneck: bool = True  # a 1x1 convolution to 4 k channels before each 3x3
    theta: float = 0.5  # share of the channels that a transition leaves
    dropout: float = 0.0  # share of elements dropped after each convolution
    stem: Literal["7x7", "3x3"] = "7x7"  # first convolution: 7x7 with stride 2 and pooling, or 3x3
    memory: Memory = "shared"  # what a block keeps for backward: naive, shared or recomputed
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@dataclass(frozen=True)
class CifarOptions(Options):
    """DenseNet with L = 40, k = 12, without bottlenecks and compression."""

    blocks: tuple[int, ...] = (12, 12, 12)  # layers of each dense block
    growth: int = 12  # k: channels that a layer adds
    channels: int = 16  # of the first convolution
    bottleneck: bool = False  # a 1x1 convolution to 4 k channels before each 3x3
    theta: float = 1.0  # share of the channels that a transition leaves
    stem: Literal["7x7", "3x3"] = "3x3"  # first convolution: 7x7 with stride 2 and pooling, or 3x3
    short_side: int = 32  # pixels of the shorter side
    max_side: int = 64  # pixels of the longer side at most


@dataclass(frozen=True)
class BottleneckOptions(CifarOptions):
    """DenseNet-BC with L = 100, k = 12."""

    blocks: tuple[int, ...] = (16, 16, 16)  # layers of each dense block
    channels: int = 24  # of the first convolution: 2 k
    bottleneck: bool = True  # a 1x1 convolution to 4 k channels before each 3x3
    theta: float = 0.5  # share of the channels that a transition leaves


PAPER = {"system": "DenseNet", "paper": "Huang et al. 2017, arXiv:1608.06993"}
TINY = {"blocks": [2, 2], "growth": 3, "channels": 3, "dropout": 0.2}


@register(
    "densenet121", "classification", RECIPE, options=Options, tiny=Tiny(TINY | {"memory": "naive"}, 3), **PAPER,
    figures="7,978,856 parameters of DenseNet-121, 769,162 of DenseNet-BC-100, as published; DenseNet-40 keeps 276 MiB "
    "for backward of 16 images, 154 with shared storage, 33 recomputed; not trained here",
)  # fmt: skip
def densenet121(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """DenseNet-121: 7,978,856 parameters for 1000 classes."""
    network = DenseNet(
        options.blocks, options.growth, options.channels, options.bottleneck, options.theta, options.dropout,
        options.stem, options.memory, rng=rng,
    )  # fmt: skip
    head = {"pool": GlobalAvgPool2d(), "classifier": Linear(network.out_channels, len(classes), rng=rng)}
    return Classifier(ClassificationNetwork(network, head), classes, options)


@register(
    "densenet40_cifar",
    "classification",
    CIFAR_RECIPE,
    options=CifarOptions,
    tiny=Tiny(TINY | {"blocks": [2, 3], "growth": 2}),
    **PAPER,
)
def densenet40_cifar(classes, options: CifarOptions, rng: np.random.Generator) -> Classifier:
    """DenseNet-40 with k = 12: 1.02 million parameters."""
    return densenet121(classes, options, rng)


@register(
    "densenet_bc100_cifar",
    "classification",
    CIFAR_RECIPE,
    options=BottleneckOptions,
    tiny=Tiny(TINY | {"memory": "recomputed"}, 3),
    **PAPER,
)
def densenet_bc100_cifar(classes, options: BottleneckOptions, rng: np.random.Generator) -> Classifier:
    """DenseNet-BC with 100 layers and k = 12: 769,162 parameters."""
    return densenet121(classes, options, rng)
