"""Encoder and decoder: down through convolutions and poolings, and up again. SegNet and DeconvNet share this."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nn import MaxPool2d, Sequential
from nn.containers import backward_wanted, lowest_trainable
from nn.layer import Layer, check_shape
from vision.backbones.vgg import POOL
from vision.segmentation.pixel_classifier import PixelNetwork
from vision.segmentation.unpooling import Mode, Unpool2d


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

    def backward(self, dy, cache, images=True):
        dx = self.score.backward(dy, cache.score)
        for decoder, c_unpool, c in reversed([*zip(self.decoders, cache.unpools, cache.decoders)]):
            dx, _ = self.unpool.backward(decoder.backward(dx, c), c_unpool)
        dx = self.middle.backward(dx, cache.middle)
        lowest = 0 if images else lowest_trainable(self.encoders)
        for i in reversed(range(lowest, len(self.encoders))):
            dx = self.pool.backward(dx, cache.pools[i])
            dx = backward_wanted(self.encoders[i], dx, cache.encoders[i], images or i > lowest)
        return dx if images else None

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)
