"""DeepLab v3: a ResNet without its last strides, and atrous spatial pyramid pooling with the whole image beside it.

deeplabv3_resnet50 and deeplabv3_resnet101 are torchvision's networks, whose checkpoints fit. The paper's is trained at
an output stride of 16, then denser with the statistics of its batch normalisations held (sec. 4.1):

    python -m scripts.train --model deeplabv3_stride16 --pretrained resnet101.pth --run-dir runs/stride16
    python -m scripts.train --model deeplabv3_stride8 --pretrained runs/stride16 --run-dir runs/stride8

Reference: Chen et al. 2017, Rethinking atrous convolution for semantic image segmentation, arXiv:1706.05587;
torchvision.models.segmentation.deeplabv3_resnet50 (the names and sizes of the network).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import AdaptiveAvgPool2d, BatchNorm2d, Concat, Conv2d, Dropout, ReLU, Sequential, Upsample2d
from nn.layer import Layer, positive
from vision.backbones.resnet import BLOCKS, ResNet
from vision.registry import Tiny, register
from vision.segmentation.fcn_resnet import AuxiliaryClassifier, FCNResNet
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelOptions

WITHOUT_STRIDE = {16: (False, False, True), 8: (False, True, True)}  # by output stride
RATES = (6, 12, 18)  # at an output stride of 16; they double at 8 (sec. 3.3)


def conv_norm(in_channels: int, out_channels: int, kernel_size: int = 1, rate: int = 1, *, rng) -> Sequential:
    """A convolution that keeps the size, batch normalisation and ReLU."""
    padding = rate * (kernel_size // 2)
    conv = Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=rate, bias=False, rng=rng)
    return Sequential(conv, BatchNorm2d(out_channels), ReLU())


class ImagePooling(Sequential):
    """y = relu(bn(conv1x1(mean of x over each plane))), the same at every position.    x (N, C, H, W), y (N, O, H, W).

    Batch normalisation sees one value of a channel for each image: training takes batches of at least two.

    Reference: Chen et al. 2017, sec. 3.3 (image-level features).
    """

    def __init__(self, in_channels: int, out_channels: int, *, rng: np.random.Generator):
        super().__init__(AdaptiveAvgPool2d(1), *conv_norm(in_channels, out_channels, rng=rng))

    def forward(self, x, training=True):
        pooled, cache = super().forward(x, training)
        everywhere = Upsample2d(x.shape[2:])
        y, c_everywhere = everywhere.forward(pooled)
        return y, (cache, everywhere, c_everywhere)

    def backward(self, dy, cache):
        cache, everywhere, c_everywhere = cache
        return super().backward(everywhere.backward(dy, c_everywhere), cache)


class ASPP(Layer):
    """y = dropout(project(1x1, 3x3 at each rate, image pooling of x, side by side)).    x (N, I, H, W), y (N, O, H, W).

    Each part and the 1x1 projection have O channels, batch normalisation and ReLU.

    Reference: Chen et al. 2017, sec. 3.3, fig. 5.
    """

    def __init__(
        self, in_channels: int, out_channels: int, rates: Sequence[int], dropout: float, *, rng: np.random.Generator
    ):  # fmt: skip
        parts = [conv_norm(in_channels, out_channels, rng=rng)]
        parts += [conv_norm(in_channels, out_channels, 3, rate, rng=rng) for rate in rates]
        self.convs = Concat(*parts, ImagePooling(in_channels, out_channels, rng=rng))
        project = conv_norm(len(self.convs.branches) * out_channels, out_channels, rng=rng)
        self.project = Sequential(*project, Dropout(dropout, rng=rng.spawn(1)[0]))
        self.body = Sequential(self.convs, self.project)

    def children(self):
        """convs and project, torchvision's names."""
        return ((name, getattr(self, name)) for name in ("convs", "project"))

    def forward(self, x, training=True):
        return self.body.forward(x, training)

    def backward(self, dy, cache):
        return self.body.backward(dy, cache)


class DeepLabV3(FCNResNet):
    """images (N, 3, H, W) to logits (N, classes, H, W); an FCNResNet with another classifier.

    ASPP to 4 width channels on layer4, 3x3 to as many, batch normalisation, ReLU, 1x1 to the classes, interpolation.
    output_stride: 16 or 8 pixels a cell of layer4; `rates` are those at 16. multi_grid: see ResNet; (1, 2, 4) in the
    paper's best network, (1, 1, 1) in torchvision's. auxiliary: as in FCNResNet. frozen_norms: batch normalisations
    hold their running statistics, scales and shifts (sec. 4.1, "freeze batch normalization parameters"). Names are
    torchvision's.
    """

    smallest_batch = 2  # ImagePooling's

    def __init__(
        self, classes: int, *, width: int = 64, blocks: Sequence[int] = BLOCKS["resnet50"], output_stride: int = 8,
        rates: Sequence[int] = RATES, multi_grid: Sequence[int] = (1, 1, 1), auxiliary: bool = True,
        dropout: float = 0.5, frozen_norms: bool = False, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width)
        if output_stride not in WITHOUT_STRIDE:
            raise ValueError(f"DeepLabV3: output_stride must be 16 or 8, got {output_stride!r}")
        self.backbone = ResNet(blocks, width, WITHOUT_STRIDE[output_stride], multi_grid, rng=rng)
        rates, channels = [rate * 16 // output_stride for rate in rates], self.backbone.channels
        self.classifier = Sequential(
            ASPP(channels["layer4"], 4 * width, rates, dropout, rng=rng),
            *conv_norm(4 * width, 4 * width, 3, rng=rng), Conv2d(4 * width, classes, 1, rng=rng),
        )  # fmt: skip
        self.aux_classifier = None
        if auxiliary:
            inside = conv_norm(channels["layer3"], 4 * width, 3, rng=rng)
            self.aux_classifier = Sequential(
                *inside, Dropout(0.1, rng=rng.spawn(1)[0]), Conv2d(4 * width, classes, 1, rng=rng)
            )
        if frozen_norms:
            hold_norms(self)


def hold_norms(network: Layer):
    """Batch normalisations use and keep their running statistics, and their scales and shifts are not trained."""
    for _, layer in network.layers():
        if isinstance(layer, BatchNorm2d):
            layer.frozen = True
            layer.weight.trainable = layer.bias.trainable = False


@dataclass(frozen=True)
class Options(PixelOptions):
    """torchvision's network."""

    short_side: int = 520
    max_side: int = 1040
    width: int = 64  # channels of the backbone's first convolution
    blocks: tuple[int, ...] = BLOCKS["resnet50"]  # bottlenecks in each of its four stages
    output_stride: Literal[16, 8] = 8  # pixels a cell of layer4
    rates: tuple[int, ...] = RATES  # dilations of the pyramid at an output stride of 16
    multi_grid: tuple[int, ...] = (1, 1, 1)  # factors of the dilations of layer4's first three blocks
    auxiliary: bool = True  # whether a second classifier on layer3 has a loss, too
    dropout: float = 0.5  # share of elements dropped after the pyramid, in training
    frozen_norms: bool = False  # whether batch normalisations hold their statistics, scales and shifts


@dataclass(frozen=True)
class Options101(Options):
    """On ResNet-101."""

    blocks: tuple[int, ...] = BLOCKS["resnet101"]


@dataclass(frozen=True)
class Stride16Options(Options101):
    """The paper's best network, first stage (table 5, sec. 4.1): multi-grid, one classifier, no dropout."""

    output_stride: Literal[16, 8] = 16  # pixels a cell of layer4
    multi_grid: tuple[int, ...] = (1, 2, 4)  # factors of the dilations of layer4's first three blocks
    auxiliary: bool = False  # whether a second classifier on layer3 has a loss, too
    dropout: float = 0.0  # share of elements dropped after the pyramid, in training


@dataclass(frozen=True)
class Stride8Options(Stride16Options):
    """Its second stage."""

    output_stride: Literal[16, 8] = 8  # pixels a cell of layer4
    frozen_norms: bool = True  # whether batch normalisations hold their statistics, scales and shifts


@dataclass(frozen=True)
class SmallOptions(Options):
    """Narrow, with one bottleneck a stage, for generated scenes and CPUs."""

    short_side: int = 128
    max_side: int = 160
    width: int = 8
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    auxiliary: bool = False
    dropout: float = 0.1


# Sec. 4: "poly", rate 0.007, batches of 16, crops of 513 x 513 of pictures scaled by 0.5 to 2 and mirrored, 30,000
# steps (45 epochs of VOC's 10,582 images). Second stage: rate 0.001, 30,000 steps on trainval (165 epochs of 2,913
# images). The paper gives no weight decay.
RECIPE = {
    "data": "voc", "epochs": 45, "batch_size": 16, "lr": 0.007, "weight_decay": 1e-4, "schedule": "polynomial",
    "warm_up": 0, "clip_norm": 0.0, "zoom": [0.5, 2.0], "crop": [513, 513],
}  # fmt: skip
DENSER = RECIPE | {"epochs": 165, "lr": 0.001, "after": "deeplabv3_stride16"}
SMALL = ON_SHAPES | {"epochs": 2}
TABLE = {"system": "DeepLab v3", "paper": "Chen et al. 2017, arXiv:1706.05587"}
TINY = Tiny({"width": 1, "blocks": [1, 1, 1, 1], "rates": [1]}, size=(32, 32))
TINY_16 = Tiny({"width": 1, "blocks": [1, 1, 1, 1], "rates": [1], "output_stride": 16}, size=(32, 32))
TINY_GRID = Tiny({"width": 1, "blocks": [1, 1, 1, 2], "rates": [1]}, size=(32, 32))
TINY_SMALL = Tiny({"width": 1, "rates": [1, 2]}, scenes=3)


@register(
    "deeplabv3_small", "segmentation", SMALL, options=SmallOptions, tiny=TINY_SMALL,
    figures="mIoU 0.905 on generated scenes", **TABLE,
)  # fmt: skip
@register("deeplabv3_stride8", "segmentation", DENSER, options=Stride8Options, tiny=TINY_GRID, **TABLE)
@register("deeplabv3_stride16", "segmentation", RECIPE, options=Stride16Options, tiny=TINY_GRID, **TABLE)
@register("deeplabv3_resnet101", "segmentation", RECIPE, options=Options101, tiny=TINY_16, **TABLE)
@register("deeplabv3_resnet50", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def deeplab_v3(classes, options: Options, rng: np.random.Generator) -> AuxiliaryClassifier:
    """torchvision's networks, whose checkpoints load with --pretrained, and the paper's.

    For 21 classes 42,004,074 parameters on ResNet-50, 60,996,202 on ResNet-101.
    """
    o = options
    network = DeepLabV3(
        len(classes), width=o.width, blocks=o.blocks, output_stride=o.output_stride, rates=o.rates,
        multi_grid=o.multi_grid, auxiliary=o.auxiliary, dropout=o.dropout, frozen_norms=o.frozen_norms, rng=rng,
    )  # fmt: skip
    return AuxiliaryClassifier(network, classes, options)
