"""MobileNet: a convolution of each channel for itself, then 1x1 convolutions across channels, again and again.

Reference: Howard et al. 2017, MobileNets: efficient convolutional neural networks for mobile vision applications,
arXiv:1704.04861, table 1.
"""

import numpy as np

from nn import BatchNorm2d, Conv2d, ReLU6, SamePad2d
from nn.layer import Layer
from vision.backbones.backbone import Backbone, FeatureMap

# Channels and stride of the 13 pairs of a depthwise and a pointwise convolution, for width 1.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
LEAST = 8  # channels of a layer, as in the authors' code


class MobileNet(Backbone):
    """images (N, 3, H, W) to features (N, 1024 width, ceil(H / 32), ceil(W / 32)).

    A 3x3 convolution with stride 2 to 32 channels, then BLOCKS, each convolution batch-normalised and with ReLU6.
    Strides have TensorFlow's SAME padding. width: factor of all channels. batch_norm=False: convolutions have biases
    in its place, as in networks where it has been folded into the weights.

    Stages: Conv2d_0, Conv2d_1, ... Conv2d_13. Layers have TensorFlow's names: Conv2d_0, Conv2d_1_depthwise,
    Conv2d_1_pointwise; their batch normalisations Conv2d_0_bn and so on.

    Reference: Howard et al. 2017, sec. 3.1 to 3.3, table 1. ReLU6 in place of ReLU: the authors' code.
    """

    def __init__(self, width: float = 1.0, *, batch_norm: bool = True, rng: np.random.Generator):
        channels = scaled(32, width)
        layers = same_conv("Conv2d_0", 3, channels, 3, 2, batch_norm=batch_norm, rng=rng)
        stages, total = {"Conv2d_0": FeatureMap(len(layers), channels, 2)}, 2
        for i, (out_channels, stride) in enumerate(BLOCKS, start=1):
            norm, before, channels, total = (
                {"batch_norm": batch_norm, "rng": rng},
                channels,
                out_channels,
                total * stride,
            )
            channels = scaled(out_channels, width)
            layers |= same_conv(f"Conv2d_{i}_depthwise", before, before, 3, stride, before, **norm)
            layers |= same_conv(f"Conv2d_{i}_pointwise", before, channels, 1, **norm)
            stages[f"Conv2d_{i}"] = FeatureMap(len(layers), channels, total)
        super().__init__(layers, stages)


def scaled(channels: int, width: float) -> int:
    """Channels of a narrower or wider network."""
    return max(int(channels * width), LEAST)


def same_conv(
    name, in_channels, out_channels, kernel_size, stride=1, groups=1, *, batch_norm=True, rng
) -> dict[str, Layer]:
    """{name: layer} of a convolution with SAME padding, batch normalisation or a bias, and ReLU6."""
    padding = kernel_size // 2 if stride == 1 else 0  # with stride 1 SAME padding is alike on all sides
    layers = {} if stride == 1 else {f"{name}_pad": SamePad2d(kernel_size, stride)}
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=not batch_norm, rng=rng)
    layers[name] = conv
    if batch_norm:
        layers[f"{name}_bn"] = BatchNorm2d(out_channels)
    return layers | {f"{name}_relu": ReLU6()}
