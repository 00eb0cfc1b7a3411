"""The multi-scale convolutional network: the same weights on three bands of a Laplacian pyramid.

Reference: Farabet, Couprie, Najman and LeCun 2013, Learning hierarchical features for scene labeling, IEEE Transactions
on Pattern Analysis and Machine Intelligence 35 (8), doi:10.1109/TPAMI.2012.231.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, MaxPool2d, Sequential, Tanh
from nn.containers import backward_wanted
from nn.dispatch import array_module
from nn.layer import check_shape, positive
from vision.registry import Tiny, register
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.laplacian_pyramid import LaplacianPyramid, LocalContrastNorm
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelNetwork
from vision.segmentation.purity_classifier import PurityClassifier, PurityOptions


class Cache(NamedTuple):
    """The caches of the layers; bands, net and enlarge by scale."""

    pyramid: Any
    norm: list
    net: list
    enlarge: list
    classifier: Any
    last: Any


class MultiScaleNet(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W).

    Each band of a Laplacian pyramid of `scales` levels is normalised locally and goes through the same network: k x k
    to `width` channels, tanh, 2x2 max pooling, k x k to 4 width, tanh, 2x2 max pooling, k x k to 16 width; k =
    kernel_size, zeros around. The maps of the coarser bands are enlarged to the finest one's size and stacked on it:
    16 width scales channels for every 4 x 4 pixels. With k = 7 those of the coarsest band depend on 46 2^(scales - 1)
    pixels of the image along each axis. Two 1x1 convolutions with `hidden` channels and tanh between classify them; the
    scores are enlarged to the image's size.

    Differences to the paper (width 16: 16, 64 and 256 channels, 3 scales, 768 channels): there images are YUV, 10 of
    the first filters see Y, 6 see U and V, the second convolution sees 8 and the third 32 channels of its input, drawn
    at random; here images are RGB, and all filters see all channels. There the features are learned first, under a
    linear classifier, then the two-layer one on them, and images are mirrored, rotated by up to 8 degrees and scaled by
    0.9 to 1.1; here everything is learned at once, and images are changed as scripts.train is told to.

    Reference: Farabet et al. 2013, sec. 3.1, 5.
    """

    def __init__(
        self, classes: int, *, width: int = 16, kernel_size: int = 7, scales: int = 3, hidden: int = 1024,
        rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, kernel_size=kernel_size, scales=scales, hidden=hidden)
        if kernel_size % 2 == 0:
            raise ValueError(f"MultiScaleNet: kernel_size must be odd, got {kernel_size}")
        channels = (3, width, 4 * width, 16 * width)
        convs = [Conv2d(a, b, kernel_size, padding=kernel_size // 2, rng=rng) for a, b in pairwise(channels)]
        pool = MaxPool2d(2, ceil_mode=True)
        self.net = Sequential(convs[0], Tanh(), pool, convs[1], Tanh(), pool, convs[2])
        self.feature_channels = scales * channels[-1]
        self.classifier = Sequential(
            Conv2d(self.feature_channels, hidden, 1, rng=rng), Tanh(), Conv2d(hidden, classes, 1, rng=rng)
        )
        self.pyramid, self.norm = LaplacianPyramid(scales), LocalContrastNorm()
        self.enlarge, self.last = [Enlarge(2**scale) for scale in range(scales)], Enlarge(4)

    def features(self, x, training=True):
        """(maps (N, feature_channels, about H / 4, about W / 4), cache): what the classifier sees."""
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        bands, c_pyramid = self.pyramid.forward(x, training)
        cache, maps = Cache(c_pyramid, [], [], [], None, None), []
        for band, enlarge in zip(bands, self.enlarge):
            band, c_norm = self.norm.forward(band, training)
            y, c_net = self.net.forward(band, training)
            size = maps[0].shape[2:] if maps else y.shape[2:]
            y, c_enlarge = enlarge.forward(y, size, training)
            maps.append(y)
            for caches, c in zip(cache[1:4], (c_norm, c_net, c_enlarge)):
                caches.append(c)
        return array_module(x).concatenate(maps, axis=1), cache

    def forward(self, x, training=True):
        maps, cache = self.features(x, training)
        small, c_classifier = self.classifier.forward(maps, training)
        logits, c_last = self.last.forward(small, x.shape[2:], training)
        return logits, cache._replace(classifier=c_classifier, last=c_last)

    def backward(self, dy, cache, images=True):
        dmaps = self.classifier.backward(self.last.backward(dy, cache.last), cache.classifier)
        dmaps, dbands = array_module(dy).split(dmaps, len(self.enlarge), axis=1), []
        for dmap, enlarge, c_norm, c_net, c_enlarge in zip(dmaps, self.enlarge, *cache[1:4]):
            dy = enlarge.backward(dmap, c_enlarge)
            dband = backward_wanted(self.net, dy, c_net, images)  # adds to the same weights each time
            if images:
                dbands.append(self.norm.backward(dband, c_norm))
        return self.pyramid.backward(dbands, cache.pyramid) if images else None

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)


@dataclass(frozen=True)
class Options(PurityOptions):
    """The paper's channels. Its labels, by the optimal cover, are those of purity=1024 superpixels=cover."""

    short_side: int = 240
    max_side: int = 320
    width: int = 16  # channels of the first convolution
    kernel_size: int = 7  # kernel size of all convolutions, odd
    scales: int = 3  # levels of the pyramid
    hidden: int = 1024  # channels of the classifier's first layer


@dataclass(frozen=True)
class SmallOptions(Options):
    """Narrow, for generated scenes and CPUs."""

    short_side: int = 128
    max_side: int = 160
    width: int = 6
    kernel_size: int = 5
    hidden: int = 64


# Sec. 5: stochastic gradient descent, one sample a step, weight decay 1e-5; rate, schedule and length are ours.
RECIPE = {
    "data": "camvid", "epochs": 100, "batch_size": 1, "lr": 0.01, "momentum": 0.0, "weight_decay": 1e-5,
    "schedule": "polynomial", "warm_up": 0,
}  # fmt: skip
SMALL = ON_SHAPES | {"epochs": 5}
TABLE = {"system": "Multi-scale network", "paper": "Farabet et al. 2013, doi:10.1109/TPAMI.2012.231"}
TINY = Tiny({"width": 1, "hidden": 3, "kernel_size": 3}, scenes=1)
TINY_SMALL = Tiny({"width": 1, "hidden": 3, "scales": 2}, scenes=1)


@register(
    "multiscale_small", "segmentation", SMALL, options=SmallOptions, tiny=TINY_SMALL,
    figures="mIoU 0.875 on generated scenes", **TABLE,
)  # fmt: skip
@register("multiscale", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def multiscale(classes, options: Options, rng: np.random.Generator) -> PurityClassifier:
    """The multi-scale network."""
    o = options
    network = MultiScaleNet(
        len(classes), width=o.width, kernel_size=o.kernel_size, scales=o.scales, hidden=o.hidden, rng=rng
    )  # fmt: skip
    return PurityClassifier(network, classes, options, rng)
