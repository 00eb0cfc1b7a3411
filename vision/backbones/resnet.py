"""ResNet-50 and ResNet-101 without their classifier: bottlenecks with shortcuts, and strides that may be dilations.

Reference: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385, sec. 3.4 and 4.1, table 1.
"""

from collections.abc import Sequence

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Residual, Sequential
from nn.layer import Layer, positive
from vision.backbones.backbone import Backbone, FeatureMap

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}  # bottlenecks in each of the four stages


class Bottleneck(Layer):
    """y = relu(F(x) + shortcut(x)), F: 1x1 to `width` channels, 3x3, 1x1 to 4 width, each batch-normalised.

    x (N, I, H, W), y (N, 4 width, ceil(H / stride), ceil(W / stride)). The 3x3 convolution has the stride and the
    dilation, as in torchvision (the paper: the first 1x1). The shortcut is x, or a 1x1 convolution with batch
    normalisation where stride or channels differ. Names are torchvision's: conv1, bn1, ..., downsample.0, downsample.1.

    Reference: He et al. 2016, fig. 5.
    """

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int, *, rng: np.random.Generator):
        self.conv1, self.bn1 = Conv2d(in_channels, width, 1, bias=False, rng=rng), BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, stride, dilation, dilation, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(width)
        self.conv3, self.bn3 = Conv2d(width, 4 * width, 1, bias=False, rng=rng), BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or in_channels != 4 * width:
            conv = Conv2d(in_channels, 4 * width, 1, stride, bias=False, rng=rng)
            self.downsample = Sequential(conv, BatchNorm2d(4 * width))
        body = Sequential(self.conv1, self.bn1, ReLU(), self.conv2, self.bn2, ReLU(), self.conv3, self.bn3)
        self.body = Sequential(Residual(body, self.downsample), ReLU())

    def children(self):
        """The layers that have parameters, by torchvision's names."""
        names = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample")
        return ((name, getattr(self, name)) for name in names if getattr(self, name) is not None)

    def forward(self, x, training=True):
        return self.body.forward(x, training)

    def backward(self, dy, cache):
        return self.body.backward(dy, cache)


class ResNet(Backbone):
    """images (N, 3, H, W) to the map of layer4 (N, 32 width, about H / 32, about W / 32).

    Stages: conv1 (7x7, batch normalisation, ReLU) with `width` channels at a stride of 2 pixels, layer1 (after 3x3 max
    pooling) to layer4 with 4, 8, 16 and 32 width channels at strides of 4, 8, 16 and 32. blocks: bottlenecks of layer1
    to layer4, see BLOCKS. replace_stride_with_dilation: for each of layer2 to layer4 whether it has no stride; all
    later 3x3 convolutions then take their inputs twice as far apart, and weights of the network with strides fit.
    Layers have torchvision's names, conv1.weight ... layer4.2.bn3.bias; new weights are He's.

    multi_grid: factors of the dilations of layer4's first three blocks: (1, 2, 4) gives 2, 4, 8 at a stride of 16
    pixels, 4, 8, 16 at 8 (Chen et al. 2017, arXiv:1706.05587, sec. 3.2). (1, 1, 1) is as in torchvision, where the
    first block of a stage without its stride has the dilation of the stage before.
    """

    def __init__(
        self, blocks: Sequence[int] = BLOCKS["resnet50"], width: int = 64,
        replace_stride_with_dilation: Sequence[bool] = (False, False, False), multi_grid: Sequence[int] = (1, 1, 1), *,
        rng: np.random.Generator,
    ):  # fmt: skip
        words = {"blocks": (blocks, 4), "replace_stride_with_dilation": (replace_stride_with_dilation, 3)}
        for name, (values, wanted) in (words | {"multi_grid": (multi_grid, 3)}).items():
            if len(values) != wanted:
                raise ValueError(f"ResNet: {name} must have {wanted} entries, got {list(values)}")
        positive(self, width=width, blocks=min(blocks), multi_grid=min(multi_grid))
        layers = {
            "conv1": Conv2d(3, width, 7, 2, 3, bias=False, rng=rng), "bn1": BatchNorm2d(width), "relu": ReLU(),
            "maxpool": MaxPool2d(3, 2, padding=1),
        }  # fmt: skip
        stages, channels, total, dilation = {"conv1": FeatureMap(3, width, 2)}, width, 4, 1
        for i, (count, replaced) in enumerate(zip(blocks, (False, *replace_stride_with_dilation))):
            stride, before = (1 if i == 0 or replaced else 2), dilation
            dilation *= 2 if replaced else 1
            total *= stride
            rates = [before] + (count - 1) * [dilation]
            if i == 3 and set(multi_grid) != {1}:
                rates = [factor * dilation for factor in (*multi_grid, *count * (1,))[:count]]
            inside = []
            for rate in rates:
                inside.append(Bottleneck(channels, width * 2**i, 1 if inside else stride, rate, rng=rng))
                channels = 4 * width * 2**i
            layers[f"layer{i + 1}"] = Sequential(*inside)
            stages[f"layer{i + 1}"] = FeatureMap(len(layers), channels, total)
        super().__init__(layers, stages)
