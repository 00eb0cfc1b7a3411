"""Encoder and decoder: down through convolutions and poolings, and up again. SegNet and DeconvNet share this."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from nn import BatchNorm2d, MaxPool2d, Sequential
from nn.layer import Layer, check_shape
from vision.backbones.vgg import POOL, VGG16
from vision.segmentation.pixel_classifier import PixelNetwork
from vision.segmentation.unpooling import Mode, Unpool2d


def widened(width: int, depth: int = 5) -> list:
    """The plan of VGG-16 up to its pooling number `depth`, with width channels for 64, all others in proportion."""
    if not 1 <= depth <= 5:
        raise ValueError(f"widened: VGG-16 has 5 poolings, depth must be in 1 .. 5, got {depth}")
    plan = [step if step == POOL else step // 64 * width for step in (*VGG16, POOL)]
    return plan[: [i for i, step in enumerate(plan) if step == POOL][depth - 1] + 1]


def blocks(features: Sequential) -> list[Sequential]:
    """The layers between the poolings, each block a Sequential of the same layer objects."""
    ends = [i for i, layer in enumerate(features) if isinstance(layer, MaxPool2d)]
    return [features[start:end] for start, end in zip([0, *(end + 1 for end in ends)], ends)]


def mirrored(plan: Sequence) -> list[list[tuple[int, int]]]:
    """(inputs, outputs) of each convolution on the way up, block by block from the deepest.

    A convolution of the plan from a to b channels is mirrored by one from b to a, in the opposite order. The mirror of
    the first one, which would give the 3 channels of an image, is left to the caller.
    """
    found, channels = [[]], None
    for step in plan:
        if step == POOL:
            found.append([])
        else:
            found[-1] += [(step, channels)] if channels else []
            channels = step
    return [block[::-1] for block in reversed(found[:-1])]


def block(pairs: Sequence[tuple[int, int]], layers: Callable[[int, int], Sequence[Layer]]) -> Sequential:
    """The layers that layers(inputs, outputs) makes of each pair, one after another."""
    return Sequential(*(layer for pair in pairs for layer in layers(*pair)))


def freeze_cancelled(layers: Sequential) -> Sequential:
    """The layers; biases before a batch normalisation, which subtracts them again, are no longer trained.

    Published weights of such networks have these biases, so the networks here have them, too.
    """
    for layer, following in pairwise(layers):
        if isinstance(following, BatchNorm2d) and layer.bias is not None:
            layer.bias.trainable = False
    return layers


def of_plain_vgg(arrays: Mapping[str, np.ndarray], features: Sequential) -> dict[str, np.ndarray]:
    """Weights of a plain VGG by the indices that its layers have in `features`, which may be batch-normalised.

    features.28 of VGG-16, its last convolution, is features.40 of VGG-16 with batch normalisation. Layers that are not
    in `features` are left out, other names stay. Arrays that have batch normalisation themselves (a vector
    features.N.weight) come back as they are.
    """
    of_features = {name: re.fullmatch(r"features\.(\d+)\.(.+)", name) for name in arrays}
    if any(found and found[2] == "weight" and arrays[name].ndim == 1 for name, found in of_features.items()):
        return dict(arrays)
    indices = [i for i, layer in enumerate(features) if not isinstance(layer, BatchNorm2d)]
    renamed = {}
    for name, found in of_features.items():
        if found is None:
            renamed[name] = arrays[name]
        elif int(found[1]) < len(indices):
            renamed[f"features.{indices[int(found[1])]}.{found[2]}"] = arrays[name]
    return renamed


class Cache(NamedTuple):
    """The caches of the layers: encoders and poolings in order, unpoolings and decoders from the deepest."""

    encoders: list
    pools: list
    middle: Any
    unpools: list
    decoders: list
    score: Any


class EncoderDecoder(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W): encoders, a middle, decoders, a score layer.

    Each encoder is followed by 2x2 max pooling, which rounds odd sizes up. Each decoder follows unpooling by `unpool`
    (see Unpool2d) to the size of its encoder's output; in mode "max" values go back to the positions of the maxima.
    A subclass sets encoders (from the first), decoders (from the deepest), score and, if it has one, middle, and names
    the parameters in `children`.
    """

    middle: Layer = Sequential()

    def __init__(self, unpool: Mode):
        self.pool, self.unpool = MaxPool2d(2, ceil_mode=True, return_indices=True), Unpool2d(unpool)

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        cache, pooled = Cache([], [], None, [], [], None), []
        for encoder in self.encoders:
            x, c = encoder.forward(x, training)
            cache.encoders.append(c)
            size = x.shape[2:]
            (x, indices), c = self.pool.forward(x, training)
            cache.pools.append(c)
            pooled.append((indices, size))
        x, c_middle = self.middle.forward(x, training)
        for decoder in self.decoders:
            x, c = self.unpool.forward(x, *pooled.pop(), training)
            cache.unpools.append(c)
            x, c = decoder.forward(x, training)
            cache.decoders.append(c)
        y, c_score = self.score.forward(x, training)
        return y, cache._replace(middle=c_middle, score=c_score)

    def backward(self, dy, cache):
        dx = self.score.backward(dy, cache.score)
        for decoder, c_unpool, c in reversed([*zip(self.decoders, cache.unpools, cache.decoders)]):
            dx, _ = self.unpool.backward(decoder.backward(dx, c), c_unpool)
        dx = self.middle.backward(dx, cache.middle)
        for encoder, c_pool, c in reversed([*zip(self.encoders, cache.pools, cache.encoders)]):
            dx = encoder.backward(self.pool.backward(dx, c_pool), c)
        return dx
