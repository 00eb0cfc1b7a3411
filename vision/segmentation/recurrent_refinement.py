"""Recurrent refinement: one network, applied to the image and to its own scores of the application before.

A map of scores has one cell for 4 x 4 pixels of the image. The next application sees it together with the image scaled
down to its size: its windows have as many cells as before and see four times as far, without a further weight. Or it
sees the map enlarged, together with the image in its own size, and sees further by a window.

Reference: Pinheiro and Collobert 2014, Recurrent convolutional neural networks for scene labeling, arXiv:1306.2795.
"""

from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

from nn import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d, Sequential, Softmax, Tanh
from nn.containers import backward_wanted
from nn.dispatch import array_module
from nn.layer import check_shape, positive
from vision.backbones import freeze_cancelled
from vision.registry import Tiny, register
from vision.segmentation.cropping import SameConv2d
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelNetwork
from vision.segmentation.refinement import RefinedClassifier, RefinedOptions


class Cache(NamedTuple):
    """Of one application: the caches of the layers that make its input (None for the first), of net and of enlarge."""

    softmax: Any
    smaller: Any
    net: Any
    enlarge: Any


class RecurrentRefinement(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W), those of the last of `applications`; `scores` gives all.

        scores_1 = f(image, 0);  scores_t = f(image, softmax(scores_{t-1}));  logits_t = scores_t enlarged

    f has the same weights each time and sees 3 + classes planes: kernel_size x kernel_size to `width` channels, 2x2 max
    pooling, tanh, the same to 2 width channels, 1x1 to the classes. `layers`: how many such convolutions there are, 2
    in the paper; each halves height and width. shrink: the image is scaled to the size of the scores, as in the paper,
    here by the means of 4 x 4 pixels; otherwise the scores are enlarged, before the softmax, to the size of the image,
    for finer labels.

    batch_norm: one behind each convolution, for training from random weights in minutes. Each application has its own,
    since their inputs differ (as in Cooijmans et al. 2016, arXiv:1603.09025, at each step of an LSTM). The paper has
    none.

    Here all scores of an image are learned at once: zeros around keep the sizes, and scores are interpolated to the
    image's size. In the paper patches are as large as the windows, 25 pixels for one application, 121 for two.

    interleave: in inference the scores are those of interleave x interleave shifted copies of the image, so many times
    finer than a cell, and only then interpolated (sec. 3.3; the paper has them for each fourth, second or each pixel).

    Reference: Pinheiro and Collobert 2014, sec. 3.2; sec. 4 has 8x8 kernels and 25 and 50 channels.
    """

    def __init__(
        self, classes: int, applications: int = 2, *, width: int = 25, kernel_size: int = 8, layers: int = 2,
        shrink: bool = True, batch_norm: bool = False, interleave: int = 1, rng: np.random.Generator,
    ):  # fmt: skip
        positive(
            self, classes=classes, applications=applications, width=width, kernel_size=kernel_size, layers=layers,
            interleave=interleave,
        )  # fmt: skip
        self.classes, self.interleave = classes, interleave
        channels, net = [3 + classes, *(width * 2**i for i in range(layers))], []
        for inputs, outputs in pairwise(channels):
            net += [SameConv2d(inputs, outputs, kernel_size, rng=rng), MaxPool2d(2, ceil_mode=True), Tanh()]
        self.net = Sequential(*net, Conv2d(channels[-1], classes, 1, rng=rng))
        norms = [[BatchNorm2d(c) for c in channels[1:]] if batch_norm else [] for _ in range(applications)]
        self.norms = [Sequential(*own) for own in norms]
        self.nets = [self._behind_convolutions(own) for own in self.norms]
        self.softmax, self.smaller = Softmax(axis=1), AvgPool2d(2**layers, ceil_mode=True) if shrink else None
        self.enlarge = [Enlarge(2 ** (layers * (t if shrink else 1))) for t in range(1, applications + 1)]
        if self.enlarge[-1].stride % interleave:
            cell = self.enlarge[-1].stride
            raise ValueError(f"{type(self).__name__}: interleave must divide a cell's {cell} pixels, got {interleave}")

    def _behind_convolutions(self, norms):
        """The layers of self.net, the same objects, with these normalisations in between."""
        layers = list(self.net)
        for i, norm in enumerate(norms):
            layers.insert(4 * i + 1, norm)
        return freeze_cancelled(Sequential(*layers))

    def children(self):
        """net, whose convolutions all applications share, and norms.0, norms.1, ..., one for each."""
        yield "net", self.net
        yield from ((f"norms.{t}", norms) for t, norms in enumerate(self.norms))

    def forward(self, x, training=True):
        if self.interleave > 1 and not training:
            return self.interleaved(x), None
        logits, cache = self.scores(x, training)
        return logits[-1], cache

    def backward(self, dy, cache, images=True):
        return self.scores_backward([None] * (len(cache) - 1) + [dy], cache, images)

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)

    def scores(self, x, training=True):
        """([logits of each application], cache)."""
        _, logits, caches = zip(*self.applied(x, training))
        return [*logits], [*caches]

    def applied(self, x, training):
        """Of each application, one after the other: (scores of its cells, these enlarged to the image, Cache)."""
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        xp, (n, _, *size) = array_module(x), x.shape
        p, said = xp.zeros((n, self.classes, *size), x.dtype), None
        for net, enlarge in zip(self.nets, self.enlarge):
            c_softmax, c_smaller = None, None
            if said is not None:
                p, c_softmax = self.softmax.forward(said, training)
            if said is not None and self.smaller:
                x, c_smaller = self.smaller.forward(x, training)
            small, c_net = net.forward(xp.concatenate([x, p], axis=1), training)
            y, c_enlarge = enlarge.forward(small, size, training)
            said = small if self.smaller else y
            yield small, y, Cache(c_softmax, c_smaller, c_net, c_enlarge)

    def scores_backward(self, dlogits, caches, images=True):
        """The gradient of the images from those of all logits, None for logits on which nothing else depends."""
        dscores, dx = None, 0  # from the later application: of the scores that it sees, small or enlarged; of its image
        steps = list(zip(dlogits, self.nets, self.enlarge, caches))
        for dy, net, enlarge, cache in reversed(steps):
            if not self.smaller:
                dy, dscores = added(dy, dscores), None
            dsmall = added(dscores, None if dy is None else enlarge.backward(dy, cache.enlarge))
            first = cache.softmax is None
            dboth = backward_wanted(net, dsmall, cache.net, images or not first)
            if not first:  # there was an application before
                dscores = self.softmax.backward(dboth[:, 3:], cache.softmax)
            if images:
                dx = dx + dboth[:, :3]
                dx = dx if cache.smaller is None else self.smaller.backward(dx, cache.smaller)
        return dx if images else None

    def interleaved(self, x):
        """(N, classes, H, W): the last scores of shifted copies of the images, each at the middle of what it saw."""
        xp, (n, channels, h, w), k = array_module(x), x.shape, self.interleave
        cell = self.enlarge[-1].stride
        step, (rows, columns) = cell // k, (-(-side // cell) for side in (h, w))
        before = (cell - step) // 2  # zeros, so that the first cell of the first copy has its middle in the first step
        around = xp.zeros((n, channels, *(cell * cells + cell - step for cells in (rows, columns))), x.dtype)
        around[:, :, before : before + h, before : before + w] = x
        fine = xp.zeros((n, self.classes, k * rows, k * columns), x.dtype)
        for i, j in np.ndindex(k, k):
            copy = around[:, :, i * step :, j * step :][:, :, : cell * rows, : cell * columns]
            *_, (fine[:, :, i::k, j::k], _, _) = self.applied(copy, training=False)
        return Enlarge(step)(fine, (h, w))


def at_middles(labels, cell: int):
    """labels (N, H, W), but -1 where a pixel is none of the four around the middle of a cell x cell block."""
    kept, middles = array_module(labels).full_like(labels, -1), (cell // 2 - 1, cell // 2)
    for i, j in product(middles, middles):
        kept[:, i::cell, j::cell] = labels[:, i::cell, j::cell]
    return kept


def added(a, b):
    """a + b of two gradients; None where nothing depends on the value."""
    return b if a is None else a if b is None else a + b


class RecurrentClassifier(RefinedClassifier):
    """Trained on all applications: {pixels} of the last one, {pixels_1}, ... of those before, added up (sec. 3.2).

    By the option `patches` only the pixels at the middle of an application's cells count: an image is then as many
    patches as it has cells, each with the label of the pixel at its middle (sec. 3.1).
    """

    def loss(self, batch, rng: np.random.Generator, sampled=None):
        images, labels, *weights = batch
        logits, c_network = self.network.scores(images)
        cells = [enlarge.stride if self.options.patches else 1 for enlarge in self.network.enlarge]
        values, dlogits = zip(*(self.pixel_loss(y, at_middles(labels, c), *weights) for y, c in zip(logits, cells)))
        names = [f"pixels_{t}" for t in range(1, len(values))] + ["pixels"]
        return dict(zip(names, values)), (c_network, dlogits)

    def backward(self, cache):
        c_network, dlogits = cache
        self.network.scores_backward(dlogits, c_network, images=False)


@dataclass(frozen=True)
class Options(RefinedOptions):
    """Two applications, and the paper's channels, patches and labels for each fourth pixel."""

    short_side: int = 180
    max_side: int = 240
    applications: int = 2  # times that the network is applied, each time to its own scores too
    width: int = 25  # channels of the first convolution
    kernel_size: int = 8  # kernel size of all convolutions
    layers: int = 2  # convolutions before the scores, each with a pooling
    shrink: bool = True  # whether the image is scaled to the size of the scores, or else the scores to the image's
    batch_norm: bool = False  # whether batch normalisation follows each convolution
    patches: bool = True  # whether only the pixels at the middles of the cells are learned
    interleave: int = 4  # in inference: copies shifted along x and as many along y, whose scores are interleaved


@dataclass(frozen=True)
class SmallOptions(Options):
    """A narrow network that keeps the image's size, for generated scenes and CPUs."""

    short_side: int = 96
    max_side: int = 120
    width: int = 12
    kernel_size: int = 7
    layers: int = 3
    shrink: bool = False
    batch_norm: bool = True
    patches: bool = False
    interleave: int = 1


# The paper has plain gradient descent, too, on patches around single pixels; all values here, for whole images, are
# ours.
RECIPE = {
    "data": "camvid", "epochs": 200, "batch_size": 4, "lr": 0.01, "momentum": 0.0, "weight_decay": 0.0,
    "schedule": "polynomial", "warm_up": 0,
}  # fmt: skip
TABLE = {"system": "Recurrent refinement", "paper": "Pinheiro and Collobert 2014, arXiv:1306.2795"}
TINY = Tiny({"width": 2, "kernel_size": 4, "interleave": 2}, scenes=1, size=(32, 32))
TINY_SMALL = Tiny({"width": 1, "kernel_size": 3}, scenes=1)


@register(
    "recurrent_refinement_small", "segmentation", ON_SHAPES, options=SmallOptions, tiny=TINY_SMALL,
    figures="mIoU 0.850 on generated scenes; from patches, interleaved, 0.892", **TABLE,
)  # fmt: skip
@register("recurrent_refinement", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def recurrent_refinement(classes, options: Options, rng: np.random.Generator) -> RecurrentClassifier:
    """The recurrent network."""
    o = options
    network = RecurrentRefinement(
        len(classes), o.applications, width=o.width, kernel_size=o.kernel_size, layers=o.layers, shrink=o.shrink,
        batch_norm=o.batch_norm, interleave=o.interleave, rng=rng,
    )  # fmt: skip
    return RecurrentClassifier(network, classes, options)
