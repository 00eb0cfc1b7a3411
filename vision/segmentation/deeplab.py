"""DeepLab v1 and v2: VGG-16 whose last poolings keep the size; its convolutions have "holes" (à trous) instead.

Reference: Chen et al. 2015, Semantic image segmentation with deep convolutional nets and fully connected CRFs,
arXiv:1412.7062 (v1); Chen et al. 2017, DeepLab, arXiv:1606.00915 (v2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import AvgPool2d, BatchNorm2d, Conv2d, Dropout, ReLU, Sequential
from nn.containers import backward_wanted
from nn.layer import check_shape, positive
from vision.backbones import VGG, freeze_cancelled, vgg16_plan
from vision.backbones.convolutional import convolutional, decimated
from vision.registry import Tiny, register
from vision.segmentation.cropping import cut_to, uncut_to
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelNetwork
from vision.segmentation.refinement import RefinedClassifier, RefinedOptions

STRIDE = 8
LARGE_FOV, ASPP_L = (12,), (6, 12, 18, 24)  # v1, table 2; v2, sec. 4.1.2


class Cache(NamedTuple):
    """The caches of the backbone, of the average pooling and of each branch."""

    backbone: Any
    average: Any
    branches: list


class DeepLab(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W): scores at a stride of 8 pixels, interpolated.

    The backbone is VGG-16 with torchvision's names, at an output stride of 8. Poolings are 3x3 with padding 1 (so that
    cell i lies at pixel 8 i); the last two have stride 1, and the convolutions after the fourth have dilation 2: the
    same weights and field of view, but denser maps. average: a 3x3 average pooling of stride 1 behind the last one, as
    in the authors' v1. One branch for each of `rates` follows; their scores are added:

        3x3 with dilation `rate` to `hidden` channels (fc6), 1x1 to as many (fc7), 1x1 to the classes (fc8)

    with ReLU and dropout after the first two. The published weights of VGG-16 fit: those of fc6 and fc7 are decimated,
    the same for all branches. Score layers start at 0.01 times standard normal values. One rate of 12 is v1's LargeFOV;
    6, 12, 18, 24 are v2's atrous spatial pyramid pooling (ASPP-L). width: channels of the first convolution;
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
        plan, holes = vgg16_plan(width), {"pool_size": 3, "ceil_mode": True, "output_stride": STRIDE}
        self.backbone = VGG(plan, batch_norm=batch_norm, **holes, rng=rng)
        freeze_cancelled(self.backbone.body)
        self.average = Sequential(*[AvgPool2d(3, stride=1, padding=1)] * average)

        def part(inputs, kernel_size, rate=1):
            padding = rate * (kernel_size // 2)
            conv = Conv2d(inputs, hidden, kernel_size, 1, padding, rate, bias=not batch_norm, rng=rng)
            norm = [BatchNorm2d(hidden)] if batch_norm else []
            return Sequential(conv, *norm, ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]))

        channels = self.backbone.out_channels
        self.branches = [
            Sequential(part(channels, 3, rate), part(hidden, 1), Conv2d(hidden, classes, 1, rng=rng)) for rate in rates
        ]
        for _, _, fc8 in self.branches:
            weight = fc8.weight.value
            weight[...] = 0.01 * rng.standard_normal(weight.shape)
        self.enlarge = Enlarge(STRIDE, "points")

    def children(self):
        """Those of the backbone, average, fc6.N, fc7.N and fc8.N of branch N, and enlarge."""
        yield from self.backbone.children()
        yield "average", self.average
        for i, branch in enumerate(self.branches):
            yield from zip((f"fc6.{i}", f"fc7.{i}", f"fc8.{i}"), branch)
        yield "enlarge", self.enlarge

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of torchvision's VGG-16 for this network: convolutions, and fc6 and fc7 of each branch, decimated.

        classifier.0 is fc6, classifier.3 is fc7. Score layers of the 1000 classes are left out.
        """
        named = convolutional(self.backbone.pretrained_names(arrays))
        for old, new, index in (("classifier.0", "fc6", 0), ("classifier.3", "fc7", 1)):
            weight, bias = (named.pop(f"{old}.{kind}", None) for kind in ("weight", "bias"))
            for i, branch in enumerate(self.branches):
                shape = branch[index][0].weight.value.shape
                if weight is not None:  # fc6 sees the features of the same layer, all of them
                    same = new == "fc7" or weight.shape[1:2] == shape[1:2]
                    named[f"{new}.{i}.0.weight"] = decimated(weight, shape) if same else weight
                if bias is not None:
                    named[f"{new}.{i}.0.bias"] = decimated(bias, shape[:1])
        return named

    def forward(self, x, training=True):
        scores, c_scores = self.scores(x, training)
        logits, c_enlarge = self.enlarge.forward(scores, x.shape[2:], training)
        return logits, (c_scores, c_enlarge)

    def backward(self, dy, cache, images=True):
        c_scores, c_enlarge = cache
        return self.scores_backward(self.enlarge.backward(dy, c_enlarge), c_scores, images)

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)

    def scores(self, x, training=True):
        """(scores (N, classes, h, w), cache) of pixels 0, 8, 16, ..., and of one beyond where 8 does not fit."""
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        features, c_backbone = self.backbone.forward(x, training)
        features, c_average = self.average.forward(features, training)
        parts, caches = zip(*(branch.forward(features, training) for branch in self.branches))
        return sum(parts), Cache(c_backbone, c_average, caches)

    def scores_backward(self, dy, cache, images=True):
        """The gradient of the images from that of `scores`."""
        dfeatures = sum(branch.backward(dy, c) for branch, c in zip(self.branches, cache.branches))  # features fork
        dfeatures = self.average.backward(dfeatures, cache.average)
        return backward_wanted(self.backbone, dfeatures, cache.backbone, images)


class DeepLabClassifier(RefinedClassifier):
    """DeepLab with its loss. Option subsampled: the loss of every 8th pixel, where scores need no interpolation.

    Reference: Chen et al. 2015, sec. 3.2 ("the output map (subsampled by 8 compared to the original image)").
    """

    def loss(self, batch, rng: np.random.Generator, sampled=None):
        if not self.options.subsampled:
            return super().loss(batch, rng)
        images, *maps = batch
        scores, c_scores = self.network.scores(images)
        maps = [each[:, ::STRIDE, ::STRIDE] for each in maps]
        pixels, dlogits = self.pixel_loss(cut_to(scores, maps[0].shape[1:]), *maps)
        return {"pixels": pixels}, (c_scores, uncut_to(dlogits, scores.shape))

    def backward(self, cache):
        if not self.options.subsampled:
            super().backward(cache)
            return
        c_scores, dscores = cache
        self.network.scores_backward(dscores, c_scores, images=False)


@dataclass(frozen=True)
class V1Options(RefinedOptions):
    """DeepLab-CRF-LargeFOV; the CRF's values are those of the authors' vgg128_noup_pool3_20M_largewin3.

    They were found by cross-validation. mean and std are those of torchvision's VGG-16; the authors' std is 1.
    """

    short_side: int = 375
    max_side: int = 500
    crf: bool = True
    crf_bilateral: tuple[float, float, float] = (4.0, 121.0, 5.0)
    rates: tuple[int, ...] = LARGE_FOV  # dilation of each branch's 3x3 convolution
    width: int = 64  # channels of the first convolution
    hidden: int = 1024  # channels of fc6 and fc7
    dropout: float = 0.5  # share of elements dropped after fc6 and fc7, in training
    average: bool = True  # 3x3 average pooling behind the last convolution
    batch_norm: bool = False  # whether batch normalisation stands before each ReLU
    subsampled: bool = True  # the loss is that of every 8th pixel, or else of all


@dataclass(frozen=True)
class V2Options(V1Options):
    """With ASPP-L; the CRF's values are those of the authors' DeepLabv2_VGG16, found by cross-validation."""

    crf_gaussian: tuple[float, float] = (2.0, 2.0)
    crf_bilateral: tuple[float, float, float] = (4.0, 65.0, 3.0)
    rates: tuple[int, ...] = ASPP_L
    average: bool = False


@dataclass(frozen=True)
class V1SmallOptions(V1Options):
    """Narrow, with batch normalisation and the loss of all pixels, for generated scenes and CPUs."""

    short_side: int = 128
    max_side: int = 160
    crf: bool = False
    crf_bilateral: tuple[float, float, float] = (5.0, 50.0, 10.0)
    width: int = 8
    hidden: int = 64
    dropout: float = 0.1
    batch_norm: bool = True
    subsampled: bool = False


@dataclass(frozen=True)
class V2SmallOptions(V1SmallOptions):
    """The same with atrous spatial pyramid pooling."""

    rates: tuple[int, ...] = ASPP_L
    average: bool = False


# Both by v2's, sec. 4.1.2: "poly", 20,000 batches of 10 (19 epochs of VOC's 10,582 images), rate 0.001, momentum 0.9,
# weight decay 0.0005. v1 itself (sec. 4) takes batches of 20 and divides the rate by 10 every 2,000 of 6,000 steps. In
# both papers score layers learn ten times as fast; in the authors' train.prototxt biases twice as fast as weights, too.
RECIPE = {
    "data": "voc", "epochs": 19, "batch_size": 10, "lr": 0.001, "weight_decay": 0.0005, "schedule": "polynomial",
    "warm_up": 0, "clip_norm": 0.0, "crop": [321, 321], "lr_scale": {"fc8": 10.0}, "bias_rate": 2.0,
}  # fmt: skip
SMALL = ON_SHAPES | {"epochs": 2, "lr": 0.002}
V1 = {"system": "DeepLab v1", "paper": "Chen et al. 2015, arXiv:1412.7062"}
V2 = {"system": "DeepLab v2", "paper": "Chen et al. 2017, arXiv:1606.00915"}
TINY_V1 = Tiny({"width": 2, "hidden": 3}, size=(32, 32))
TINY_V2 = Tiny({"width": 2, "hidden": 3, "rates": [1, 2], "subsampled": False}, size=(32, 32))
TINY_V2_SMALL = Tiny({"width": 2, "hidden": 3, "rates": [1, 2], "subsampled": True}, size=(32, 32))


@register(
    "deeplab_v2_small", "segmentation", SMALL, options=V2SmallOptions, tiny=TINY_V2_SMALL,
    figures="mIoU 0.897 on generated scenes", **V2,
)  # fmt: skip
@register("deeplab_v2", "segmentation", RECIPE, options=V2Options, tiny=TINY_V2, **V2)
@register(
    "deeplab_v1_small", "segmentation", SMALL, options=V1SmallOptions, tiny=TINY_V1,
    figures="mIoU 0.874 on generated scenes", **V1,
)  # fmt: skip
@register("deeplab_v1", "segmentation", RECIPE, options=V1Options, tiny=TINY_V1, **V1)
def deeplab(classes, options: V1Options, rng: np.random.Generator) -> DeepLabClassifier:
    """DeepLab on VGG-16: v1 has 20,505,429 parameters for VOC's 21 classes, v2 37,877,652."""
    o = options
    network = DeepLab(
        len(classes), o.rates, width=o.width, hidden=o.hidden, dropout=o.dropout, average=o.average,
        batch_norm=o.batch_norm, rng=rng,
    )  # fmt: skip
    return DeepLabClassifier(network, classes, options)
