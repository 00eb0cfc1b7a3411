"""SegNet: VGG-16's convolutions, the same mirrored, and between them only the positions of the maxima.

Reference: Badrinarayanan, Kendall and Cipolla 2017, SegNet: a deep convolutional encoder-decoder architecture for image
segmentation, arXiv:1511.00561.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import BatchNorm2d, Conv2d, ReLU, Sequential
from nn.layer import positive
from vision.backbones import VGG, freeze_cancelled, vgg16_plan
from vision.registry import Tiny, register
from vision.segmentation.encoder_decoder import EncoderDecoder, block, mirrored
from vision.segmentation.pixel_classifier import ON_SHAPES, ClassWeights, PixelClassifier, PixelOptions
from vision.segmentation.unpooling import Mode

TABLE = {"system": "SegNet", "paper": "Badrinarayanan et al. 2017, arXiv:1511.00561"}


class SegNet(EncoderDecoder):
    """images (N, 3, H, W) to logits (N, classes, H, W): 13 encoder and 13 decoder convolutions, 3x3, batch-normalised.

    The backbone's layers, the encoders and poolings, have the names of torchvision's vgg16_bn, so that its weights fit,
    and those of its plain vgg16, with which the authors began. The last convolution of the decoder, 3x3 too, gives the
    class scores. width: channels of the first convolution, 64 in the paper; depth: how many of VGG-16's five blocks
    there are. unpool: see Unpool2d; the paper's is "max". All weights start as in He et al. 2015.

    Images are normalised as torchvision's weights want them. The paper normalises their local contrast first; the
    authors' prototxt takes pixels as they are.

    Reference: Badrinarayanan et al. 2017, sec. 3, fig. 2; the authors' segnet_train.prototxt.
    """

    def __init__(
        self, classes: int, width: int = 64, depth: int = 5, unpool: Mode = "max", *, rng: np.random.Generator
    ):  # fmt: skip
        positive(self, classes=classes, width=width, depth=depth)
        super().__init__(unpool)
        plan = vgg16_plan(width, depth)
        self.backbone = VGG(plan, batch_norm=True, rng=rng)
        self.encoders = self.backbone.blocks
        freeze_cancelled(self.backbone.body)

        def layers(inputs, outputs):
            return Conv2d(inputs, outputs, 3, padding=1, rng=rng), BatchNorm2d(outputs), ReLU()

        self.decoders = [freeze_cancelled(block(pairs, layers)) for pairs in mirrored(plan)]
        self.decoder = Sequential(*(layer for decoder in self.decoders for layer in decoder))
        self.score = Conv2d(width, classes, 3, padding=1, rng=rng)

    def children(self):
        """features.N (the encoders), decoder (all decoders together, from the deepest) and score."""
        yield from self.backbone.children()
        yield "decoder", self.decoder
        yield "score", self.score

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of a VGG-16, with batch normalisation or without, as this network takes them."""
        return self.backbone.pretrained_names(arrays)


@dataclass(frozen=True)
class Options(PixelOptions):
    """The published network, on CamVid."""

    short_side: int = 360
    max_side: int = 480
    class_weights: ClassWeights = "median"
    loss_divisor: Literal["weights", "pixels"] = "pixels"  # the authors' Caffe; with CamVid's weights half the scale
    width: int = 64  # channels of the first convolution
    depth: int = 5  # blocks of VGG-16, each with a pooling
    unpool: Mode = "max"  # how the decoder upsamples, see Unpool2d


@dataclass(frozen=True)
class SmallOptions(Options):
    """Three poolings: a fourth leaves a cell or two of things of 14 to 30 pixels."""

    short_side: int = 64
    max_side: int = 80
    class_weights: ClassWeights = None
    loss_divisor: Literal["weights", "pixels"] = "weights"  # weights added up, or counted pixels
    width: int = 12
    depth: int = 3


# The authors' segnet_solver.prototxt: 40,000 batches of 4 (436 epochs of CamVid's 367 images) from VGG-16's weights
# (plain ones; batch normalisation is new). The paper itself has batches of 12 and a rate of 0.1.
RECIPE = {
    "data": "camvid", "epochs": 436, "batch_size": 4, "lr": 0.001, "weight_decay": 0.0005, "schedule": "constant",
    "warm_up": 0, "clip_norm": 0.0, "bias_rate": 2.0,
}  # fmt: skip
SMALL = ON_SHAPES | {"epochs": 2}  # from random weights within minutes
TINY = Tiny({"width": 2, "depth": 2, "class_weights": [0.5, 1, 2, 3]}, scenes=1, size=(32, 32))
TINY_SMALL = Tiny({"width": 2, "depth": 2, "unpool": "bed_of_nails"}, scenes=1, size=(32, 32))


@register(
    "segnet_small", "segmentation", SMALL, options=SmallOptions, tiny=TINY_SMALL,
    figures="mIoU 0.917 on generated scenes", **TABLE,
)  # fmt: skip
@register("segnet", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def segnet(classes, options: Options, rng: np.random.Generator) -> PixelClassifier:
    """SegNet: 29,449,355 parameters for CamVid's 11 classes. Small: narrow, for generated scenes and CPUs."""
    network = SegNet(len(classes), options.width, options.depth, options.unpool, rng=rng)
    return PixelClassifier(network, classes, options)
