"""Cases of the activations, softmax, dropouts and the gate over channels."""

import numpy as np

from nn.cases.base import LayerCase
from nn.layer import Layer
from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from nn.layers.dropout import Dropout, Dropout2d, DropPath
from nn.layers.prelu import PReLU
from nn.layers.relu6 import ReLU6
from nn.layers.softmax import LogSoftmax, Softmax
from nn.layers.squeeze_excitation import SqueezeExcitation

RNG = np.random.default_rng(45)


def distinct(*shape):
    """Values far from each other and from 0: neither ties nor kinks within a finite difference."""
    size = int(np.prod(shape))
    return (RNG.permutation(size).reshape(shape) - size // 2 + 0.4) * (4 / size)


def case(build, shape, other, training=True, scale=1.0):
    """A LayerCase with random inputs of two shapes."""
    return LayerCase(build, (distinct(*shape) * scale,), (distinct(*other) * scale,), training)


def shapes(build):
    """The cases of every elementwise layer."""
    return {
        "images": case(build, (2, 3, 4, 5), (1, 3, 2, 6)),
        "rows": case(build, (4, 7), (3, 7)),
        "batch of 1": case(build, (1, 6), (2, 6)),
        "large": case(build, (3, 8), (2, 5), scale=12.0),  # from -24 to 24
    }


def dropping(layer, *options, **named):
    """What makes a dropout that draws the same masks each time it is made."""
    return lambda: layer(*options, **named, rng=np.random.default_rng(0))


LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    ReLU: shapes(ReLU),
    ReLU6: shapes(ReLU6),
    LeakyReLU: shapes(LeakyReLU)
    | {
        "slope 0.3": case(lambda: LeakyReLU(0.3), (4, 7), (3, 7)),
        "slope 0": case(lambda: LeakyReLU(0), (4, 7), (3, 7)),
    },
    PReLU: shapes(PReLU)
    | {
        "a slope a channel": case(lambda: PReLU(3), (2, 3, 4, 5), (1, 3, 2, 6)),
        "a slope a channel, rows": case(lambda: PReLU(7), (4, 7), (3, 7)),
        "a slope a channel, sequences": case(lambda: PReLU(2), (3, 2, 4), (1, 2, 7)),
        "a slope a channel, batch of 1": case(lambda: PReLU(4, init=-0.5), (1, 4, 3), (2, 4, 5)),
        "one vector": case(PReLU, (9,), (4,)),
    },
    ELU: shapes(ELU)
    | {
        "alpha 1.7": case(lambda: ELU(1.7), (4, 7), (3, 7)),
        "alpha 0.3": case(lambda: ELU(alpha=0.3), (4, 7), (3, 7)),
        "alpha 0": case(lambda: ELU(0), (4, 7), (3, 7)),
    },
    Sigmoid: shapes(Sigmoid),
    Tanh: shapes(Tanh),
    SiLU: shapes(SiLU),
    Softplus: shapes(Softplus)
    | {
        "beta 2.5": case(lambda: Softplus(2.5), (4, 7), (3, 7)),
        "beta 0.4": case(lambda: Softplus(beta=0.4), (4, 7), (3, 7)),
        "below and above the threshold": case(lambda: Softplus(beta=1.5, threshold=0.6), (4, 7), (3, 7)),
        "threshold below 0": case(lambda: Softplus(beta=0.5, threshold=-0.6), (4, 7), (3, 7)),
    },
    **{
        layer: {
            "rows": case(lambda layer=layer: layer(1), (4, 7), (3, 5)),
            "images": case(lambda layer=layer: layer(axis=1), (2, 3, 4, 5), (1, 4, 2, 6)),
            "over the batch": case(lambda layer=layer: layer(0), (4, 3, 2), (2, 3, 5)),
            "last axis": case(lambda layer=layer: layer(-1), (2, 4, 3), (2, 3, 5)),
            "axis -2": case(lambda layer=layer: layer(axis=-2), (2, 4, 3), (2, 3, 5)),
            "one vector": case(lambda layer=layer: layer(0), (8,), (3,)),
            "one class": case(lambda layer=layer: layer(1), (4, 1, 3), (2, 1, 5)),
            "large": case(lambda layer=layer: layer(1), (3, 8), (2, 5), scale=3.0),
            "batch of 1": case(lambda layer=layer: layer(1), (1, 6), (2, 6)),
        }
        for layer in (Softmax, LogSoftmax)
    },
    Dropout: {
        "half": case(dropping(Dropout), (3, 8), (5, 8)),
        "images": case(dropping(Dropout, 0.2), (2, 3, 4, 5), (1, 3, 2, 4)),
        "p 0": case(dropping(Dropout, 0), (3, 4), (5, 4)),
        "inference": case(dropping(Dropout), (3, 4), (5, 4), training=False),
        "batch of 1": case(dropping(Dropout, 0.3), (1, 9), (2, 9)),
    },
    Dropout2d: {
        "half": case(dropping(Dropout2d), (2, 5, 3, 4), (3, 4, 2, 5)),
        "p 0.3": case(dropping(Dropout2d, 0.3), (3, 6, 2, 4), (2, 6, 3, 5)),
        "sequences": case(dropping(Dropout2d, 0.4), (3, 5, 2), (2, 7, 3)),
        "p 0": case(dropping(Dropout2d, 0), (2, 3, 4, 5), (3, 4, 2, 5)),
        "inference": case(dropping(Dropout2d), (2, 3, 4, 5), (3, 4, 2, 5), training=False),
        "batch of 1": case(dropping(Dropout2d, 0.6), (1, 7, 3, 4), (2, 4, 3, 5)),
    },
    DropPath: {
        "row": case(dropping(DropPath, 0.4), (7, 3, 2, 4), (5, 2, 3, 1)),
        "row, rows": case(dropping(DropPath, 0.6, mode="row"), (8, 5), (6, 5)),
        "row, all drops": case(dropping(DropPath, 0.9), (2, 5), (3, 4)),
        "batch, kept": case(dropping(DropPath, 0.2, "batch"), (3, 2, 4, 5), (2, 3, 4, 1)),
        "batch, dropped": case(dropping(DropPath, 0.9, "batch"), (3, 2, 4, 5), (2, 3, 4, 1)),
        "p 0": case(dropping(DropPath, 0), (3, 4), (5, 4)),
        "inference": case(dropping(DropPath, 0.5), (3, 4), (5, 4), training=False),
        "batch of 1": case(dropping(DropPath, 0.5), (1, 3, 4), (2, 3, 5)),
    },
    SqueezeExcitation: {
        "more than one hidden": case(lambda: SqueezeExcitation(3, 2), (2, 3, 4, 5), (1, 3, 6, 2)),
        "wider than the input": case(lambda: SqueezeExcitation(2, 6), (3, 2, 5, 4), (1, 2, 2, 6)),
        "one hidden": case(lambda: SqueezeExcitation(5, 1), (2, 5, 4, 3), (1, 5, 2, 6)),
        "SiLU": case(lambda: SqueezeExcitation(3, 4, activation=SiLU), (2, 3, 4, 5), (1, 3, 6, 2)),
        "other gate, learned slopes": case(lambda: SqueezeExcitation(3, 4, PReLU, Tanh), (2, 3, 4, 5), (1, 3, 6, 2)),
        "one pixel": case(lambda: SqueezeExcitation(3, 2), (4, 3, 1, 1), (2, 3, 1, 2)),
        "batch of 1": case(lambda: SqueezeExcitation(4, 3), (1, 4, 2, 5), (2, 4, 3, 3)),
    },
}
