"""Recurrent refinement: one network, applied to the image and to what it said of it the time before.

Reference: Pinheiro and Collobert 2014, Recurrent convolutional neural networks for scene labeling, arXiv:1306.2795.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, MaxPool2d, Sequential, Softmax, Tanh
from nn.backend import array_module
from nn.layer import Layer, check_shape, positive
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS
from vision.segmentation.refinement import REFINEMENT, RefinedClassifier
from vision.segmentation.unpooling import cut_to, uncut_to


class SameConv2d(Conv2d):
    """A Conv2d, x (N, C, H, W) to y (N, O, H, W); an even kernel sees one more pixel above and to the left."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, rng: np.random.Generator):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, rng=rng)

    def forward(self, x, training=True):
        y, cache = super().forward(x, training)
        return cut_to(y, x.shape[2:]), (cache, y.shape)

    def backward(self, dy, cache):
        cache, shape = cache
        return super().backward(uncut_to(dy, shape), cache)


class Cache(NamedTuple):
    """Of one application: the caches of the softmax that it starts from (None in the first), net and enlarge."""

    softmax: Any
    net: Any
    enlarge: Any


class RecurrentRefinement(Layer):
    """images (N, 3, H, W) to logits (N, classes, H, W), those of the last of `applications`; `scores` gives all.

        logits_1 = f(image, 0);  logits_t = f(image, softmax(logits_{t-1}))

    f, the same weights each time, on 3 + classes planes: kernel_size x kernel_size to `width` channels, 2x2 max
    pooling, tanh, the same to 2 width channels, 1x1 to the classes; here it keeps the size of the image (zeros around,
    interpolation at the end), where the paper's shrinks its patch and the image with it. `layers`: how many
    such convolutions there are, 2 in the paper.

    Reference: Pinheiro and Collobert 2014, sec. 3.2; sec. 4 has 8x8 kernels and 25 and 50 channels.
    """

    def __init__(
        self, classes: int, applications: int = 2, *, width: int = 25, kernel_size: int = 8, layers: int = 2,
        rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, applications=applications, width=width, kernel_size=kernel_size, layers=layers)
        self.classes, self.applications = classes, applications
        channels, net = [3 + classes, *(width * 2**i for i in range(layers))], []
        for inputs, outputs in pairwise(channels):
            net += [SameConv2d(inputs, outputs, kernel_size, rng=rng), MaxPool2d(2, ceil_mode=True), Tanh()]
        self.net = Sequential(*net, Conv2d(channels[-1], classes, 1, rng=rng))
        self.softmax, self.enlarge = Softmax(axis=1), Enlarge(2**layers)

    def forward(self, x, training=True):
        logits, cache = self.scores(x, training)
        return logits[-1], cache

    def backward(self, dy, cache):
        return self.scores_backward([None] * (self.applications - 1) + [dy], cache)

    def scores(self, x, training=True):
        """([logits of each application], cache)."""
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        xp, (n, _, h, w) = array_module(x), x.shape
        p, c_softmax, logits, caches = xp.zeros((n, self.classes, h, w), x.dtype), None, [], []
        for t in range(self.applications):
            if t:
                p, c_softmax = self.softmax.forward(logits[-1], training)
            small, c_net = self.net.forward(xp.concatenate([x, p], axis=1), training)
            y, c_enlarge = self.enlarge.forward(small, (h, w), training)
            logits.append(y)
            caches.append(Cache(c_softmax, c_net, c_enlarge))
        return logits, caches

    def scores_backward(self, dlogits, caches):
        """The gradient of the images from those of all logits, None for those that nothing else depends on."""
        dx, dp, c_softmax = 0, None, None
        for dy, cache in zip(reversed(dlogits), reversed(caches)):
            if dp is not None:  # these logits were also what the next application began with: gradients add up
                through = self.softmax.backward(dp, c_softmax)
                dy = through if dy is None else dy + through
            dboth = self.net.backward(self.enlarge.backward(dy, cache.enlarge), cache.net)
            dx, dp, c_softmax = dx + dboth[:, :3], dboth[:, 3:], cache.softmax
        return dx  # dp is left: nothing is learned about zeros


class RecurrentClassifier(RefinedClassifier):
    """Trained on all applications: {pixels} of the last one, {pixels_1}, ... of those before, added up (sec. 3.2)."""

    def loss(self, batch, rng: np.random.Generator):
        images, labels, *weights = batch
        logits, c_network = self.network.scores(images)
        values, dlogits = zip(*(self.pixel_loss(y, labels, *weights) for y in logits))
        names = [f"pixels_{t}" for t in range(1, len(values))] + ["pixels"]
        return dict(zip(names, values)), (c_network, dlogits)

    def backward(self, cache):
        c_network, dlogits = cache
        return self.network.scores_backward(dlogits, c_network)


# The paper descends plainly, too, on patches round single pixels; all numbers here, for whole images, are ours.
RECIPE = {
    "data": "camvid", "epochs": 200, "batch_size": 4, "lr": 0.01, "momentum": 0.0, "weight_decay": 0.0,
    "schedule": "polynomial", "warm_up": 0,
}  # fmt: skip
SMALL = ON_SHAPES


def _made(name, classes, rng, options, own):
    options = complete(name, options, **OPTIONS | REFINEMENT | own)
    words = ("applications", "width", "kernel_size", "layers")
    network = RecurrentRefinement(len(classes), **{word: options[word] for word in words}, rng=rng)
    return RecurrentClassifier(network, classes, options)


@register("recurrent_refinement", "segmentation", recipe=RECIPE)
def recurrent_refinement(classes, rng: np.random.Generator, **options) -> RecurrentClassifier:
    """The recurrent network with two applications and the paper's channels."""
    own = {"applications": 2, "width": 25, "kernel_size": 8, "layers": 2, "short_side": 180, "max_side": 240}
    return _made("recurrent_refinement", classes, rng, options, own)


@register("recurrent_refinement_small", "segmentation", recipe=SMALL)
def recurrent_refinement_small(classes, rng: np.random.Generator, **options) -> RecurrentClassifier:
    """Three applications of a narrow network, for generated scenes and CPUs."""
    own = {"applications": 3, "width": 16, "kernel_size": 7, "layers": 2, "short_side": 64, "max_side": 80}
    return _made("recurrent_refinement_small", classes, rng, options, own)
