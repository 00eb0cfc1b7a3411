"""Cases of the normalisations: over the batch, over the sample, across channels."""

import numpy as np

from nn.cases.base import LayerCase
from nn.layer import Layer
from nn.layers.batch_norm import BatchNorm1d, BatchNorm2d
from nn.layers.layer_norm import LayerNorm
from nn.layers.local_norm import L2Norm, LocalResponseNorm

RNG = np.random.default_rng(44)


def case(build, shape, other, training=True):
    """A LayerCase with random inputs of two shapes."""
    return LayerCase(build, (RNG.standard_normal(shape),), (RNG.standard_normal(other),), training)


def batch(layer, shape, training=True, **options):
    """A BatchNorm case; the other input has one image and one pixel (in the last axis) more."""
    other = (shape[0] + 1, *shape[1:-1], shape[-1] + (len(shape) > 2))
    return case(lambda: layer(shape[1], **options), shape, other, training)


def across(layer, shape, other, *args, **options):
    """An L2Norm or LocalResponseNorm case: the layer's arguments after the shapes."""
    return case(lambda: layer(*args, **options), shape, other)


LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    BatchNorm1d: {
        "rows": batch(BatchNorm1d, (5, 3)),
        "rows, running statistics": batch(BatchNorm1d, (4, 3), training=False),
        "rows, frozen": batch(BatchNorm1d, (4, 3), frozen=True, eps=0.2),
        "rows, two": batch(BatchNorm1d, (2, 3), eps=0.1),
        "sequences": batch(BatchNorm1d, (2, 3, 4), momentum=0.7),
        "sequences, running statistics": batch(BatchNorm1d, (2, 3, 4), training=False),
        "sequences of length 1": batch(BatchNorm1d, (4, 3, 1)),
        "sequences, not affine": batch(BatchNorm1d, (2, 3, 5), affine=False),
        "sequences, no running statistics": batch(BatchNorm1d, (3, 2, 4), training=False, track_running_stats=False),
        "average of all batches": batch(BatchNorm1d, (4, 3), momentum=None),
        "batch of 1": batch(BatchNorm1d, (1, 3, 5)),
        "batch of 1 row, inference": batch(BatchNorm1d, (1, 3), training=False),
    },
    BatchNorm2d: {
        "batch statistics": batch(BatchNorm2d, (2, 3, 4, 5)),
        "eps": batch(BatchNorm2d, (4, 2, 3, 1), eps=0.1),
        "running statistics": batch(BatchNorm2d, (2, 3, 4, 5), training=False),
        "frozen": batch(BatchNorm2d, (2, 3, 4, 5), frozen=True),
        "frozen, inference": batch(BatchNorm2d, (2, 3, 1, 4), training=False, frozen=True),
        "momentum": batch(BatchNorm2d, (3, 2, 4, 1), momentum=0.7),
        "average of all batches": batch(BatchNorm2d, (3, 2, 4, 1), momentum=None),
        "not affine": batch(BatchNorm2d, (2, 3, 4, 5), affine=False),
        "not affine, running statistics": batch(BatchNorm2d, (2, 3, 4, 5), training=False, affine=False),
        "no running statistics": batch(BatchNorm2d, (2, 3, 4, 5), training=False, track_running_stats=False),
        "batch of 1": batch(BatchNorm2d, (1, 3, 4, 5)),
    },
    LayerNorm: {
        "rows": case(lambda: LayerNorm(5), (3, 5), (4, 5)),
        "eps": case(lambda: LayerNorm(5, eps=0.3), (4, 5), (3, 5)),
        "sequences": case(lambda: LayerNorm(4), (3, 2, 4), (5, 1, 4)),
        "sequence of length 1": case(lambda: LayerNorm(4), (1, 3, 4), (2, 3, 4)),
        "images": case(lambda: LayerNorm((3, 4, 5)), (2, 3, 4, 5), (1, 3, 4, 5)),
        "last two axes": case(lambda: LayerNorm((3, 4)), (2, 5, 3, 4), (3, 1, 3, 4)),
        "no bias": case(lambda: LayerNorm((2, 4), bias=False), (3, 2, 4), (5, 2, 4)),
        "not affine": case(lambda: LayerNorm(6, elementwise_affine=False), (4, 6), (2, 6)),
        "of all of one sample": case(lambda: LayerNorm((3, 2)), (3, 2), (4, 3, 2)),
        "batch of 1": case(lambda: LayerNorm((3, 4)), (1, 3, 4), (2, 3, 4)),
    },
    LocalResponseNorm: {
        "odd size": across(LocalResponseNorm, (2, 7, 3, 4), (1, 6, 2, 3), 3, alpha=0.9, beta=0.6, k=1.5),
        "even size": across(LocalResponseNorm, (2, 7, 3, 4), (1, 6, 2, 3), 4, alpha=1.2, k=0.5),
        "AlexNet": across(LocalResponseNorm, (2, 8, 3, 4), (1, 6, 2, 3), 5, alpha=5e-4, beta=0.75, k=2.0),
        "defaults": across(LocalResponseNorm, (3, 5, 2, 4), (1, 6, 2, 3), 2),
        "window over all channels": across(LocalResponseNorm, (2, 3, 4, 1), (1, 4, 2, 3), 9, alpha=2.0, beta=1.3),
        "one channel alone": across(LocalResponseNorm, (2, 4, 3, 5), (1, 4, 2, 3), 1, alpha=0.7, beta=0.5),
        "beta 0": across(LocalResponseNorm, (2, 4, 3), (1, 4, 2), 3, beta=0.0),
        "rows": across(LocalResponseNorm, (3, 6), (2, 4), 3, alpha=0.9),
        "batch of 1": across(LocalResponseNorm, (1, 6, 5, 4), (2, 4, 3, 3), 5, alpha=1.0, beta=0.75),
    },
    L2Norm: {
        "images": across(L2Norm, (2, 5, 3, 4), (1, 5, 2, 2), 5),
        "eps": across(L2Norm, (2, 3, 5, 4), (1, 3, 2, 2), 3, scale=1.0, eps=0.5),
        "sequences": across(L2Norm, (3, 4, 2), (2, 4, 5), 4, scale=-2.0),
        "rows": across(L2Norm, (4, 6), (2, 6), 6),
        "one channel": across(L2Norm, (4, 1, 3, 2), (2, 1, 4, 3), 1, eps=0.7),
        "batch of 1": across(L2Norm, (1, 3, 5, 4), (2, 3, 4, 4), 3),
    },
}
