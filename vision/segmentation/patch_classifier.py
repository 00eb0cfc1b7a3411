"""Sliding window: cut a patch around each pixel and classify its centre; and the same at once for all pixels.

Neighbouring patches share nearly all of their pixels, and a sliding window computes everything anew in each. With the
same weights the network can go over the whole image instead, if no pooling skips a pixel: where the patch's network
steps two pixels, the image's network steps one, and all layers after it take their inputs twice as far apart
(dilation). Each pixel then has the score that its own patch would have given it.

Reference: Ciresan, Giusti, Gambardella and Schmidhuber 2012, Deep neural networks segment neuronal membranes in
electron microscopy images; Giusti et al. 2013, Fast image scanning with deep max-pooling convolutional neural networks,
arXiv:1302.1700; Masci et al. 2013, A fast learning algorithm for image segmentation with max-pooling convolutional
networks, arXiv:1302.1690; Long et al. 2015, arXiv:1411.4038, sec. 3.1 and 3.2.
"""

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, MaxPool2d, ReLU, Sequential
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import check_shape, positive
from nn.layers.windows import pad
from vision.registry import Tiny, register
from vision.segmentation.pixel_classifier import (
    ON_SHAPES,
    PixelClassifier,
    PixelNetwork,
    PixelOptions,
    whole_numbers,
)


class PatchNetwork(PixelNetwork):
    """patches (M, 3, P, P) to logits (M, classes, 1, 1); and images (N, 3, H, W) to logits (N, classes, H, W).

    For each of `kernels` there is a convolution of that size to `width` channels, ReLU and 2x2 max pooling; then a
    convolution over the last x last cells that are left to `hidden` units, ReLU, and a 1x1 convolution. The default is
    the paper's N4, on patches of P = 95. P is odd, so that there is a centre; an even first kernel makes it odd.
    Raises ValueError for kernels that make P even.

    `classify` is the window's network; forward is the image's: the same Parameters in layers with stride 1 and
    dilation 1, 2, 4, ..., on the image with P // 2 zeros, the mean colour, at each border (the paper mirrors it there).
    """

    def __init__(
        self, classes: int, width: int = 48, kernels: tuple[int, ...] = (4, 5, 4, 4), last: int = 3, hidden: int = 200,
        *, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, last=last, hidden=hidden)
        whole_numbers(self, kernels=kernels)
        if not kernels:
            raise ValueError("PatchNetwork: kernels must be at least one, got none")
        self.patch = last
        for kernel in reversed(kernels):
            self.patch = 2 * self.patch + kernel - 1
        if self.patch % 2 == 0:
            raise ValueError(
                f"PatchNetwork: kernels {list(kernels)} make patches of {self.patch}: the first must be even"
            )
        layers, channels = [], 3
        for kernel in kernels:
            layers += [Conv2d(channels, width, kernel, rng=rng), ReLU(), MaxPool2d(2)]
            channels = width
        layers += [Conv2d(channels, hidden, last, rng=rng), ReLU(), Conv2d(hidden, classes, 1, rng=rng)]
        self.layers_of_window = Sequential(*layers)
        self.layers_of_image = without_steps(self.layers_of_window)

    def children(self):
        """The window's network, as `network`: the other one has the same parameters."""
        yield "network", self.layers_of_window

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        return self.layers_of_image.forward(pad(x, (self.patch // 2, self.patch // 2)), training)

    def backward(self, dy, cache):
        dx, p = self.layers_of_image.backward(dy, cache), self.patch // 2
        return dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p]

    def backward_parameters(self, dy, cache):
        self.layers_of_image.backward_parameters(dy, cache)

    def classify(self, images, pixels, training=True):
        """(logits (M, classes, 1, 1), cache) of the patches around pixels (M, 3) int: image, row, column."""
        return self.layers_of_window.forward(self.cut(images, pixels), training)

    def cut(self, images, pixels):
        """patches (M, 3, P, P), zeros where they reach over the image's border."""
        p, xp = self.patch, array_module(images)
        padded = pad(images, (p // 2, p // 2))
        if xp is np:
            return np.stack([padded[n, :, r : r + p, c : c + p] for n, r, c in pixels])
        n, r, c = pixels.T[:, :, None, None]  # on a GPU all at once: each (M, 1, 1)
        return padded[n, :, r + xp.arange(p)[:, None], c + xp.arange(p)].transpose(0, 3, 1, 2)

    def slide(self, images):
        """forward's logits in inference, by the window: a batch of patches for each row of pixels. Slow."""
        n, _, h, w = images.shape
        rows = [
            self.classify(images, [(i, r, c) for c in range(w)], training=False)[0] for i in range(n) for r in range(h)
        ]
        return array_module(images).stack(rows).reshape(n, h, w, rows[0].shape[1]).transpose(0, 3, 1, 2)

    def multiply_adds_by(self, height: int, width: int) -> tuple[int, int]:
        """(sliding, at once): the multiply-adds of an image by the window and by the image's network."""
        around = 2 * (self.patch // 2)
        window = _multiply_adds(self.layers_of_window, self.patch, self.patch)
        return height * width * window, _multiply_adds(self.layers_of_image, height + around, width + around)


def without_steps(layers: Sequential) -> Sequential:
    """Layers with the same Parameters that give at every pixel what `layers` give for its window."""
    found, dilation = [], 1
    for layer in layers:
        if isinstance(layer, Conv2d):
            dilated = copy.copy(layer)  # weight and bias are the same objects
            dilated.geometry = layer.geometry._replace(dilation=(dilation, dilation))
            found.append(dilated)
        elif isinstance(layer, MaxPool2d):
            found.append(MaxPool2d(2, stride=1, dilation=dilation))
            dilation *= 2
        else:
            found.append(layer)
    return Sequential(*found)


def _multiply_adds(layers, *size):
    """Multiply-adds of the convolutions on an image of a size."""
    total = 0
    for layer in layers:
        if hasattr(layer, "geometry"):
            size = layer.geometry.output_size(layer, *size)
        if isinstance(layer, Conv2d):
            total += layer.multiply_adds((1, layer.out_channels, *size))
    return total


class Cache(NamedTuple):
    """The network's cache for the patches, the gradient of the loss with respect to their logits, and their centres."""

    network: Any
    dlogits: np.ndarray
    sampled: np.ndarray


@dataclass(frozen=True)
class Options(PixelOptions):
    """A window of 31 pixels with 16 channels, learned from all pixels at once, for generated scenes and CPUs.

    Raises ValueError for border_weights, since patches are drawn, not weighted, and for balanced without patches.
    """

    short_side: int = 64
    max_side: int = 80
    width: int = 16  # channels of all convolutions but the last two
    kernels: tuple[int, ...] = (4, 3, 3)  # kernel sizes, each before a pooling; the first is even
    last: int = 2  # kernel size of the convolution behind the last pooling
    hidden: int = 64  # channels of the hidden layer
    patches: int | None = None  # patches drawn from each image and step; none: all, by the image's network
    balanced: bool = False  # whether each class of an image is drawn as often as the others

    def __post_init__(self):
        super().__post_init__()
        if self.patches is not None:
            positive("PatchClassifier", patches=self.patches)
        elif self.balanced:
            raise ValueError("PatchClassifier: balanced needs patches, how many to draw from each image; got none")
        if self.border_weights is not None:
            raise ValueError("PatchClassifier: border_weights must be none: single patches have no weights")


class PatchClassifier(PixelClassifier):
    """A PatchNetwork trained on single patches, as Ciresan et al. do, or on all of an image; used on whole images.

    Option patches: how many are drawn, with replacement, from the pixels with a label of each image at each step; none:
    the patches of all pixels, by the image's network at once (Masci et al. 2013), in the time of some 64 windows.
    Option balanced: as many of each class that the image has, on average (Ciresan's way), else as often as they occur.
    """

    def multiply_adds(self, output_shape) -> int:
        """Those of the image's network, whose layers are not children: their Parameters are the window's."""
        n, _, height, width = output_shape
        return n * self.network.multiply_adds_by(height, width)[1]

    def loss(self, batch, rng: np.random.Generator, sampled=None):
        """({pixels}, cache): the mean of -log p(label) over the centres of the patches drawn, or over all pixels.

        sampled: centres (M, 3) as draw gives them.
        """
        if self.options.patches is None:
            return super().loss(batch, rng)
        images, labels, *_ = batch
        sampled = self.draw(labels, rng) if sampled is None else sampled
        logits, cache = self.network.classify(images, sampled)
        pixels, dlogits = self.pixel_loss(logits, labels[tuple(sampled.T)][:, None, None])
        return {"pixels": pixels}, Cache(cache, dlogits, sampled)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        if self.options.patches is None:
            super().backward(cache)
        else:
            self.network.layers_of_window.backward_parameters(cache.dlogits, cache.network)

    def draw(self, labels, rng: np.random.Generator) -> np.ndarray:
        """(M, 3): image, row and column of pixels with a label, `patches` from each image that has any.

        They are drawn on the CPU: labels are copied from the GPU, and the pixels drawn to it.
        """
        found = []
        for n, of_image in enumerate(to_device(labels, "cpu")):
            rows, columns = np.nonzero(of_image >= 0)
            if not len(rows):
                continue
            p = None
            if self.options.balanced:
                _, which, counts = np.unique(of_image[rows, columns], return_inverse=True, return_counts=True)
                p = 1 / (counts[which] * len(counts))
            chosen = rng.choice(len(rows), self.options.patches, p=p)
            found.append(np.stack([np.full(len(chosen), n), rows[chosen], columns[chosen]], axis=1))
        if not found:
            raise ValueError("PatchClassifier: no pixel of the batch has a label")
        return to_device(np.concatenate(found), device_of(labels))


SMALL = ON_SHAPES | {"epochs": 2}


@register(
    "patch_classifier_small", "segmentation", SMALL, options=Options, system="Patch classifier",
    tiny=Tiny({"width": 2, "kernels": [2, 2], "last": 1, "hidden": 3, "patches": 5}),
    paper="Ciresan et al. 2012; Giusti et al. 2013, arXiv:1302.1700", figures="mIoU 0.606 on generated scenes",
)  # fmt: skip
def patch_classifier_small(classes, options: Options, rng: np.random.Generator) -> PatchClassifier:
    """A patch classifier."""
    o = options
    network = PatchNetwork(len(classes), o.width, o.kernels, o.last, o.hidden, rng=rng)
    return PatchClassifier(network, classes, options)
