"""SE-ResNet: a gate for each channel at the end of each residual branch, for ImageNet and for CIFAR-10.

Reference: Hu et al. 2018, Squeeze-and-excitation networks, arXiv:1709.01507, sec. 3.3, fig. 3, and sec. 5.4.
"""

from dataclasses import dataclass

import numpy as np

from vision.backbones import Style
from vision.classification import resnet, resnet_cifar
from vision.classification.classifier import Classifier
from vision.registry import Tiny, register

PAPER = "Hu et al. 2018, arXiv:1709.01507"


@dataclass(frozen=True)
class Options(resnet.Options):
    """ResNet-50 with excitations."""

    reduction: int = 16  # channels of a block over those of its squeeze


@dataclass(frozen=True)
class CifarOptions(resnet_cifar.Options):
    """ResNet-20 with excitations."""

    reduction: int = 16  # channels of a block over those of its squeeze, of which there is at least one


@register(
    "se_resnet50", "classification", resnet.RECIPE, options=Options,
    tiny=Tiny({"width": 2, "blocks": [1, 1, 1, 1], "reduction": 1}, size=(48, 64)),
    system="SE-ResNet", paper=PAPER, figures="SE-ResNet-50: 28,088,024 parameters, as published",
)  # fmt: skip
def se_resnet50(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """SE-ResNet-50: 28,088,024 parameters for 1000 classes; `blocks` makes another depth."""
    style = Style(options.shortcut, options.form, options.reduction)
    return resnet.resnet_classifier("resnet50", classes, options, style, rng)


@register(
    "se_resnet20_cifar", "classification", resnet_cifar.RECIPE, options=CifarOptions,
    tiny=Tiny({"n": 1, "width": 2, "reduction": 1}), system="SE-ResNet", paper=PAPER,
)  # fmt: skip
def se_resnet20_cifar(classes, options: CifarOptions, rng: np.random.Generator) -> Classifier:
    """SE-ResNet-20 (n=3) or another depth."""
    style = Style(options.shortcut, options.form, options.reduction, resnet_cifar.STYLE.name)
    return resnet_cifar.cifar_classifier(classes, options, style, rng)
