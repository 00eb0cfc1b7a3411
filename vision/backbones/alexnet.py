"""AlexNet without its fully connected layers: five convolutions and overlapping pooling, in two forms.

The first form lives on two GPUs: convolutions 2, 4 and 5 see the half of the channels that is on their own one, which
are groups of two, and responses are normalised across channels. The second form is one column without either.

Reference: Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks; Krizhevsky 2014, One
weird trick for parallelizing convolutional neural networks, arXiv:1404.5997.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn import Conv2d, LocalResponseNorm, MaxPool2d, ReLU
from nn.layer import positive
from vision.backbones.backbone import Backbone, FeatureMap
from vision.options import ImageOptions

CHANNELS = {2: (96, 256, 384, 384, 256), 1: (64, 192, 384, 256, 256)}  # of the convolutions, by columns
KERNELS = (11, 5, 3, 3, 3)
POOLED, GROUPED = (0, 1, 4), (1, 3, 4)  # indices of the convolutions before a pooling, and of those in groups


class AlexNet(Backbone):
    """images (N, 3, H, W) to features (N, out_channels, about H / 32, about W / 32), at least 63x63 pixels.

    columns: 2 is the form of 2012, with groups of two and local response normalisation after the ReLU of conv1 and
    conv2 (n = 5, alpha = 1e-4, beta = 0.75, k = 2); 1 that of 2014. width: channels of conv1, 96 and 64 in the papers;
    the others grow with it, rounded down to even.

    Stages: conv1 (its ReLU), pool1, conv2, pool2, conv3, conv4, conv5, pool5; poolings are 3x3 with stride 2, so that
    neighbours overlap by a pixel. An image of 224 gives 256x6x6 in pool5: conv1 has 2 pixels of padding, as in
    torchvision (the paper's 224 without any gives no whole number of positions). As the poolings have none, cell i of
    conv5 has its centre at pixel 16 i + 15; with a padding of 10 at 16 i + 7, the middle of pixels 16 i to 16 i + 15.

    Layers are named as in Caffe, conv1, relu1, norm1, pool1, ..., where there are two columns, and features.0,
    features.1, ... as in torchvision's alexnet, whose weights fit, where there is one. New weights are He's.

    Reference: Krizhevsky et al. 2012, sec. 3.1 to 3.5, fig. 2; Krizhevsky 2014, footnote 1.
    """

    def __init__(self, columns: int = 2, width: int | None = None, padding: int = 2, *, rng: np.random.Generator):
        if columns not in CHANNELS:
            raise ValueError(f"AlexNet: columns must be 1 or 2, got {columns}")
        first = CHANNELS[columns][0]
        width = first if width is None else width
        positive(self, width=width)
        if width % 2:
            raise ValueError(f"AlexNet: width must be even, got {width}")
        layers, stages, channels, stride = {}, {}, 3, 1
        for i, (out, kernel) in enumerate(zip(CHANNELS[columns], KERNELS)):
            out, around = max(2, out * width // first // 2 * 2), padding if i == 0 else kernel // 2
            groups, step, k = columns if i in GROUPED else 1, 4 if i == 0 else 1, i + 1
            layers[f"conv{k}"] = Conv2d(channels, out, kernel, step, around, groups=groups, rng=rng)
            layers[f"relu{k}"] = ReLU()
            channels, stride = out, stride * step
            stages[f"conv{k}"] = FeatureMap(len(layers), channels, stride)
            if columns == 2 and i < 2:
                layers[f"norm{k}"] = LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)  # its alpha: of a mean
            if i in POOLED:
                layers[f"pool{k}"], stride = MaxPool2d(3, stride=2), 2 * stride
                stages[f"pool{k}"] = FeatureMap(len(layers), channels, stride)
        if columns == 1:
            layers = {f"features.{i}": layer for i, layer in enumerate(layers.values())}
        super().__init__(layers, stages)


@dataclass(frozen=True)
class OnAlexNet(ImageOptions):
    """An option of models of regions, which take cell i of conv5 for pixels 16 i to 16 i + 15, for AlexNet's sake."""

    conv1_padding: int = 10  # of alexnet: with 10 its cells lie over these pixels, with 2, as published, 7.5 pixels off

    @staticmethod
    def older(config: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint without this option was trained with; config: its options."""
        return {"conv1_padding": 2} if config.get("backbone") == "alexnet" else {}
