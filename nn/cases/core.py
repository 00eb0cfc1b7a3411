"""Cases of Linear, WeightedL1, Conv2d, SamePad2d, MaxPool2d, RoIPool and the containers."""

import numpy as np

from nn.cases.base import LayerCase
from nn.containers import Concat, Residual, Sequential
from nn.layer import Layer
from nn.layers.activation import LeakyReLU, ReLU
from nn.layers.batch_norm import BatchNorm2d
from nn.layers.conv import Conv2d
from nn.layers.dropout import Dropout
from nn.layers.flatten import Flatten
from nn.layers.linear import Linear
from nn.layers.max_pool import MaxPool2d
from nn.layers.roi_pool import RoIPool
from nn.layers.same_pad import SamePad2d
from nn.layers.weighted_l1 import WeightedL1

RNG = np.random.default_rng(40)


def normal(*shape):
    """Standard normal values of a shape."""
    return RNG.standard_normal(shape)


def distinct(*shape):
    """Values far from each other and from 0: neither ties nor kinks within a finite difference."""
    size = int(np.prod(shape))
    return (RNG.permutation(size).reshape(shape) - size // 2 + 0.4) * (4 / size)


def conv(n, c, h, w, o, kernel, other=(2, 6, 8), plain=False, **options):
    """A Conv2d case; `other` is the second input's N, H, W."""
    inputs = (normal(n, c, h, w),), (normal(other[0], c, *other[1:]),)
    return LayerCase(lambda: Conv2d(c, o, kernel, **options), *inputs, plain=plain)


def pool(n, c, h, w, *args, training=True, **options):
    """A MaxPool2d case; the other input is a little larger."""
    inputs = (distinct(n, c, h, w),), (distinct(n + 1, c, h + 2, w + 1),)
    return LayerCase(lambda: MaxPool2d(*args, **options), *inputs, training)


def roi(n, c, h, w, output_size, scale, rounding, k):
    """k boxes, in part outside the image, with no corner near a half, where rounding would change."""

    def inputs(n, h, w, k):
        low = RNG.integers(-2, (w, h), (k, 2))
        corners = np.concatenate([low, low + RNG.integers(0, (w, h), (k, 2))], axis=1) + RNG.uniform(-0.4, 0.4, (k, 4))
        return distinct(n, c, h, w), corners / scale, RNG.integers(0, n, k)

    return LayerCase(lambda: RoIPool(output_size, scale, rounding), inputs(n, h, w, k), inputs(n + 1, h + 2, w, k + 1))


def mixed():
    """One of everything, nested."""
    return Sequential(
        Conv2d(2, 4, 3, padding=1, bias=False),
        BatchNorm2d(4),
        LeakyReLU(0.1),
        Residual(Sequential(Conv2d(4, 4, 3, padding=1, groups=2), ReLU(), Dropout(0.3, rng=np.random.default_rng(0)))),
        MaxPool2d(2),
        Concat(Conv2d(4, 3, 1), Sequential(Conv2d(4, 2, 3, padding=1), ReLU())),
    )


def tied():
    """The same Linear twice: its gradient is the sum of both uses."""
    shared = Linear(3, 3)
    return Sequential(shared, LeakyReLU(0.3), shared, Linear(3, 2))


LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    Linear: {
        "bias": LayerCase(lambda: Linear(5, 4), (normal(3, 5),), (normal(2, 5),)),
        "no bias": LayerCase(lambda: Linear(5, 4, bias=False), (normal(3, 5),), (normal(6, 5),)),
        "batch of 1": LayerCase(lambda: Linear(2, 6), (normal(1, 2),), (normal(3, 2),)),
    },
    WeightedL1: {
        "bias": LayerCase(lambda: WeightedL1(5), (normal(3, 5), normal(3, 5)), (normal(2, 5), normal(2, 5))),
        "no bias": LayerCase(lambda: WeightedL1(4, bias=False), (normal(6, 4), normal(6, 4)), (normal(1, 4),) * 2),
        "batch of 1": LayerCase(lambda: WeightedL1(7), (normal(1, 7), normal(1, 7)), (normal(3, 7), normal(3, 7))),
    },
    Conv2d: {
        "3x3": conv(2, 3, 5, 6, 4, 3),
        "3x3 padded": conv(2, 3, 4, 5, 6, 3, padding=1),
        "no bias": conv(2, 3, 5, 4, 2, (2, 3), bias=False),
        "stride 2": conv(2, 3, 6, 7, 4, 3, stride=2, padding=1),
        "stride, rows left over": conv(2, 1, 7, 8, 3, (2, 3), stride=(3, 4)),
        "not square": conv(1, 2, 6, 7, 3, (4, 3), stride=(1, 2), padding=(2, 1), dilation=(1, 2), other=(2, 7, 9)),
        "dilation 2": conv(1, 2, 6, 7, 3, (2, 3), dilation=2, padding=1, other=(2, 7, 8)),
        "groups": conv(2, 4, 3, 5, 6, (3, 2), groups=2, padding=1),
        "depthwise": conv(2, 3, 5, 4, 6, 3, groups=3, padding=1),
        "depthwise, an output a channel": conv(2, 3, 5, 4, 3, 3, groups=3, padding=1),
        "groups and stride": conv(1, 4, 5, 6, 6, 3, groups=2, stride=2, padding=1),
        "padding beyond the kernel": conv(2, 1, 3, 4, 5, (2, 1), padding=(3, 2)),
        "1x1": conv(2, 3, 4, 5, 6, 1),
        "1x1, one channel": conv(2, 1, 3, 5, 4, 1),
        "1x1 stride 2": conv(2, 3, 4, 5, 6, 1, stride=2),
        "kernel as large as the image": conv(3, 2, 4, 5, 6, (4, 5)),
        "batch of 1": conv(1, 3, 4, 5, 2, 3, padding=1),
        "plain": conv(2, 4, 3, 5, 6, (3, 2), groups=2, padding=(1, 0), stride=(1, 2), plain=True),
        "plain, dilation": conv(1, 2, 6, 7, 3, (2, 3), dilation=(3, 2), plain=True),
    },
    MaxPool2d: {
        "2x2": pool(2, 3, 4, 6, 2),
        "overlapping": pool(2, 3, 7, 5, 3, stride=2),
        "not square": pool(2, 3, 5, 7, (3, 2), stride=(1, 2)),
        "padding": pool(1, 3, 4, 5, (3, 2), stride=2, padding=1),
        "padding 3, positions left over": pool(1, 2, 5, 6, 6, stride=7, padding=3),
        "ceil_mode": pool(2, 3, 6, 5, 3, stride=2, ceil_mode=True),
        "ceil_mode, padding": pool(1, 2, 5, 6, 3, stride=(3, 2), padding=(1, 0), ceil_mode=True),
        "dilation": pool(1, 2, 6, 7, 2, stride=1, dilation=(2, 3)),
        "indices": pool(2, 3, 4, 6, (2, 3), stride=(1, 3), return_indices=True),
        "batch of 1, inference": pool(1, 2, 5, 6, 2, training=False),
    },
    RoIPool: {
        "caffe": roi(2, 3, 5, 7, 2, 1.0, "caffe", 4),
        "caffe, not square": roi(2, 3, 6, 7, (3, 2), 0.25, "caffe", 5),
        "split": roi(2, 3, 5, 7, 2, 1.0, "split", 4),
        "split, not square": roi(2, 3, 6, 7, (2, 3), 1 / 16, "split", 5),
        "no regions": roi(2, 3, 5, 7, (2, 3), 1.0, "caffe", 0),
        "batch of 1, one region": roi(1, 2, 4, 5, 3, 0.5, "caffe", 1),
    },
    SamePad2d: {
        "stride 2": LayerCase(lambda: SamePad2d(3, 2), (normal(2, 3, 4, 6),), (normal(1, 3, 5, 7),)),
        "odd and even": LayerCase(lambda: SamePad2d(3, 2), (normal(2, 1, 5, 4),), (normal(1, 3, 4, 7),)),
        "5x5": LayerCase(lambda: SamePad2d(5), (normal(2, 3, 4, 5),), (normal(1, 3, 2, 6),)),
        "not square, dilation": LayerCase(
            lambda: SamePad2d((2, 5), (3, 2), (1, 2)), (normal(2, 1, 7, 6),), (normal(3, 2, 5, 4),)
        ),
        "stride beyond the kernel": LayerCase(lambda: SamePad2d(1, 2), (normal(2, 3, 4, 5),), (normal(1, 3, 6, 2),)),
        "batch of 1": LayerCase(lambda: SamePad2d(3, 2), (normal(1, 2, 3, 5),), (normal(2, 2, 6, 4),)),
    },
    Sequential: {
        "two layers": LayerCase(lambda: Sequential(Linear(5, 4), Linear(4, 3)), (normal(2, 5),), (normal(6, 5),)),
        "none": LayerCase(Sequential, (normal(2, 5),), (normal(6, 5),)),
        "one of everything": LayerCase(mixed, (normal(3, 2, 4, 6),), (normal(2, 2, 6, 5),)),
        "one of everything, inference": LayerCase(mixed, (normal(3, 2, 4, 6),), (normal(2, 2, 6, 5),), training=False),
        "tied": LayerCase(tied, (normal(4, 3),), (normal(2, 3),)),
        "batch of 1": LayerCase(lambda: Sequential(Linear(5, 4), LeakyReLU()), (normal(1, 5),), (normal(2, 5),)),
    },
    Residual: {
        "identity": LayerCase(lambda: Residual(Linear(4, 4)), (normal(3, 4),), (normal(2, 4),)),
        "shortcut": LayerCase(
            lambda: Residual(Conv2d(2, 3, 3, stride=2, padding=1), Conv2d(2, 3, 1, stride=2, bias=False)),
            (normal(3, 2, 4, 5),),
            (normal(1, 2, 6, 3),),
        ),
        "batch of 1": LayerCase(lambda: Residual(Linear(4, 4), Linear(4, 4)), (normal(1, 4),), (normal(2, 4),)),
    },
    Concat: {
        "three branches": LayerCase(
            lambda: Concat(Conv2d(2, 3, 1), Conv2d(2, 1, 3, padding=1), LeakyReLU(0.5)),
            (distinct(3, 2, 4, 5),),
            (distinct(2, 2, 5, 3),),
        ),
        "rows": LayerCase(lambda: Concat(Linear(3, 4), Linear(3, 2)), (normal(5, 3),), (normal(2, 3),)),
        "batch of 1, one branch": LayerCase(lambda: Concat(Linear(3, 4)), (normal(1, 3),), (normal(2, 3),)),
    },
    Flatten: {
        "images": LayerCase(Flatten, (normal(2, 3, 4, 5),), (normal(3, 1, 2, 6),)),
        "rows": LayerCase(Flatten, (normal(3, 4),), (normal(2, 5),)),
        "one axis": LayerCase(Flatten, (normal(3),), (normal(4),)),
        "batch of 1": LayerCase(Flatten, (normal(1, 3, 2),), (normal(2, 2, 3),)),
    },
}
