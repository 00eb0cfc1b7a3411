"""Recurrent refinement: one network, applied to the image and to what it said of it the time before.

A map of scores has one cell where the image had 4 x 4 pixels. The next application gets it with the image as small as
that: its windows, of as many cells, see four times as far, with not a weight more. Or it gets it enlarged, with the
image as it is, and sees further by a window.

Reference: Pinheiro and Collobert 2014, Recurrent convolutional neural networks for scene labeling, arXiv:1306.2795.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nn import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d, Sequential, Softmax, Tanh
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.encoder_decoder import freeze_cancelled
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
    """Of one application: the caches of what makes its input (None where nothing does), net and enlarge."""

    softmax: Any
    smaller: Any
    net: Any
    enlarge: Any


class RecurrentRefinement(Layer):
    """images (N, 3, H, W) to logits (N, classes, H, W), those of the last of `applications`; `scores` gives all.

        scores_1 = f(image, 0);  scores_t = f(image, softmax(scores_{t-1}));  logits_t = scores_t enlarged

    f, the same weights each time, on 3 + classes planes: kernel_size x kernel_size to `width` channels, 2x2 max
    pooling, tanh, the same to 2 width channels, 1x1 to the classes. `layers`: how many such convolutions there are, 2
    in the paper; each halves the sides. shrink: the image is scaled to the size of the scores, as in the paper, here by
    the means of 4 x 4 pixels; otherwise these are enlarged, before the softmax, to the size of the image, for finer
    labels.

    batch_norm: one behind each convolution, for training from random weights in minutes; each application has its own,
    since what they see differs (as Cooijmans et al. 2016, arXiv:1603.09025, have it at each step of an LSTM). The paper
    has none.

    Here all scores of an image are learned at once: zeros around keep the sizes, and scores are interpolated to the
    image's size. In the paper patches are as large as the windows, 25 pixels for one application, 121 for two, and a
    whole image is labelled by scores of shifted copies of it, interleaved (sec. 3.3).

    Reference: Pinheiro and Collobert 2014, sec. 3.2; sec. 4 has 8x8 kernels and 25 and 50 channels.
    """

    def __init__(
        self, classes: int, applications: int = 2, *, width: int = 25, kernel_size: int = 8, layers: int = 2,
        shrink: bool = True, batch_norm: bool = False, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, applications=applications, width=width, kernel_size=kernel_size, layers=layers)
        self.classes = classes
        channels, net = [3 + classes, *(width * 2**i for i in range(layers))], []
        for inputs, outputs in pairwise(channels):
            net += [SameConv2d(inputs, outputs, kernel_size, rng=rng), MaxPool2d(2, ceil_mode=True), Tanh()]
        self.net = Sequential(*net, Conv2d(channels[-1], classes, 1, rng=rng))
        norms = [[BatchNorm2d(c) for c in channels[1:]] if batch_norm else [] for _ in range(applications)]
        self.norms = [Sequential(*own) for own in norms]
        self.nets = [self._behind_convolutions(own) for own in self.norms]
        self.softmax, self.smaller = Softmax(axis=1), AvgPool2d(2**layers, ceil_mode=True) if shrink else None
        self.enlarge = [Enlarge(2 ** (layers * (t if shrink else 1))) for t in range(1, applications + 1)]

    def _behind_convolutions(self, norms):
        """self.net, its own layers, with these in between."""
        layers = list(self.net)
        for i, norm in enumerate(norms):
            layers.insert(4 * i + 1, norm)
        return freeze_cancelled(Sequential(*layers))

    def children(self):
        """net, whose convolutions all applications share, and norms.0, norms.1, ..., those of each."""
        yield "net", self.net
        yield from ((f"norms.{t}", norms) for t, norms in enumerate(self.norms))

    def forward(self, x, training=True):
        logits, cache = self.scores(x, training)
        return logits[-1], cache

    def backward(self, dy, cache):
        return self.scores_backward([None] * (len(cache) - 1) + [dy], cache)

    def scores(self, x, training=True):
        """([logits of each application], cache)."""
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        xp, (n, _, *size) = array_module(x), x.shape
        p, said, logits, caches = xp.zeros((n, self.classes, *size), x.dtype), None, [], []
        for net, enlarge in zip(self.nets, self.enlarge):
            c_softmax, c_smaller = None, None
            if said is not None:
                p, c_softmax = self.softmax.forward(said, training)
            if said is not None and self.smaller:
                x, c_smaller = self.smaller.forward(x, training)
            small, c_net = net.forward(xp.concatenate([x, p], axis=1), training)
            y, c_enlarge = enlarge.forward(small, size, training)
            said = small if self.smaller else y
            logits.append(y)
            caches.append(Cache(c_softmax, c_smaller, c_net, c_enlarge))
        return logits, caches

    def scores_backward(self, dlogits, caches):
        """The gradient of the images from those of all logits, None for those that nothing else depends on."""
        dscores, dx = None, 0  # from the later application: of its scores, small or enlarged, and of its image
        steps = list(zip(dlogits, self.nets, self.enlarge, caches))
        for dy, net, enlarge, cache in reversed(steps):
            if not self.smaller:
                dy, dscores = added(dy, dscores), None
            dsmall = added(dscores, None if dy is None else enlarge.backward(dy, cache.enlarge))
            dboth = net.backward(dsmall, cache.net)
            dx = dx + dboth[:, :3]
            if cache.softmax is not None:  # there was an application before
                dscores = self.softmax.backward(dboth[:, 3:], cache.softmax)
            if cache.smaller is not None:
                dx = self.smaller.backward(dx, cache.smaller)
        return dx


def added(a, b):
    """a + b of two gradients; None is that of what nothing depends on."""
    return b if a is None else a if b is None else a + b


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
    words = ("applications", "width", "kernel_size", "layers", "shrink", "batch_norm")
    network = RecurrentRefinement(len(classes), **{word: options[word] for word in words}, rng=rng)
    return RecurrentClassifier(network, classes, options)


@register("recurrent_refinement", "segmentation", recipe=RECIPE)
def recurrent_refinement(classes, rng: np.random.Generator, **options) -> RecurrentClassifier:
    """The recurrent network with two applications and the paper's channels."""
    own = {
        "applications": 2, "width": 25, "kernel_size": 8, "layers": 2, "shrink": True, "batch_norm": False,
        "short_side": 180, "max_side": 240,
    }  # fmt: skip
    return _made("recurrent_refinement", classes, rng, options, own)


@register("recurrent_refinement_small", "segmentation", recipe=SMALL)
def recurrent_refinement_small(classes, rng: np.random.Generator, **options) -> RecurrentClassifier:
    """Two applications of a narrow network that keep the image's size, for generated scenes and CPUs."""
    own = {
        "applications": 2, "width": 12, "kernel_size": 7, "layers": 3, "shrink": False, "batch_norm": True,
        "short_side": 96, "max_side": 120,
    }  # fmt: skip
    return _made("recurrent_refinement_small", classes, rng, options, own)
