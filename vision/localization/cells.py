"""A class and a box at every cell of the last map of a frozen network; the surest cells are averaged.

All cells share one box regressor, as in OverFeat: each sees its own surroundings, and says where the sides of the
object are from there. So a photograph has as many examples as cells on its object, and the position need not be
learned, as it must be by a regressor of the whole map.

Where the object is can be seen in the middle of the network, what it is only at its end. With the option `whole` the
cells tell an object from none, and a linear layer tells its class from the mean of a later map over the photograph.

The features of a photograph and of its mirror image are computed once and kept together. Training takes one of both at
random, a prediction is the mean over both.

Reference: Sermanet et al. 2014, OverFeat, arXiv:1312.6229, sec. 4; cells near the middle of an object are its own as in
Huang et al. 2015, DenseBox, arXiv:1509.04874, sec. 3.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Linear,
    ReLU,
    Sequential,
    smooth_l1,
    softmax,
    softmax_cross_entropy,
)
from nn.dispatch import array_module
from nn.layer import positive
from vision.backbones import Remembered
from vision.localization.localizer import Localizer
from vision.localization.trunk import BACKBONES
from vision.localization.two_views import TwoViews
from vision.options import ImageOptions
from vision.registry import Tiny, register

UNIT = 64  # pixels: distances to the sides are regressed in units of this


@dataclass(frozen=True)
class Options(ImageOptions):
    """On the published EfficientNet-Lite0, a map of 14x14 cells."""

    backbone: Literal["small_cnn", "squeezenet", "alexnet", "efficientnet_lite0"] = "efficientnet_lite0"  # the CNN
    width: int = 32  # of the CNN: its channels are multiples of it (efficientnet_lite0: not used)
    last: str = "stage5"  # stage of the CNN whose cells are looked at; the CNN is frozen
    whole: str | None = "head"  # later stage, from the mean of whose map the class is told; none: cells tell it
    hidden: int = 128  # channels of the 3x3 convolution
    dropout: float = 0.5  # share of elements dropped after the hidden layer, in training
    core: float = 0.5  # share of an object's sides: cells inside this part are the object's, others on it not counted
    surest: float = 0.5  # cells at least this sure, of the surest, are averaged
    objects: int = 1  # number of objects in each picture: 1
    short_side: int = 224  # pixels of both sides
    max_side: int = 400  # not used: pictures become squares
    mean: float | tuple[float, float, float] = 127.0  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = 128.0  # then each channel is divided by this


class Cells(NamedTuple):
    """Targets of each cell: labels (N, h, w), 0 for no object, -1 for not counted; sides (N, 4, h, w) from its centre,
    in units of UNIT pixels."""

    labels: np.ndarray
    sides: np.ndarray


class Cache(NamedTuple):
    """From loss to backward. sampled (N,): 1 where the mirror image was taken; a constant."""

    head: Any
    dy: np.ndarray
    sampled: np.ndarray
    classifier: Any = None
    dlogits: np.ndarray | None = None


class CellLocalizer(Localizer):
    """head: a map (N, D, h, w) to (N, 1 + C + 4, h, w), scores of no object and of C classes, and sides; C is 1, any
    object, where the classifier, from means (N, E) to (N, classes), tells the class.
    """

    needs_weights = True

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess(resize="square"))
        o = options
        positive(self, width=o.width, hidden=o.hidden)
        if o.objects != 1 or not 0 < o.core <= 1 or not 0 < o.surest <= 1:
            got = f"{o.objects}, {o.core} and {o.surest}"
            raise ValueError(f"localizer_cells: need objects=1, core and surest in (0, 1], got {got}")
        size = o.short_side, o.short_side
        self.views = TwoViews(BACKBONES[o.backbone](o.width, rng=rng), size, o.last, o.whole)
        self.features, self.told = Remembered(self.views), 1 if o.whole else len(self.classes)
        channels, means = self.views.shape[0], self.views.means
        self.head = Sequential(
            BatchNorm2d(channels, affine=False), Conv2d(channels, o.hidden, 3, padding=1, bias=False, rng=rng),
            BatchNorm2d(o.hidden), ReLU(), Dropout(o.dropout, rng=rng), Conv2d(o.hidden, 1 + self.told + 4, 1, rng=rng),
        )  # fmt: skip
        if means:
            self.classifier = Sequential(BatchNorm1d(means, affine=False), Linear(means, len(self.classes), rng=rng))

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Published weights of the CNN, and one's own of this model."""
        return self.views.names_of(arrays, self.state_dict())

    def loss(self, batch, rng, sampled: np.ndarray | None = None):
        """({cls, box, whole}, cache): softmax cross-entropy of the cells, smooth L1 of the sides at the objects' own
        cells, softmax cross-entropy of the whole photographs."""
        seen, labels, boxes = batch
        xp = array_module(seen)
        turned = xp.asarray(rng.integers(0, 2, len(seen))) if sampled is None else sampled
        x, means = self.views.split(seen[xp.arange(len(seen)), turned])
        y, c_head = self.head.forward(x)
        cells, count = self.cells(labels[:, 0], boxes[:, 0], turned, y), 1 + self.told
        cls, dscores = softmax_cross_entropy(y[:, :count], cells.labels)
        box, dsides = smooth_l1(y[:, count:], cells.sides, weights=(cells.labels > 0)[:, None])
        dy = xp.concatenate([dscores, dsides], axis=1)  # y = [scores, sides]
        losses, cache = {"cls": cls, "box": box}, Cache(c_head, dy, turned)
        if self.options.whole:
            logits, c_classifier = self.classifier.forward(means)
            losses["whole"], dlogits = softmax_cross_entropy(logits, labels[:, 0])
            cache = cache._replace(classifier=c_classifier, dlogits=dlogits)
        return losses, cache

    def backward(self, cache: Cache):
        """Add the gradients of the losses to the parameters of head and classifier."""
        self.head.backward_parameters(cache.dy, cache.head)
        if self.options.whole:
            self.classifier.backward_parameters(cache.dlogits, cache.classifier)

    def cells(self, labels, boxes, turned, y) -> Cells:
        """The targets of images with labels (N,), from 0, and boxes (N, 4), in those views that are turned round (N,).

        A cell whose centre lies in the object's core, or within half a cell of its middle, is the object's.
        """
        xp, side = array_module(y), self.options.short_side
        flipped = xp.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], axis=1)
        boxes = xp.where(xp.asarray(turned)[:, None] == 1, flipped, boxes)[:, :, None, None]  # (N, 4, 1, 1)
        x, y_centre, stride = self.centres(y)
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        apart = abs(xp.stack([x, y_centre])[None] - middle)  # (N, 2, h, w)
        core = (apart <= xp.maximum(half * self.options.core, stride / 2)).all(axis=1)
        inside = (apart <= half).all(axis=1)
        own = xp.minimum(labels + 1, self.told)[:, None, None]
        found = xp.where(core, own, xp.where(inside, -1, 0))
        sides = (boxes - xp.stack([x, y_centre, x, y_centre])) / UNIT
        return Cells(found, sides.astype(y.real.dtype))

    def centres(self, y):
        """x (h, w), y (h, w) of the cells' centres and their stride, in pixels."""
        xp, (h, w) = array_module(y), y.shape[2:]
        stride = self.options.short_side / w
        rows, columns = xp.meshgrid(xp.arange(h) + 0.5, xp.arange(w) + 0.5, indexing="ij")
        return columns * stride, rows * stride, stride

    def predict(self, seen) -> list[dict]:
        """boxes (1, 4), labels (1,) and scores (1,) for each image."""
        xp, count = array_module(seen), 1 + self.told
        both, classes = [], len(seen) * [None]
        for turned in (0, 1):
            x, means = self.views.split(seen[:, turned])
            y = self.head(x)
            x, y_centre, _ = self.centres(y)
            boxes = y[:, count:] * UNIT + xp.stack([x, y_centre, x, y_centre])
            both.append((softmax(y[:, :count], axis=1)[:, 1:], boxes, means))
        p, (boxes, turned) = (both[0][0] + both[1][0][..., ::-1]) / 2, (both[0][1], both[1][1][..., ::-1])
        side = self.options.short_side
        turned = xp.stack([side - turned[:, 2], turned[:, 1], side - turned[:, 0], turned[:, 3]], axis=1)
        if self.options.whole:
            classes = sum(softmax(self.classifier(means), axis=1) for _, _, means in both) / 2
        return [self.decided(*each) for each in zip(p, (boxes + turned) / 2, classes)]

    def decided(self, p, boxes, classes=None) -> dict:
        """The mean over the surest cells, weighted by the square of how sure they are that there is an object.

        p (C, h, w): probabilities; boxes (4, h, w); classes: probabilities of the whole photograph, where cells tell
        none.
        """
        p, boxes = p.reshape(len(p), p[0].size), boxes.reshape(4, p[0].size)
        sure = p.sum(axis=0)
        weights = sure**2 * (sure >= self.options.surest * sure.max())
        weights = weights / weights.sum()
        scores = p @ weights if classes is None else classes
        label = scores.argmax()
        return {"boxes": (boxes @ weights)[None], "labels": label[None] + 1, "scores": scores[label][None]}


register(
    "localizer_cells", "localization",
    {
        "data": "pets", "epochs": 60, "batch_size": 16, "optimiser": "adam", "lr": 0.002, "weight_decay": 0.003,
        "schedule": "cosine", "flip_horizontal": 0.0, "jitter": 0.0, "zoom": [1.0, 1.0],
    },
    options=Options,
    tiny=Tiny(
        {"backbone": "small_cnn", "width": 2, "last": "conv2", "whole": "conv3", "hidden": 3, "short_side": 32},
        scenes=3, size=(32, 32),
    ),
    system="Classification and localization",
    paper="Sermanet et al. 2014, arXiv:1312.6229; Simonyan and Zisserman 2015, arXiv:1409.1556",
    figures="heads of pets, a box at every cell, test: IoU >= 0.5 for 0.881, class right, too, for 0.797",
)(CellLocalizer)  # fmt: skip
