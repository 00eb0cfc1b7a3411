"""The convolutions of YOLO: 3x3, and 1x1 before them to reduce the channels, with leaky ReLUs.

Reference: Redmon et al. 2016, You only look once: unified, real-time object detection, arXiv:1506.02640, fig. 3.
"""

from collections.abc import Sequence

import numpy as np

from nn import BatchNorm2d, Conv2d, LeakyReLU, MaxPool2d
from nn.layer import Layer
from vision.backbones.backbone import Backbone, FeatureMap

SLOPE = 0.1  # of a leaky ReLU below zero, eq. 2
POOL = "pool"


def leaky_conv(in_channels, out_channels, kernel_size=3, stride=1, *, batch_norm=False, rng) -> list[Layer]:
    """A convolution that keeps the size at stride 1, batch normalisation in place of its bias if wanted, leaky ReLU."""
    padding = kernel_size // 2
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=not batch_norm, rng=rng)
    return [conv, *([BatchNorm2d(out_channels)] if batch_norm else []), LeakyReLU(SLOPE)]


def yolo_plan(width: int = 64) -> list:
    """The 20 convolutions of fig. 3 that are pretrained; width: channels of the first, the others in proportion."""
    w = width
    return [
        (w, 7, 2), POOL,
        3 * w, POOL,
        (2 * w, 1), 4 * w, (4 * w, 1), 8 * w, POOL,
        *[(4 * w, 1), 8 * w] * 4, (8 * w, 1), 16 * w, POOL,
        *[(8 * w, 1), 16 * w] * 2,
    ]  # fmt: skip


def narrow_plan(width: int, poolings: int) -> list:
    """A 3x3 convolution before each pooling, whose channels double from `width` on."""
    return [each for i in range(poolings) for each in (width * 2**i, POOL)]


class Darknet(Backbone):
    """images (N, 3, H, W) to features (N, out_channels, about H / stride, about W / stride).

    plan: the channels of each 3x3 convolution, or (channels, kernel size), or (channels, kernel size, stride), and POOL
    for each 2x2 max pooling. Stages: conv1, all up to the first pooling, pool1, conv2, ... Layers are features.0, ...
    """

    def __init__(self, plan: Sequence, *, batch_norm: bool = False, rng: np.random.Generator):
        layers, stages, channels, stride, number = [], {}, 3, 1, 1
        for step in plan:
            if step == POOL:
                layers.append(MaxPool2d(2))
                stride *= 2
                stages[f"pool{number}"] = FeatureMap(len(layers), channels, stride)
                number += 1
                continue
            out_channels, *shape = step if isinstance(step, tuple) else (step,)
            layers += leaky_conv(channels, out_channels, *shape, batch_norm=batch_norm, rng=rng)
            channels, stride = out_channels, stride * (shape[1] if len(shape) > 1 else 1)
            stages[f"conv{number}"] = FeatureMap(len(layers), channels, stride)
        super().__init__({f"features.{i}": layer for i, layer in enumerate(layers)}, stages)
