"""SegNet-Basic, and the decoders that the SegNet paper compares, all behind the same encoder.

Reference: Badrinarayanan, Kendall and Cipolla 2017, arXiv:1511.00561, sec. 3.1 and table 1.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, LocalResponseNorm, MaxPool2d, ReLU, Sequential
from nn.containers import backward_wanted, lowest_trainable
from nn.layer import check_shape, positive
from vision.preprocess import IMAGENET_MEAN
from vision.registry import Tiny, register
from vision.segmentation.pixel_classifier import ON_SHAPES, ClassWeights, PixelClassifier, PixelNetwork, PixelOptions
from vision.segmentation.segnet import TABLE
from vision.segmentation.unpooling import MODES, BilinearDeconv2d, Mode, Unpool2d


class Variant(NamedTuple):
    """What a decoder is made of."""

    upsampling: str  # "unpool": to the maxima's positions; "bilinear": fixed; "deconv": learned, bilinear at first
    filters: str | None  # convolutions that follow: "multi-channel", "single-channel" or None
    addition: bool  # of the encoder's pooled map of the same size
    reduction: bool  # of the encoder's maps to one channel a class, by 1x1 convolutions


DECODERS = {
    "bilinear": Variant("bilinear", None, addition=False, reduction=True),
    "segnet": Variant("unpool", "multi-channel", addition=False, reduction=False),
    "segnet_addition": Variant("unpool", "multi-channel", addition=True, reduction=False),
    "segnet_single_channel": Variant("unpool", "single-channel", addition=False, reduction=False),
    "fcn": Variant("deconv", None, addition=True, reduction=True),
    "fcn_no_addition": Variant("deconv", None, addition=False, reduction=True),
    "fcn_no_reduction": Variant("deconv", None, addition=True, reduction=False),
    "fcn_no_addition_no_reduction": Variant("deconv", None, addition=False, reduction=False),
}


class Cache(NamedTuple):
    """The caches of the layers, level by level; of the decoders from the deepest."""

    norm: Any
    encoders: list
    pools: list
    reduced: dict[int, Any]
    ups: list
    filters: list
    classifier: Any


class SegNetBasic(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W): four encoders, and four decoders of one of the DECODERS.

    Encoder: 7x7 convolution to `width` channels, batch normalisation, ReLU, 2x2 max pooling (odd sizes round up).
    Decoder: upsampling by 2, then the variant's filters, no ReLU, then the addition of the pooled map of that size,
    if the variant has these (the last decoder gives the image's size, at which nothing was pooled). All convolutions,
    reductions and transposed ones too, are batch-normalised and without bias; only the 1x1 classifier is not. Local
    response normalisation comes first, as in the authors' code (the paper: local contrast normalisation), for pixels
    of 0 .. 255.

    The variants are those of table 1: "segnet" is SegNet-Basic, "_addition" its EncoderAddition, "_single_channel" its
    SingleChannelDecoder; "bilinear"; "fcn" is FCN-Basic, with 8x8 transposed convolutions, also without addition,
    without reduction (of the encoder's channels to the classes), without both. If the maps are reduced, the last one
    is the scores; else a 1x1 convolution follows. The paper does not tell what the bilinear variant interpolates: here
    it is scores, four times by 2, as its forward pass takes as long as FCN-Basic's.

    unpool: how the "segnet" decoders upsample, see Unpool2d: "max" is the paper's; of "nearest" and "bed_of_nails" it
    says that they "performed quite poorly". kernel_size: odd.
    """

    def __init__(
        self, classes: int, decoder: str = "segnet", width: int = 64, kernel_size: int = 7, depth: int = 4,
        unpool: Mode = "max", *, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, kernel_size=kernel_size, depth=depth)
        if decoder not in DECODERS:
            raise ValueError(f"SegNetBasic: decoder must be one of {', '.join(DECODERS)}, got {decoder!r}")
        if unpool not in MODES:
            raise ValueError(f"SegNetBasic: unpool must be one of {', '.join(MODES)}, got {unpool!r}")
        if kernel_size % 2 == 0:
            raise ValueError(f"SegNetBasic: kernel_size must be odd, got {kernel_size}")
        self.variant = variant = DECODERS[decoder]

        def filters(inputs, outputs, groups=1):
            conv = Conv2d(inputs, outputs, kernel_size, 1, kernel_size // 2, groups=groups, bias=False, rng=rng)
            return conv, BatchNorm2d(outputs)

        def reduction():
            return Conv2d(width, classes, 1, bias=False, rng=rng), BatchNorm2d(classes)

        self.norm = LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.pool = MaxPool2d(2, ceil_mode=True, return_indices=True)
        self.encoders = [Sequential(*filters(c, width), ReLU()) for c in [3] + (depth - 1) * [width]]
        inside = classes if variant.reduction else width
        used = range(depth) if variant.addition else [depth - 1]  # which pooled maps go to the decoders
        self.reduce = [
            Sequential(*reduction()) if variant.reduction and i in used else Sequential() for i in range(depth)
        ]

        def decoder_layers():
            if variant.upsampling == "bilinear":
                return Unpool2d("bilinear"), Sequential()
            if variant.upsampling == "deconv":
                return BilinearDeconv2d(inside, 8), Sequential(BatchNorm2d(inside))
            groups = width if variant.filters == "single-channel" else 1
            return Unpool2d(unpool), Sequential(*filters(width, width, groups))

        self.ups, self.filters = map(list, zip(*(decoder_layers() for _ in range(depth))))
        self.classifier = Sequential() if variant.reduction else Conv2d(width, classes, 1, rng=rng)

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        x, c_norm = self.norm.forward(x, training)
        cache, pooled = Cache(c_norm, [], [], {}, [], [], None), []
        for encoder in self.encoders:
            x, c = encoder.forward(x, training)
            cache.encoders.append(c)
            size = x.shape[2:]
            (x, indices), c = self.pool.forward(x, training)
            cache.pools.append(c)
            pooled.append((x, indices, size))
        deepest = len(pooled) - 1
        x, cache.reduced[deepest] = self.reduce[deepest].forward(x, training)
        for i, up, filters in zip(reversed(range(deepest + 1)), self.ups, self.filters):
            x, c = up.forward(x, *pooled[i][1:], training)
            cache.ups.append(c)
            x, c = filters.forward(x, training)
            cache.filters.append(c)
            if i and self.variant.addition:
                skip, cache.reduced[i - 1] = self.reduce[i - 1].forward(pooled[i - 1][0], training)
                x = x + skip
        y, c_classifier = self.classifier.forward(x, training)
        return y, cache._replace(classifier=c_classifier)

    def backward(self, dy, cache, images=True):
        dx, dpooled = self.classifier.backward(dy, cache.classifier), {}
        deepest = len(self.encoders) - 1
        for i, up, filters, c_up, c in zip(
            range(deepest + 1), self.ups[::-1], self.filters[::-1], cache.ups[::-1], cache.filters[::-1]
        ):
            if i and self.variant.addition:
                dpooled[i - 1] = self.reduce[i - 1].backward(dx, cache.reduced[i - 1])  # x + skip
            dx, _ = up.backward(filters.backward(dx, c), c_up)
        dx = self.reduce[deepest].backward(dx, cache.reduced[deepest])
        lowest = 0 if images else lowest_trainable(self.encoders)
        for i in reversed(range(lowest, deepest + 1)):
            if i in dpooled:
                dx = dx + dpooled[i]  # the pooled map forks: gradients add up
            dx = self.pool.backward(dx, cache.pools[i])
            dx = backward_wanted(self.encoders[i], dx, cache.encoders[i], images or i > lowest)
        return self.norm.backward(dx, cache.norm) if images else None

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)


@dataclass(frozen=True)
class Options(PixelOptions):
    """SegNet-Basic as published, on CamVid. Pixels are left as they are, for local response normalisation to divide."""

    short_side: int = 360
    max_side: int = 480
    mean: float | tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: float | tuple[float, float, float] = (1.0, 1.0, 1.0)
    class_weights: ClassWeights = "median"
    loss_divisor: Literal["weights", "pixels"] = "pixels"  # the authors' Caffe; with CamVid's weights half the scale
    decoder: Literal[tuple(DECODERS)] = "segnet"  # a row of table 1
    width: int = 64  # channels of all convolutions
    kernel_size: int = 7  # kernel size of all convolutions, odd
    depth: int = 4  # poolings
    unpool: Mode = "max"  # how the "segnet" decoders upsample, see Unpool2d


@dataclass(frozen=True)
class SmallOptions(Options):
    """Narrow, for generated scenes and CPUs.

    Images are centred, as the paper's local contrast normalisation does it: pixels above 0, which local response
    normalisation leaves so, were learned far more slowly.
    """

    short_side: int = 64
    max_side: int = 80
    mean: float | tuple[float, float, float] = IMAGENET_MEAN
    class_weights: ClassWeights = None
    loss_divisor: Literal["weights", "pixels"] = "weights"  # weights added up, or counted pixels
    width: int = 24
    kernel_size: int = 5
    depth: int = 3


# Sec. 3.2: batches of 12, a fixed rate of 0.1; the authors' segnet_basic_solver.prototxt has weight decay 0.0005 and
# 10,000 batches, 322 epochs of CamVid's 367 images.
RECIPE = {
    "data": "camvid", "epochs": 322, "batch_size": 12, "lr": 0.1, "weight_decay": 0.0005, "schedule": "constant",
    "warm_up": 0, "clip_norm": 0.0, "bias_rate": 2.0,
}  # fmt: skip
TINY = Tiny({"width": 2, "kernel_size": 3, "class_weights": None}, scenes=1, size=(32, 32))
TINY_SMALL = Tiny({"width": 2, "decoder": "fcn"}, scenes=1, size=(32, 32))


@register("segnet_basic_small", "segmentation", ON_SHAPES, options=SmallOptions, tiny=TINY_SMALL, **TABLE)
@register("segnet_basic", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def segnet_basic(classes, options: Options, rng: np.random.Generator) -> PixelClassifier:
    """SegNet-Basic and its variants by `decoder`; in the paper 0.625 to 1.625 million parameters."""
    o = options
    network = SegNetBasic(len(classes), o.decoder, o.width, o.kernel_size, o.depth, o.unpool, rng=rng)
    return PixelClassifier(network, classes, options)
