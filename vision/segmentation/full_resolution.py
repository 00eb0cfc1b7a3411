"""The costly way to label every pixel: convolutions that keep the full resolution from the first to the last.

A layer of D channels on an H x W image has D H W activations, all kept for the backward pass, and k^2 D^2 H W
multiply-adds. A pooling before it would leave a quarter of both, and double the distance that each further layer sees:
here `depth` layers see (k - 1) depth + 1 pixels. VGG-16's 13 convolutions on 224 x 224 pixels take 15.3 thousand
million multiply-adds; without its poolings they would take 738.
"""

from dataclasses import dataclass

import numpy as np

from nn import BatchNorm2d, Conv2d, ReLU, Sequential
from nn.containers import backward_chain
from nn.layer import check_shape, positive
from vision.registry import Tiny, register
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelClassifier, PixelNetwork, PixelOptions


class FullResolution(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W): `depth` convolutions of D = width channels, then a 1x1 one.

    Each convolution is kernel_size x kernel_size (odd), pads with zeros to keep the size, and is followed by batch
    normalisation, unless batch_norm is False, and ReLU.

    Reference: as in courses (Stanford's CS231n: "convolutions at original image resolution will be very expensive");
    Badrinarayanan et al. 2017, arXiv:1511.00561, sec. 3.1, tried it: more memory, slower to converge, poor.
    """

    def __init__(
        self, classes: int, width: int = 64, depth: int = 13, kernel_size: int = 3, batch_norm: bool = True, *,
        rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, depth=depth, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"FullResolution: kernel_size must be odd, got {kernel_size}")
        layers = []
        for channels in [3] + (depth - 1) * [width]:
            layers.append(Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=not batch_norm, rng=rng))
            layers += [BatchNorm2d(width), ReLU()] if batch_norm else [ReLU()]
        self.features, self.score = Sequential(*layers), Conv2d(width, classes, 1, rng=rng)

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        x, c_features = self.features.forward(x, training)
        y, c_score = self.score.forward(x, training)
        return y, (c_features, c_score)

    def backward(self, dy, cache):
        c_features, c_score = cache
        return self.features.backward(self.score.backward(dy, c_score), c_features)

    def backward_parameters(self, dy, cache):
        backward_chain((self.features, self.score), cache, dy)


@dataclass(frozen=True)
class Options(PixelOptions):
    """Eight 5x5 convolutions of 16 channels, which see 33 pixels, for generated scenes and CPUs."""

    short_side: int = 64
    max_side: int = 80
    width: int = 16  # channels of all convolutions but the last
    depth: int = 8  # convolutions before the last one
    kernel_size: int = 5  # kernel size of all convolutions, odd
    batch_norm: bool = True  # whether batch normalisation stands before each ReLU


SMALL = ON_SHAPES | {"epochs": 2}
TINY = Tiny({"width": 2, "depth": 2, "kernel_size": 3}, scenes=1, size=(32, 32))


@register(
    "full_resolution_small", "segmentation", SMALL, options=Options, tiny=TINY, system="Full-resolution stack",
    figures="mIoU 0.888 on generated scenes",
)  # fmt: skip
def full_resolution_small(classes, options: Options, rng: np.random.Generator) -> PixelClassifier:
    """A stack of convolutions that keep the full resolution."""
    o = options
    return PixelClassifier(
        FullResolution(len(classes), o.width, o.depth, o.kernel_size, o.batch_norm, rng=rng), classes, options
    )
