"""ResNet with deformable convolutions in its last stage.

Reference: Dai et al. 2017, Deformable convolutional networks, arXiv:1703.06211; Zhu et al. 2018, arXiv:1811.11168.
"""

from dataclasses import dataclass

import numpy as np

from nn import GlobalAvgPool2d, Linear
from vision.backbones import ResNet
from vision.backbones.deformable import (
    DeformableBottleneck,
    DeformableConv,
    UnmodulatedBottleneck,
    offsets_in,
    sampling_points,
)
from vision.backbones.resnet import BLOCKS
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.classification.resnet import RECIPE
from vision.model import Stage
from vision.preprocess import Photograph, open_photograph
from vision.registry import Tiny, register
from vision.task import on_its_device


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """ResNet-50 with modulated deformable convolutions in layer4."""

    width: int = 64  # channels of the first convolution
    blocks: tuple[int, int, int, int] = BLOCKS["resnet50"]  # bottlenecks of each stage
    modulated: bool = True  # taps also learn how much they count: the second version
    slower: float = 0.1  # rate of the offsets, relative to all else
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@register(
    "deformable_resnet", "classification", RECIPE, options=Options,
    tiny=Tiny({"width": 2, "blocks": [1, 1, 1, 2]}, scenes=3, size=(64, 80)),
    system="Deformable convolutional networks", paper="Dai et al. 2017, arXiv:1703.06211",
    figures="every gradient checked, begins as the ResNet whose weights it takes; not trained here",
)  # fmt: skip
class DeformableResNet(Classifier):
    """A ResNet of bottlenecks; the 3x3 convolutions of layer4 are deformable. Weights of torchvision's ResNets fit."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        last = DeformableBottleneck if options.modulated else UnmodulatedBottleneck
        backbone = ResNet(options.blocks, options.width, last=last, rng=rng)
        head = {"avgpool": GlobalAvgPool2d(), "fc": Linear(backbone.out_channels, len(classes), rng=rng)}
        super().__init__(ClassificationNetwork(backbone, head), classes, options)

    def stages(self) -> tuple[Stage, ...]:
        """One; the offsets move more slowly."""
        names = [name.rpartition(".")[0] for name in self.parameters() if name.endswith("offset.weight")]
        return (Stage(recipe={"lr_scale": dict.fromkeys(names, self.options.slower)}),)

    def classify(self, photograph: Photograph) -> dict:
        """As a Classifier's, and `samples` (K, 2): the points (x, y) that the middle cell of layer4 depends on."""
        photograph = open_photograph(photograph)
        scaled, backbone = self.preprocess.scaled(photograph), self.network.backbone
        offsets = [each[0] for each in on_its_device(self, self.offsets, self.preprocess.batch([scaled]))]
        geometries = [layer.conv.geometry for _, layer in backbone.layers() if isinstance(layer, DeformableConv)]
        _, h, w = offsets[-1].shape
        cells = sampling_points(geometries, offsets, h // 2, w // 2) + 0.5  # cell i has its centre at i + 0.5
        factor = np.array(photograph.shape[:2]) / scaled.shape[:2]
        points = (cells * backbone.strides["layer3"] * factor)[:, ::-1]
        return super().classify(photograph) | {"samples": points}

    def offsets(self, images) -> list[np.ndarray]:
        """[(N, 18, oh, ow)] of each deformable convolution for a batch as the network sees it."""
        return list(offsets_in(self.network.backbone.forward_stages(images, training=False)[1].parts))
