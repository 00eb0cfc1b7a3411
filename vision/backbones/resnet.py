"""ResNet-50 and ResNet-101 without their classifier: bottlenecks with shortcuts, and strides that may be dilations.

Reference: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385, sec. 3.4 and 4.1, table 1.
"""

from collections.abc import Sequence

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Residual, Sequential
from nn.layer import Layer, check_shape, positive
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
    """images (N, 3, H, W) to the outputs of the four stages: (N, 4 width, ...), 8 width, 16 width, 32 width channels.

    The stages are layer1 to layer4. blocks: bottlenecks of each, see BLOCKS. Strides: 4, 8, 16 and 32 pixels.
    replace_stride_with_dilation: for each of the stages 2 to 4 whether it has no stride; all later 3x3 convolutions
    then take their inputs twice as far apart, and weights of the network with strides fit. Parameters have
    torchvision's names, conv1.weight ... layer4.2.bn3.bias; new weights are He's.

    multi_grid: factors of the dilations of layer4's first three blocks: (1, 2, 4) gives 2, 4, 8 at a stride of 16
    pixels, 4, 8, 16 at 8 (Chen et al. 2017, arXiv:1706.05587, sec. 3.2). (1, 1, 1) is as in torchvision, where the
    first block of a stage without its stride has the dilation of the stage before.

    backward takes the gradients of the four outputs, None for outputs on which nothing depends.
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
        self.conv1, self.bn1 = Conv2d(3, width, 7, 2, 3, bias=False, rng=rng), BatchNorm2d(width)
        self.stem = Sequential(self.conv1, self.bn1, ReLU(), MaxPool2d(3, 2, padding=1))
        channels, dilation, total, self.parts, stages = width, 1, 4, [], {}
        for i, (count, replaced) in enumerate(zip(blocks, (False, *replace_stride_with_dilation))):
            stride, before = (1 if i == 0 or replaced else 2), dilation
            dilation *= 2 if replaced else 1
            total *= stride
            rates = [before] + (count - 1) * [dilation]
            if i == 3 and set(multi_grid) != {1}:
                rates = [factor * dilation for factor in (*multi_grid, *count * (1,))[:count]]
            layers = []
            for rate in rates:
                layers.append(Bottleneck(channels, width * 2**i, 1 if layers else stride, rate, rng=rng))
                channels = 4 * width * 2**i
            self.parts.append(Sequential(*layers))
            stages[f"layer{i + 1}"] = FeatureMap(len(self.stem) + i + 1, channels, total)
        self.layer1, self.layer2, self.layer3, self.layer4 = self.parts
        super().__init__(Sequential(*self.stem, *self.parts), stages)

    def children(self):
        """By torchvision's names."""
        return ((name, getattr(self, name)) for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"))

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        x, c_stem = self.stem.forward(x, training)
        outputs, caches = [], []
        for part in self.parts:
            x, c = part.forward(x, training)
            outputs.append(x)
            caches.append(c)
        return tuple(outputs), (c_stem, caches)

    def backward(self, dy, cache):
        c_stem, caches = cache
        dx = None
        for part, c, dout in zip(self.parts[::-1], caches[::-1], dy[::-1]):
            dx = dout if dx is None else dx if dout is None else dx + dout  # an output forks: gradients add up
            dx = None if dx is None else part.backward(dx, c)
        return self.stem.backward(dx, c_stem)
