"""DeepLab v1 and v2: VGG-16 whose last poolings keep the size, its convolutions spread instead, "with holes" (à trous).

Reference: Chen et al. 2015, Semantic image segmentation with deep convolutional nets and fully connected CRFs,
arXiv:1412.7062 (v1); Chen et al. 2017, DeepLab, arXiv:1606.00915 (v2).
"""

from typing import Any, NamedTuple

import numpy as np

from nn import AvgPool2d, BatchNorm2d, Conv2d, Dropout, MaxPool2d, ReLU, Sequential
from nn.layer import Layer, check_shape, positive
from vision.backbones.vgg import VGG
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.encoder_decoder import freeze_cancelled, widened
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS
from vision.segmentation.refinement import REFINEMENT, RefinedClassifier
from vision.segmentation.unpooling import cut_to, uncut_to

STRIDE = 8
LARGE_FOV, ASPP_L = (12,), (6, 12, 18, 24)  # v1, table 2; v2, sec. 4.1.2


class Cache(NamedTuple):
    """The caches of features and of each branch."""

    features: Any
    branches: list


class DeepLab(Layer):
    """images (N, 3, H, W) to logits (N, classes, H, W): scores at a stride of 8 pixels, interpolated.

    `features` are VGG-16's layers under torchvision's numbers. Poolings are 3x3 with padding 1 (so that cell i lies at
    pixel 8 i); the last two have stride 1, and the convolutions after the fourth have dilation 2: as many weights, the
    same field of view, denser maps. average: a 3x3 average pooling of stride 1 behind the last one, as in the authors'
    v1. Then one branch for each of `rates`, their scores added up:

        3x3 with dilation `rate` to `hidden` channels ("fc6"), 1x1 to as many ("fc7"), 1x1 to the classes ("fc8")

    with ReLU and dropout after the first two; score layers start at 0.01 times normal numbers. One rate of 12 is v1's
    LargeFOV, 6, 12, 18, 24 are v2's atrous spatial pyramid pooling (ASPP-L). width: channels of the first convolution;
    batch_norm: before each ReLU, for training from random weights.

    Reference: Chen et al. 2015, sec. 3.1, 3.2, table 2; Chen et al. 2017, sec. 3.1, 3.2, fig. 7; the authors'
    train.prototxt of DeepLab-LargeFOV and of DeepLabv2_VGG16.
    """

    def __init__(
        self, classes: int, rates: tuple[int, ...] = ASPP_L, *, width: int = 64, hidden: int = 1024,
        dropout: float = 0.5, average: bool = False, batch_norm: bool = False, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, hidden=hidden)
        if not rates:
            raise ValueError("DeepLab: at least one rate is needed, got none")
        for rate in rates:
            positive(self, rate=rate)
        layers = freeze_cancelled(VGG(widened(width), batch_norm=batch_norm, rng=rng).features)
        end = [AvgPool2d(3, stride=1, padding=1)] if average else []
        self.features = Sequential(*with_holes(layers), *end)

        def part(inputs, kernel_size, rate=1):
            padding = rate * (kernel_size // 2)
            conv = Conv2d(inputs, hidden, kernel_size, 1, padding, rate, bias=not batch_norm, rng=rng)
            norm = [BatchNorm2d(hidden)] if batch_norm else []
            return conv, *norm, ReLU(), Dropout(dropout, rng=rng.spawn(1)[0])

        self.branches = [
            Sequential(*part(8 * width, 3, rate), *part(hidden, 1), Conv2d(hidden, classes, 1, rng=rng))
            for rate in rates
        ]
        for branch in self.branches:
            weight = branch[len(branch) - 1].weight.value
            weight[...] = 0.01 * rng.standard_normal(weight.shape)
        self.enlarge = Enlarge(STRIDE, "points")

    def forward(self, x, training=True):
        scores, c_scores = self.scores(x, training)
        logits, c_enlarge = self.enlarge.forward(scores, x.shape[2:], training)
        return logits, (c_scores, c_enlarge)

    def backward(self, dy, cache):
        c_scores, c_enlarge = cache
        return self.scores_backward(self.enlarge.backward(dy, c_enlarge), c_scores)

    def scores(self, x, training=True):
        """(scores (N, classes, h, w), cache), those of pixels 0, 8, 16, ... and, where 8 does not fit, one beyond."""
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        features, c_features = self.features.forward(x, training)
        parts, caches = zip(*(branch.forward(features, training) for branch in self.branches))
        return sum(parts), Cache(c_features, caches)

    def scores_backward(self, dy, cache):
        """The gradient of the images from that of `scores`."""
        dfeatures = sum(branch.backward(dy, c) for branch, c in zip(self.branches, cache.branches))  # they fork
        return self.features.backward(dfeatures, cache.features)


def with_holes(layers: Sequential) -> list[Layer]:
    """VGG's layers with 3x3 poolings, the fourth and fifth of stride 1, and dilation 2 behind the fourth."""
    pools, changed = 0, []
    for layer in layers:
        if isinstance(layer, MaxPool2d):
            pools += 1
            layer = MaxPool2d(3, stride=2 if pools <= 3 else 1, padding=1, ceil_mode=pools <= 3)
        elif isinstance(layer, Conv2d) and pools == 4:
            layer.geometry = layer.geometry._replace(padding=(2, 2), dilation=(2, 2))
        changed.append(layer)
    return changed


class DeepLabClassifier(RefinedClassifier):
    """DeepLab with its loss. Option subsampled: it is that of every 8th pixel, where scores need no interpolation.

    Reference: Chen et al. 2015, sec. 3.2 ("the output map (subsampled by 8 compared to the original image)").
    """

    def loss(self, batch, rng: np.random.Generator):
        if not self.hyperparameters["subsampled"]:
            return super().loss(batch, rng)
        images, *maps = batch
        scores, c_scores = self.network.scores(images)
        maps = [each[:, ::STRIDE, ::STRIDE] for each in maps]
        pixels, dlogits = self.pixel_loss(cut_to(scores, maps[0].shape[1:]), *maps)
        return {"pixels": pixels}, (c_scores, uncut_to(dlogits, scores.shape))

    def backward(self, cache):
        if not self.hyperparameters["subsampled"]:
            return super().backward(cache)
        c_scores, dscores = cache
        return self.network.scores_backward(dscores, c_scores)


# v2's, sec. 4.1.2, for both: "poly", 20,000 batches of 10 (19 epochs of VOC's 10,582 images), rate 0.001, momentum 0.9,
# weight decay 0.0005. v1 itself (sec. 4) takes batches of 20 and divides the rate by 10 every 2,000 of 6,000 steps. In
# both papers score layers learn ten times as fast; that all layers learn alike is ours.
RECIPE = {
    "data": "voc", "epochs": 19, "batch_size": 10, "lr": 0.001, "weight_decay": 0.0005, "schedule": "polynomial",
    "warm_up": 0, "clip_norm": 0.0, "crop": [321, 321],
}  # fmt: skip
SMALL = ON_SHAPES | {"epochs": 2, "lr": 0.002}
OWN = {
    "width": 64, "hidden": 1024, "dropout": 0.5, "average": False, "batch_norm": False, "subsampled": True,
    "short_side": 375, "max_side": 500, "mean": (122.675, 116.669, 104.008), "std": (1.0, 1.0, 1.0), "crf": True,
}  # fmt: skip
# The CRF's numbers (see refinement.py) in the authors' scripts, found by cross-validation: those of their
# vgg128_noup_pool3_20M_largewin3, which is DeepLab-LargeFOV, and of DeepLabv2_VGG16.
CRF_V1 = {"crf_gaussian": (3.0, 3.0), "crf_bilateral": (4.0, 121.0, 5.0)}
CRF_V2 = {"crf_gaussian": (2.0, 2.0), "crf_bilateral": (4.0, 65.0, 3.0)}
OWN_SMALL = OWN | {
    "width": 8, "hidden": 64, "dropout": 0.1, "batch_norm": True, "subsampled": False, "short_side": 128,
    "max_side": 160, "mean": OPTIONS["mean"], "std": OPTIONS["std"], "crf": False,
}  # fmt: skip


def _made(name, classes, rng, options, own):
    options = complete(name, options, **OPTIONS | REFINEMENT | own)
    words = ("rates", "width", "hidden", "dropout", "average", "batch_norm")
    network = DeepLab(len(classes), **{word: options[word] for word in words}, rng=rng)
    return DeepLabClassifier(network, classes, options)


@register("deeplab_v1", "segmentation", recipe=RECIPE)
def deeplab_v1(classes, rng: np.random.Generator, **options) -> DeepLabClassifier:
    """DeepLab-CRF-LargeFOV on VGG-16: 20,505,429 parameters for VOC's 21 classes."""
    return _made("deeplab_v1", classes, rng, options, OWN | CRF_V1 | {"rates": LARGE_FOV, "average": True})


@register("deeplab_v2", "segmentation", recipe=RECIPE)
def deeplab_v2(classes, rng: np.random.Generator, **options) -> DeepLabClassifier:
    """DeepLab v2 with ASPP-L on VGG-16: 37,877,652 parameters for VOC's 21 classes."""
    return _made("deeplab_v2", classes, rng, options, OWN | CRF_V2 | {"rates": ASPP_L})


@register("deeplab_v1_small", "segmentation", recipe=SMALL)
def deeplab_v1_small(classes, rng: np.random.Generator, **options) -> DeepLabClassifier:
    """A narrow DeepLab v1 with batch normalisation and the loss of all pixels, for generated scenes and CPUs."""
    return _made("deeplab_v1_small", classes, rng, options, OWN_SMALL | {"rates": LARGE_FOV, "average": True})


@register("deeplab_v2_small", "segmentation", recipe=SMALL)
def deeplab_v2_small(classes, rng: np.random.Generator, **options) -> DeepLabClassifier:
    """The same with atrous spatial pyramid pooling."""
    return _made("deeplab_v2_small", classes, rng, options, OWN_SMALL | {"rates": ASPP_L})
