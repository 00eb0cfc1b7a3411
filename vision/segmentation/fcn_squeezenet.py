"""FCN-4s on SqueezeNet 1.0: the skips of FCN on a classifier small enough for a CPU, with published weights.

Reference: Long et al. 2015, arXiv:1411.4038, sec. 4.1 (any classifier can be turned; theirs are AlexNet, VGG-16 and
GoogLeNet); Iandola et al. 2016, arXiv:1602.07360.
"""

from dataclasses import dataclass

import numpy as np

from nn import BatchNorm2d, Conv2d, Dropout, Sequential
from nn.layer import positive
from vision.backbones import SqueezeNet
from vision.registry import Tiny, register
from vision.segmentation.pixel_classifier import PixelClassifier, PixelOptions
from vision.segmentation.skips import BilinearInterpolation, SkipNet, learned_interpolation

AROUND = 16  # zeros around the image: no interpolation inside it lacks a neighbour
# Pixel 4 i + 5 is the centre of what a cell i of stride 4 sees, 8 i + 9 and 16 i + 17 are those of stride 8 and 16.
# Between them lie kernels of 3 without padding, in which output 2 i + 1 is the centre of input i; the last kernel, of
# 7, has it at 4 i + 3: output o is pixel o + 2.
START = AROUND - 2


class FCNSqueezeNet(SkipNet):
    """images (N, 3, H, W) to logits (N, classes, H, W): scores at strides of 16, 8 and 4, added, and interpolated.

    The backbone is SqueezeNet without its last convolution; its layers have torchvision's names, so that weights of its
    squeezenet1_0 fit. Scores are 1x1 convolutions of fire9 (with dropout), fire8 and fire4 after batch normalisation,
    which brings the three, some tens with the published weights, to one scale. width: see SqueezeNet.
    """

    around, final_start = AROUND, START

    def __init__(self, classes: int, width: int = 16, dropout: float = 0.5, *, rng: np.random.Generator):
        positive(self, classes=classes, width=width)
        self.backbone, self.taps = SqueezeNet(1, width, rng=rng).up_to("fire9"), ("fire4", "fire8", "fire9")
        fire4, fire8, fire9 = (self.backbone.channels[name] for name in self.taps)

        def score(channels, *before):
            return Sequential(*before, BatchNorm2d(channels), Conv2d(channels, classes, 1, rng=rng))

        self.classifier = score(fire9, Dropout(dropout, rng=rng.spawn(1)[0]))
        self.skips, self.starts = [score(fire8), score(fire4)], [0, 0]
        self.ups = [learned_interpolation(classes, 3, 2) for _ in self.skips]
        self.final = BilinearInterpolation(7, 4)

    def children(self):
        """features.N, classifier, score_fire8, score_fire4, upscore2 and upscore_fire8."""
        yield from self.backbone.children()
        yield "classifier", self.classifier
        names = ("score_fire8", "score_fire4", "upscore2", "upscore_fire8")
        yield from zip(names, (*self.skips, *self.ups))


@dataclass(frozen=True)
class Options(PixelOptions):
    """Colours are those of the published SqueezeNet: pixels only lose their mean."""

    short_side: int = 180
    max_side: int = 240
    mean: float | tuple[float, float, float] = (123, 117, 104)
    std: float | tuple[float, float, float] = (1, 1, 1)
    width: int = 16  # squeeze channels of the first Fire module
    dropout: float = 0.5  # share of elements dropped before the scores of fire9, in training


# Published weights need a low rate; from random ones --lr 0.002 learns faster.
RECIPE = {
    "data": "camvid", "epochs": 60, "batch_size": 4, "optimiser": "adam", "lr": 0.0005, "weight_decay": 0.0,
    "schedule": "polynomial", "warm_up": 50,
}  # fmt: skip


@register(
    "fcn_squeezenet", "segmentation", RECIPE, options=Options, tiny=Tiny({"width": 2}, scenes=1, size=(32, 32)),
    system="FCN", paper="Long et al. 2015, arXiv:1411.4038",
)  # fmt: skip
def fcn_squeezenet(classes, options: Options, rng: np.random.Generator) -> PixelClassifier:
    """FCN-4s on SqueezeNet 1.0; give its published weights with --pretrained."""
    network = FCNSqueezeNet(len(classes), options.width, options.dropout, rng=rng)
    return PixelClassifier(network, classes, options)
