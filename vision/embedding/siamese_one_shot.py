"""Siamese networks for one-shot recognition: twins learn whether two images are of one class, then meet new classes.

Reference: Koch, Zemel and Salakhutdinov 2015, Siamese neural networks for one-shot image recognition.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    WeightedL1,
    binary_cross_entropy_with_logits,
)  # fmt: skip
from nn.layer import positive
from vision.classification.mnist_networks import Grey
from vision.embedding.embedder import Embedder, SquareOptions, twins
from vision.registry import Tiny, register
from vision.sampling import Sampling


@dataclass(frozen=True)
class Options(SquareOptions):
    """White is 0 and ink is -1."""

    width: int = 64  # channels of the first convolution
    features: int = 4096  # units of the twins' last layer
    short_side: int = 105  # pixels of the shorter side
    max_side: int = 105  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (255, 255, 255)  # subtracted from each channel, in units of 0..255


@dataclass(frozen=True)
class SmallOptions(Options):
    """A network that two cores can train."""

    width: int = 32  # channels of each convolution
    features: int = 256  # units of the twins' last layer
    short_side: int = 28  # pixels of the shorter side
    max_side: int = 28  # pixels of the longer side at most


class Cache(NamedTuple):
    """From loss to backward: caches of the two passes and of the distance, and the gradient of the logits."""

    first: Any
    second: Any
    distance: Any
    dlogits: np.ndarray


# The paper: rates of each layer and momentum found by Bayesian optimisation, the rate 1 % less in each epoch, L2
# regularisation. Affine distortions as there.
RECIPE = {
    "data": "omniglot", "epochs": 200, "batch_size": 128, "optimiser": "adam", "lr": 0.0005, "weight_decay": 0.0002,
    "schedule": "cosine", "evaluate_every": 10, "flip_horizontal": 0.0, "jitter": 0.0, "affine": 1.0,
}  # fmt: skip
PAPER = {"system": "Siamese one-shot", "paper": "Koch, Zemel and Salakhutdinov 2015"}
TINY = {"width": 2, "features": 5}


class Siamese(Embedder):
    """sigmoid(sum over j of weight[j] |x1[j] - x2[j]| + bias): the probability that two images are of one class."""

    smallest_batch = 2
    sampling = Sampling("labels")

    def __init__(self, network, classes, options: Options, rng: np.random.Generator):
        super().__init__(network, classes, options)
        self.distance = WeightedL1(options.features, rng=rng)

    def loss(self, batch, rng, sampled=None):
        """({verification}, cache): cross entropy of "one class" or "two classes", eq. of sec. 3.2."""
        first, second, similar = twins(batch)
        x1, c_first = self.forward(first)
        x2, c_second = self.forward(second)
        logits, c_distance = self.distance.forward(x1, x2)
        value, dlogits = binary_cross_entropy_with_logits(logits, similar)
        return {"verification": value}, Cache(c_first, c_second, c_distance, dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters: those of the two passes add up."""
        dx1, dx2 = self.distance.backward(cache.dlogits, cache.distance)
        self.network.backward_parameters(dx2, cache.second)
        self.network.backward_parameters(dx1, cache.first)

    def similarity(self, x, y) -> np.ndarray:
        """(N, M): the logit of the probability that each of the vectors x (N, D) is of the class of each of y (M, D).

        Their order is the same, but in float32 a logit of 17 has the probability 1, and one of -104 that of 0: among
        equal ones the first support would win.
        """
        return self.distance.between(x, y)


@register(
    "siamese_one_shot", "embedding", RECIPE | {"batch_size": 32}, options=Options, **PAPER,
    tiny=Tiny(TINY | {"short_side": 97, "max_side": 97}, scenes=4, size=(97, 97)),
)  # fmt: skip
def siamese_one_shot(classes, options: Options, rng) -> Siamese:
    """The network of the paper's fig. 4: four convolutions, 10x10, 7x7, 4x4 and 4x4, and 4096 sigmoid units."""
    o, width = options, options.width
    positive("siamese_one_shot", width=width, features=o.features)
    layers, channels, side = [Grey(o.short_side)], 1, o.short_side
    for kernel, factor, pooled in ((10, 1, True), (7, 2, True), (4, 2, True), (4, 4, False)):
        layers += [Conv2d(channels, factor * width, kernel, rng=rng), ReLU()]
        layers += [MaxPool2d(2)] if pooled else []
        channels, side = factor * width, (side - kernel + 1) // (2 if pooled else 1)
    if side < 1:
        raise ValueError(f"siamese_one_shot: images of {o.short_side} pixels are too small for its kernels, take 105")
    as_in_paper(layers, 0.01, rng)
    last = Linear(channels * side**2, o.features, rng=rng)
    as_in_paper([last], 0.2, rng)
    return Siamese(Sequential(*layers, Flatten(), last, Sigmoid()), classes, options, rng)


def as_in_paper(layers, deviation: float, rng: np.random.Generator):
    """Weights N(0, deviation), biases N(0.5, 0.01): sec. 3.2, weight initialization."""
    for layer in layers:
        for name, parameter in layer.parameters().items():
            mean, spread = (0.5, 0.01) if name.endswith("bias") else (0.0, deviation)
            parameter.value[...] = rng.normal(mean, spread, parameter.value.shape)


@register(
    "siamese_one_shot_small", "embedding", RECIPE, options=SmallOptions, **PAPER,
    tiny=Tiny(TINY | {"short_side": 32, "max_side": 32}, scenes=4, size=(32, 32)),
)  # fmt: skip
def siamese_one_shot_small(classes, options: SmallOptions, rng) -> Siamese:
    """Four times 3x3 convolution, batch normalisation, ReLU and pooling, and `features` sigmoid units."""
    o = options
    positive("siamese_one_shot_small", width=o.width, features=o.features)
    layers, size = four_blocks(o.short_side, o.width, rng)
    return Siamese(Sequential(*layers, Linear(size, o.features, rng=rng), Sigmoid()), classes, options, rng)


def four_blocks(side: int, width: int, rng: np.random.Generator, colour: bool = False) -> tuple[list, int]:
    """Four times 3x3 convolution, batch normalisation, ReLU and 2x2 pooling, flattened; and how many features come out.

    colour: the first convolution sees three channels, else their mean.
    Reference: Vinyals et al. 2016, arXiv:1606.04080, sec. 4.1.1 (64 channels on 28x28).
    """
    layers, channels = ([], 3) if colour else ([Grey(side)], 1)
    for _ in range(4):
        conv = Conv2d(channels, width, 3, padding=1, bias=False, rng=rng)
        layers += [conv, BatchNorm2d(width), ReLU(), MaxPool2d(2)]
        channels, side = width, side // 2
    if side < 1:
        raise ValueError("four_blocks: images must be at least 16 pixels wide, for each block halves them")
    return [*layers, Flatten()], width * side**2
