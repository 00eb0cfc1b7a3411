"""U-Net: a contracting path for context, an expanding path for location, and a bridge between them at every level.

Reference: Ronneberger et al. 2015, U-Net: convolutional networks for biomedical image segmentation, arXiv:1505.04597.
"""

import math
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, ConvTranspose2d, Dropout, MaxPool2d, ReLU, Sequential
from nn.containers import backward_wanted, lowest_trainable
from nn.dispatch import array_module
from nn.layer import check_shape, positive
from vision.registry import Tiny, register
from vision.segmentation.cropping import centre, uncut
from vision.segmentation.object_classifier import ObjectClassifier, ObjectOptions
from vision.segmentation.overlap_tile import OverlapTile
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelNetwork


class UNetCache(NamedTuple):
    """The caches of the layers, level by level, and the shapes of the maps that the bridges cut."""

    contract: list
    pool: list
    up: list
    expand: list
    score: Any
    bridges: list[tuple[int, ...]]


class UNet(PixelNetwork):
    """images (N, I, H, W) to logits (N, classes, oh, ow), one for each pixel in the middle of the image.

    Level i has width 2^i channels, i = 0 .. depth. Down: two 3x3 convolutions with ReLU, then 2x2 max pooling, which
    halves the size. Up: a 2x2 up-convolution that halves the channels, beside it the middle of the same level's map on
    the way down, then two 3x3 convolutions; at last a 1x1 convolution. Dropout acts on the two lowest levels, as in the
    authors' code, which also has a ReLU after each up-convolution; the paper names none, and here is none. Weights
    start as in He et al. 2015 (sec. 3).

    padding: "valid", the paper's, loses two pixels at each convolution: 572 x 572 give 388 x 388; "same" keeps the
    size. batch_norm puts batch normalisation, which the paper does not have, before each ReLU.
    Every pooling must meet even sizes (sec. 3.2). Raises ValueError with the nearest sizes that fit if one does not.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        *,
        width: int = 64,
        depth: int = 4,
        padding: str = "valid",
        batch_norm: bool = False,
        dropout: float = 0.5,
        rng: np.random.Generator,
    ):
        positive(self, in_channels=in_channels, classes=classes, width=width, depth=depth)
        if padding not in ("valid", "same"):
            raise ValueError(f"UNet: padding must be 'valid' or 'same', got {padding!r}")
        self.in_channels, self.depth, self.padding = in_channels, depth, padding
        channels = [width * 2**i for i in range(depth + 1)]

        def block(inputs, outputs, *end):
            layers = []
            for c in (inputs, outputs):
                padded = int(padding == "same")
                layers.append(Conv2d(c, outputs, 3, padding=padded, bias=not batch_norm, rng=rng))
                layers += [BatchNorm2d(outputs), ReLU()] if batch_norm else [ReLU()]
            return Sequential(*layers, *end)

        dropouts = [()] * (depth - 1) + [(Dropout(dropout, rng=rng.spawn(1)[0]),) for _ in range(2)]
        self.contract = [block(a, b, *end) for a, b, end in zip([in_channels, *channels], channels, dropouts)]
        self.pool = MaxPool2d(2)
        self.up = [ConvTranspose2d(2 * c, c, 2, stride=2, rng=rng) for c in reversed(channels[:-1])]
        self.expand = [block(2 * c, c) for c in reversed(channels[:-1])]
        self.score = Conv2d(width, classes, 1, rng=rng)

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", self.in_channels, "H", "W")))
        self._check_size(*x.shape[2:])
        maps, cache = [], UNetCache([], [], [], [], None, [])
        for block in self.contract:
            if maps:
                x, c = self.pool.forward(x, training)
                cache.pool.append(c)
            x, c = block.forward(x, training)
            cache.contract.append(c)
            maps.append(x)
        maps.pop()  # the lowest map is x: it goes up, and over no bridge
        for up, block in zip(self.up, self.expand):
            x, c = up.forward(x, training)
            cache.up.append(c)
            cache.bridges.append(maps[-1].shape)
            x = array_module(x).concatenate([x, centre(maps.pop(), x.shape[2:])], axis=1)
            x, c = block.forward(x, training)
            cache.expand.append(c)
        y, c_score = self.score.forward(x, training)
        return y, cache._replace(score=c_score)

    def backward(self, dy, cache, images=True):
        dx, dmaps = self.score.backward(dy, cache.score), []
        for i in reversed(range(self.depth)):
            dboth = self.expand[i].backward(dx, cache.expand[i])
            half = dboth.shape[1] // 2
            dmaps.append(uncut(dboth[:, half:], cache.bridges[i]))  # from the highest level down
            dx = self.up[i].backward(dboth[:, :half], cache.up[i])
        lowest = 0 if images else lowest_trainable(self.contract)
        for i in reversed(range(lowest, self.depth + 1)):
            dx = backward_wanted(self.contract[i], dx, cache.contract[i], images or i > lowest)
            if i > lowest:
                dx = dmaps[i - 1] + self.pool.backward(dx, cache.pool[i - 1])  # the map forks: gradients add up
        return dx if images else None

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)

    def output_size(self, height: int, width: int) -> tuple[int, int] | None:
        """The size of the logits for images of a size; None where the size does not fit."""
        sizes = self._size(height), self._size(width)
        return None if None in sizes else sizes

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of the smallest images that give logits of at least this size."""
        return tuple(next(m for m in count(n) if (self._size(m) or 0) >= n) for n in (height, width))

    def _size(self, n):
        lost = 4 * (self.padding == "valid")  # by two convolutions
        for _ in range(self.depth):
            n -= lost
            if n < 2 or n % 2:
                return None
            n //= 2
        for _ in range(self.depth):
            n = 2 * (n - lost)
        return n - lost if n > lost else None

    def _check_size(self, *size):
        for name, n in zip(("H", "W"), size):
            if self._size(n) is None:
                least = next(m for m in count(1) if self._size(m))
                fits = [m for m in range(1, max(n, least) + 2 ** (self.depth + 1)) if self._size(m)]
                near = sorted(sorted(fits, key=lambda m: abs(m - n))[:2])
                raise ValueError(
                    f"UNet: {name}={n} does not fit {self.depth} poolings with padding {self.padding!r}; "
                    f"near are {' and '.join(map(str, near))}: pad or cut the images"
                )


@dataclass(frozen=True)
class Options(ObjectOptions):
    """U-Net as published, of colour images; without its specks and with a class of rims if wanted, as ObjectOptions."""

    short_side: int = 256
    max_side: int = 512
    border_weights: tuple[float, float] | None = (10, 5)  # w0 and sigma (sec. 3), for data that tell objects apart
    width: int = 64  # channels of the highest level
    depth: int = 4  # poolings
    padding: Literal["valid", "same"] = "valid"  # valid: mirrored images, and tiles of large ones; same: zeros
    batch_norm: bool = False  # whether batch normalisation stands before each ReLU
    dropout: float = 0.5  # share of elements dropped on the two lowest levels, in training
    tile: int = 388  # pixels of the output that are predicted at once, with padding "valid"


@dataclass(frozen=True)
class SmallOptions(Options):
    """A narrow U-Net with batch normalisation and convolutions that keep the size, for CPUs."""

    short_side: int = 64
    max_side: int = 80
    width: int = 8
    depth: int = 3
    padding: Literal["valid", "same"] = "same"
    batch_norm: bool = True
    dropout: float = 0.0


# Sec. 3: one image a step, momentum 0.99, elastic deformation. The rate is ours, as the loss is a mean, not a sum.
RECIPE = {
    "data": "nuclei", "epochs": 40, "batch_size": 1, "lr": 0.001, "momentum": 0.99, "weight_decay": 0.0,
    "schedule": "polynomial", "elastic": 10.0, "flip_vertical": 0.5,
}  # fmt: skip
SMALL = ON_SHAPES | {"batch_size": 8, "lr": 0.002}
TABLE = {"system": "U-Net", "paper": "Ronneberger et al. 2015, arXiv:1505.04597"}
SIZES = {"width": 2, "depth": 1, "short_side": 32, "max_side": 48}


@register(
    "unet_small", "segmentation", SMALL, options=SmallOptions, tiny=Tiny(SIZES | {"class_weights": [0.5, 1, 2, 3]}),
    figures="mIoU 0.912 on generated scenes", **TABLE,
)  # fmt: skip
@register("unet", "segmentation", RECIPE, options=Options, tiny=Tiny(SIZES, scenes=1, size=(32, 32)), **TABLE)
def unet(classes, options: Options, rng: np.random.Generator) -> ObjectClassifier:
    """U-Net of colour images: 31,031,810 parameters for 2 classes.

    With padding "same", images are padded to sizes that its poolings can halve.
    """
    o = options
    network = UNet(
        3, o.outputs(classes), width=o.width, depth=o.depth, padding=o.padding, batch_norm=o.batch_norm,
        dropout=o.dropout, rng=rng,
    )  # fmt: skip
    if o.padding == "valid":
        return ObjectClassifier(OverlapTile(network, o.tile), classes, o)
    return ObjectClassifier(network, classes, replace(o, multiple=math.lcm(o.multiple, 2**o.depth)))
