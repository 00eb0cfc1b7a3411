"""The multi-scale convolutional network: the same weights on three bands of a Laplacian pyramid.

Reference: Farabet, Couprie, Najman and LeCun 2013, Learning hierarchical features for scene labeling, IEEE Transactions
on Pattern Analysis and Machine Intelligence 35 (8), doi:10.1109/TPAMI.2012.231.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, MaxPool2d, Sequential, Tanh
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.laplacian_pyramid import LaplacianPyramid, LocalContrastNorm
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS
from vision.segmentation.refinement import REFINEMENT, RefinedClassifier


class Cache(NamedTuple):
    """The caches of the layers; bands, net and enlarge by scale."""

    pyramid: Any
    norm: list
    net: list
    enlarge: list
    classifier: Any
    last: Any


class MultiScaleNet(Layer):
    """images (N, 3, H, W) to logits (N, classes, H, W).

    Each band of a Laplacian pyramid of `scales` levels is normalised locally and goes through one and the same network:
    k x k to `width` channels, tanh, 2x2 max pooling, k x k to 4 width, tanh, 2x2 max pooling, k x k to 16 width; k =
    kernel_size, zeros around. The maps of the coarser bands are enlarged to the finest one's size and stand beside it:
    16 width scales numbers for every 4 x 4 pixels; where k = 7 those of the coarsest band depend on a square of the
    image with sides of 46 2^(scales - 1) pixels. Two 1x1 convolutions with `hidden` channels and tanh between classify
    them; the scores are enlarged to the image's size.

    Other than in the paper (width 16: 16, 64 and 256 channels, 3 scales, 768 numbers): there images are YUV, and of the
    first filters 10 see Y, 6 U and V; the second convolution sees 8, the third 32 of its input's channels, drawn by
    chance; here images are RGB, and all see all. There the features are learned first, under a linear classifier, then
    the two-layer one on them, and images are mirrored, turned by up to 8 degrees and scaled by 0.9 to 1.1; here all is
    learned at once, and images are changed as scripts.train is told to.

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
        self.classifier = Sequential(
            Conv2d(scales * channels[-1], hidden, 1, rng=rng), Tanh(), Conv2d(hidden, classes, 1, rng=rng)
        )
        self.pyramid, self.norm = LaplacianPyramid(scales), LocalContrastNorm()
        self.enlarge, self.last = [Enlarge(2**scale) for scale in range(scales)], Enlarge(4)

    def forward(self, x, training=True):
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
        small, c_classifier = self.classifier.forward(array_module(x).concatenate(maps, axis=1), training)
        logits, c_last = self.last.forward(small, x.shape[2:], training)
        return logits, cache._replace(classifier=c_classifier, last=c_last)

    def backward(self, dy, cache):
        dmaps = self.classifier.backward(self.last.backward(dy, cache.last), cache.classifier)
        dmaps, dbands = array_module(dy).split(dmaps, len(self.enlarge), axis=1), []
        for dmap, enlarge, c_norm, c_net, c_enlarge in zip(dmaps, self.enlarge, *cache[1:4]):
            dband = self.net.backward(enlarge.backward(dmap, c_enlarge), c_net)  # adds to the same weights each time
            dbands.append(self.norm.backward(dband, c_norm))
        return self.pyramid.backward(dbands, cache.pyramid)


# Sec. 5: stochastic gradient descent, one sample a step, weight decay 1e-5; rate, schedule and length are ours. Labels
# by the optimal cover are what the paper reports best.
RECIPE = {
    "data": "camvid", "epochs": 100, "batch_size": 1, "lr": 0.01, "momentum": 0.0, "weight_decay": 1e-5,
    "schedule": "polynomial", "warm_up": 0,
}  # fmt: skip
SMALL = ON_SHAPES | {"epochs": 5}


def _made(name, classes, rng, options, own):
    options = complete(name, options, **OPTIONS | REFINEMENT | own)
    words = ("width", "kernel_size", "scales", "hidden")
    network = MultiScaleNet(len(classes), **{word: options[word] for word in words}, rng=rng)
    return RefinedClassifier(network, classes, options)


@register("multiscale", "segmentation", recipe=RECIPE)
def multiscale(classes, rng: np.random.Generator, **options) -> RefinedClassifier:
    """The multi-scale network of the paper's channels, its labels by the optimal cover."""
    own = {
        "width": 16, "kernel_size": 7, "scales": 3, "hidden": 1024, "superpixels": "cover", "short_side": 240,
        "max_side": 320,
    }  # fmt: skip
    return _made("multiscale", classes, rng, options, own)


@register("multiscale_small", "segmentation", recipe=SMALL)
def multiscale_small(classes, rng: np.random.Generator, **options) -> RefinedClassifier:
    """A narrow one, for generated scenes and CPUs."""
    own = {"width": 6, "kernel_size": 5, "scales": 3, "hidden": 64, "short_side": 128, "max_side": 160}
    return _made("multiscale_small", classes, rng, options, own)
