"""DeepLab v3: a ResNet without its last strides, and atrous spatial pyramid pooling with the whole image beside it.

Reference: Chen et al. 2017, Rethinking atrous convolution for semantic image segmentation, arXiv:1706.05587;
torchvision.models.segmentation.deeplabv3_resnet50 (names and numbers of the network).
"""

from collections.abc import Sequence

import numpy as np

from nn import AdaptiveAvgPool2d, BatchNorm2d, Concat, Conv2d, Dropout, ReLU, Sequential, Upsample2d
from nn.layer import Layer, positive
from vision.backbones.resnet import BLOCKS, ResNet
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.fcn_resnet import AuxiliaryClassifier, FCNResNet
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS

WITHOUT_STRIDE = {16: (False, False, True), 8: (False, True, True)}  # by output stride
RATES = (6, 12, 18)  # at an output stride of 16; they double at 8 (sec. 3.3)


def conv_norm(in_channels: int, out_channels: int, kernel_size: int = 1, rate: int = 1, *, rng) -> Sequential:
    """A convolution that keeps the size, batch normalisation and ReLU."""
    padding = rate * (kernel_size // 2)
    conv = Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=rate, bias=False, rng=rng)
    return Sequential(conv, BatchNorm2d(out_channels), ReLU())


class ImagePooling(Sequential):
    """y: relu(bn(conv1x1(mean of x over each plane))), the same at every place.    x (N, C, H, W), y (N, O, H, W).

    Batch normalisation sees one number for each image: training takes batches of at least two.

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
    output_stride: 16 or 8 pixels a cell of layer4; `rates` are those at 16. multi_grid: see ResNet, (1, 2, 4) in the
    paper's best, (1, 1, 1) in torchvision's. auxiliary: as in FCNResNet. Names and numbers are torchvision's.
    """

    smallest_batch = 2  # ImagePooling's

    def __init__(
        self, classes: int, *, width: int = 64, blocks: Sequence[int] = BLOCKS["resnet50"], output_stride: int = 8,
        rates: Sequence[int] = RATES, multi_grid: Sequence[int] = (1, 1, 1), auxiliary: bool = True,
        dropout: float = 0.5, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width)
        if output_stride not in WITHOUT_STRIDE:
            raise ValueError(f"DeepLabV3: output_stride must be 16 or 8, got {output_stride!r}")
        self.backbone = ResNet(blocks, width, WITHOUT_STRIDE[output_stride], multi_grid, rng=rng)
        rates = [rate * 16 // output_stride for rate in rates]
        self.classifier = Sequential(
            ASPP(32 * width, 4 * width, rates, dropout, rng=rng), *conv_norm(4 * width, 4 * width, 3, rng=rng),
            Conv2d(4 * width, classes, 1, rng=rng),
        )  # fmt: skip
        self.aux_classifier = None
        if auxiliary:
            inside = conv_norm(16 * width, 4 * width, 3, rng=rng)
            self.aux_classifier = Sequential(
                *inside, Dropout(0.1, rng=rng.spawn(1)[0]), Conv2d(4 * width, classes, 1, rng=rng)
            )


# Sec. 4: "poly", rate 0.007, batches of 16, crops of 513 x 513, 30,000 steps (45 epochs of VOC's 10,582 images).
RECIPE = {
    "data": "voc", "epochs": 45, "batch_size": 16, "lr": 0.007, "weight_decay": 1e-4, "schedule": "polynomial",
    "warm_up": 0, "clip_norm": 0.0, "crop": [513, 513],
}  # fmt: skip
SMALL = ON_SHAPES | {"epochs": 2}
OWN = {
    "width": 64, "blocks": BLOCKS["resnet50"], "output_stride": 8, "rates": RATES, "multi_grid": (1, 1, 1),
    "auxiliary": True, "dropout": 0.5,
}  # fmt: skip


def _made(name, classes, rng, options, own):
    options = complete(name, options, **OPTIONS | OWN | own)
    network = DeepLabV3(len(classes), **{word: options[word] for word in OWN}, rng=rng)
    return AuxiliaryClassifier(network, classes, options)


@register("deeplabv3_resnet50", "segmentation", recipe=RECIPE)
def deeplabv3_resnet50(classes, rng: np.random.Generator, **options) -> AuxiliaryClassifier:
    """torchvision's network: 42,004,074 parameters for 21 classes; its checkpoints load with --pretrained."""
    return _made("deeplabv3_resnet50", classes, rng, options, {"short_side": 520, "max_side": 1040})


@register("deeplabv3_resnet101", "segmentation", recipe=RECIPE)
def deeplabv3_resnet101(classes, rng: np.random.Generator, **options) -> AuxiliaryClassifier:
    """The same on ResNet-101: 60,996,202 parameters."""
    own = {"blocks": BLOCKS["resnet101"], "short_side": 520, "max_side": 1040}
    return _made("deeplabv3_resnet101", classes, rng, options, own)


@register("deeplabv3_small", "segmentation", recipe=SMALL)
def deeplabv3_small(classes, rng: np.random.Generator, **options) -> AuxiliaryClassifier:
    """A narrow one with one bottleneck a stage, for generated scenes and CPUs."""
    own = {
        "width": 8, "blocks": (1, 1, 1, 1), "auxiliary": False, "dropout": 0.1, "short_side": 128, "max_side": 160
    }  # fmt: skip
    return _made("deeplabv3_small", classes, rng, options, own)
