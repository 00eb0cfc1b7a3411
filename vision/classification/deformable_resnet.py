"""ResNet with deformable convolutions in its last stage.

Reference: Dai et al. 2017, Deformable convolutional networks, arXiv:1703.06211; Zhu et al. 2018, arXiv:1811.11168.
"""

from dataclasses import dataclass

import numpy as np

from nn import GlobalAvgPool2d, Linear
from vision.backbones import ResNet
from vision.backbones.deformable import DeformableBottleneck, UnmodulatedBottleneck, deformations, sampling_points
from vision.backbones.resnet import BLOCKS
from vision.classification.classifier import ClassificationNetwork, Classifier
from vision.classification.resnet import RECIPE
from vision.model import Stage
from vision.options import ImageOptions
from vision.preprocess import Photograph, open_photograph
from vision.registry import Tiny, register
from vision.task import on_its_device


@dataclass(frozen=True)
class Options(ImageOptions):
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
        found = super().classify(photograph)
        return found | {"samples": on_its_device(self, self.look, photograph)}

    def look(self, photograph: np.ndarray) -> np.ndarray:
        """(K, 2): the points (x, y) of a photograph (H, W, 3) where the middle cell of layer4 samples layer3."""
        scaled = self.preprocess.scaled(photograph)
        backbone, image = self.network.backbone, self.preprocess.batch([scaled])
        _, cache = backbone.forward_stages(image, training=False)
        deformed = list(deformations(cache.parts))
        h, w = deformed[-1].offset.shape[2:]
        cells = sampling_points(deformed, 0, h // 2, w // 2) + 0.5
        factor = np.array(photograph.shape[:2]) / scaled.shape[:2]
        return (cells * backbone.strides["layer3"] * factor)[:, ::-1]
