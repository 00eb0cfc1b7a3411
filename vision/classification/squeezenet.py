"""SqueezeNet 1.0: AlexNet's accuracy with a fiftieth of its parameters.

Reference: Iandola et al. 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB model size,
arXiv:1602.07360.
"""

from dataclasses import dataclass

import numpy as np

from nn import GlobalAvgPool2d
from vision.backbones import SqueezeNet
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.registry import Tiny, register

# The authors' solver.prototxt for v1.0: 170,000 batches of 512, the rate falls linearly (here: power 0.9).
RECIPE = {
    "epochs": 68, "batch_size": 512, "lr": 0.04, "weight_decay": 0.0002, "schedule": "polynomial", "warm_up": 0,
    "clip_norm": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """Only the mean is subtracted from the pixels."""

    width: int = 16  # squeeze channels of the first Fire module
    dropout: float = 0.5  # share of features dropped before the last convolution
    short_side: int = 227  # pixels of the shorter side
    max_side: int = 454  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (123, 117, 104)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (1, 1, 1)  # then each channel is divided by this


@register(
    "squeezenet1_0", "classification", RECIPE, options=Options, tiny=Tiny({"width": 2}),
    system="SqueezeNet 1.0", paper="Iandola et al. 2016, arXiv:1602.07360",
    figures="check logits within 1e-3 with the published weights; not trained here",
    published="https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth",
)  # fmt: skip
def squeezenet1_0(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """SqueezeNet 1.0: 1,248,424 parameters for 1000 classes. The logits are the means of the class maps."""
    backbone = SqueezeNet(len(classes), options.width, options.dropout, rng=rng)
    network = ClassificationNetwork(backbone, {"classifier.3": GlobalAvgPool2d()})
    return Classifier(network, classes, options)
