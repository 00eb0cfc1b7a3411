"""A small convolutional network for captions and answers about generated scenes, on a CPU. It is from no paper."""

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU
from nn.layer import positive
from vision.backbones.backbone import Backbone, FeatureMap


class SmallCNN(Backbone):
    """images (N, 3, H, W) to features (N, 8 width, about H / 8, about W / 8).

    Five convolutions, each with batch normalisation and ReLU: 5x5 with stride 2, then 3x3. Stages: conv1 of two of
    them, pool1 (2x2 max pooling), conv2 of one, pool2, conv3 of two, with 2 width, 4 width and 8 width channels. Layers
    are named 0, 1, 2, ...
    """

    def __init__(self, width: int = 12, *, rng: np.random.Generator):
        positive(self, width=width)

        def conv(in_channels, out_channels, kernel_size=3, stride=1):
            padding = kernel_size // 2
            conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False, rng=rng)
            return conv, BatchNorm2d(out_channels), ReLU()

        w = width
        layers = [
            *conv(3, w, 5, stride=2), *conv(w, 2 * w), MaxPool2d(2),
            *conv(2 * w, 4 * w), MaxPool2d(2),
            *conv(4 * w, 8 * w), *conv(8 * w, 8 * w),
        ]  # fmt: skip
        stages = {
            "conv1": FeatureMap(6, 2 * w, 2), "pool1": FeatureMap(7, 2 * w, 4), "conv2": FeatureMap(10, 4 * w, 4),
            "pool2": FeatureMap(11, 4 * w, 8), "conv3": FeatureMap(17, 8 * w, 8),
        }  # fmt: skip
        super().__init__({str(i): layer for i, layer in enumerate(layers)}, stages)
