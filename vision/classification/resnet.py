"""ResNet-18, 34, 50, 101 and 152 as classifiers, with every option of shortcuts and the plain twin of each.

Reference: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385; He et al. 2016, Identity
mappings in deep residual networks, arXiv:1603.05027 (pre-activation).
"""

from dataclasses import dataclass

import numpy as np

from nn import GlobalAvgPool2d, Linear
from vision.backbones import BasicBlock, Bottleneck, ResNet, Style
from vision.backbones.residual import Form, Shortcut
from vision.backbones.resnet import BLOCKS
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.registry import Tiny, register

# Sec. 3.4: batches of 256, 600,000 steps (120 epochs of ImageNet), the rate divided by 10 when the error plateaus: here
# at each third. Colours as AlexNet's.
RECIPE = {
    "epochs": 120, "batch_size": 256, "lr": 0.1, "weight_decay": 0.0001, "milestones": [0.33, 0.67], "warm_up": 0,
    "clip_norm": 0.0, "jitter": 0.0, "colour_pca": 0.1,
}  # fmt: skip
PARAMETERS = {  # for 1000 classes; torchvision's are the same
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}  # fmt: skip
FILES = {  # torchvision's, of its first recipe
    "resnet18": "resnet18-f37072fd.pth", "resnet34": "resnet34-b627a593.pth", "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth", "resnet152": "resnet152-394f9c45.pth",
}  # fmt: skip
TINY = Tiny({"width": 2, "blocks": [1, 1, 1, 1]}, scenes=3, size=(64, 80))


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """The paper's by default: projections where the shape changes (B)."""

    width: int = 64  # channels of the first convolution
    blocks: tuple[int, int, int, int] | None = None  # in each stage; none: those of the depth
    shortcut: Shortcut = "B"  # where the shape changes: "A" zeros, "B" a convolution; "C": a convolution everywhere
    form: Form = "residual"  # of the blocks: "plain" without shortcuts, "pre_activation" as in arXiv:1603.05027
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


def resnet_classifier(name: str, classes, options: Options, style: Style, rng: np.random.Generator) -> Classifier:
    """The ResNet of a name in BLOCKS, global average pooling, and one fully connected layer, fc as in torchvision."""
    block = BasicBlock if name in ("resnet18", "resnet34") else Bottleneck
    backbone = ResNet(options.blocks or BLOCKS[name], options.width, block=block, style=style, rng=rng)
    head = {"avgpool": GlobalAvgPool2d(), "fc": Linear(backbone.out_channels, len(classes), rng=rng)}
    return Classifier(ClassificationNetwork(backbone, head), classes, options)


def _register(name):
    @register(
        name, "classification", RECIPE, options=Options, tiny=TINY, system="ResNet",
        paper="He et al. 2016, arXiv:1512.03385",
        figures=f"{name.removeprefix('resnet')} layers: {PARAMETERS[name]:,} parameters, as published",
        published=f"https://download.pytorch.org/models/{FILES[name]}",
    )  # fmt: skip
    def make(classes, options: Options, rng: np.random.Generator) -> Classifier:
        """A ResNet of the depth of its name."""
        return resnet_classifier(name, classes, options, Style(options.shortcut, options.form), rng)


for each in BLOCKS:
    _register(each)
