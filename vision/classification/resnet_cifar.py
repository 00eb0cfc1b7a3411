"""ResNet for CIFAR-10: 6n + 2 layers, shortcuts without parameters.

Reference: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385, sec. 4.2.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, GlobalAvgPool2d, Linear, ReLU, Sequential
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from vision.backbones import Backbone, FeatureMap
from vision.classification.classifier import ClassificationNetwork, Classifier
from vision.options import ImageOptions
from vision.registry import Tiny, register


class PaddedShortcut(Layer):
    """y = every stride-th pixel of x, between channels of zeros.    x (N, I, H, W), y (N, O, ceil(H/s), ceil(W/s)).

    The new channels are zeros, half of them before the old ones and half after (the odd one after), as in the code
    that the published weights are for. Raises ValueError for out_channels < in_channels.

    Reference: He et al. 2016, sec. 3.3, option (A).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        positive(self, in_channels=in_channels, out_channels=out_channels, stride=stride)
        if out_channels < in_channels:
            raise ValueError(f"PaddedShortcut: out_channels={out_channels} must be >= in_channels={in_channels}")
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        before = (out_channels - in_channels) // 2
        self.filled = slice(before, before + in_channels)

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        kept = x[:, :, :: self.stride, :: self.stride]
        y = array_module(x).zeros((len(x), self.out_channels, *kept.shape[2:]), x.dtype)
        y[:, self.filled] = kept
        return y, x.shape

    def backward(self, dy, cache):
        n, _, h, w = cache
        check_shape(self, dy=(dy, (n, self.out_channels, -(-h // self.stride), -(-w // self.stride))))
        dx = array_module(dy).zeros(cache, dy.dtype)  # y does not depend on the pixels left out
        dx[:, :, :: self.stride, :: self.stride] = dy[:, self.filled]  # y[:, filled] = x[:, :, ::s, ::s]
        return dx


class BlockCache(NamedTuple):
    """The caches of a block's layers, in the order of the forward pass."""

    conv1: Any
    bn1: Any
    relu1: Any
    conv2: Any
    bn2: Any
    shortcut: Any
    relu2: Any


class BasicBlock(Layer):
    """y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)).    x (N, I, H, W), y (N, O, ceil(H/s), ceil(W/s)).

    Both convolutions are 3x3, the first with the stride. The shortcut is x itself where the shape stays.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, rng: np.random.Generator):
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(out_channels)
        self.relu = ReLU()
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(out_channels)
        same = in_channels == out_channels and stride == 1
        self.shortcut = Sequential() if same else PaddedShortcut(in_channels, out_channels, stride)

    def forward(self, x, training=True):
        h, c_conv1 = self.conv1.forward(x, training)
        h, c_bn1 = self.bn1.forward(h, training)
        h, c_relu1 = self.relu.forward(h, training)
        h, c_conv2 = self.conv2.forward(h, training)
        h, c_bn2 = self.bn2.forward(h, training)
        same, c_shortcut = self.shortcut.forward(x, training)
        y, c_relu2 = self.relu.forward(h + same, training)
        return y, BlockCache(c_conv1, c_bn1, c_relu1, c_conv2, c_bn2, c_shortcut, c_relu2)

    def backward(self, dy, cache):
        dsum = self.relu.backward(dy, cache.relu2)
        dx = self.shortcut.backward(dsum, cache.shortcut)
        dh = self.bn2.backward(dsum, cache.bn2)
        dh = self.conv2.backward(dh, cache.conv2)
        dh = self.relu.backward(dh, cache.relu1)
        dh = self.bn1.backward(dh, cache.bn1)
        return dx + self.conv1.backward(dh, cache.conv1)  # x forks: gradients add up


class ResNetCifar(Backbone):
    """images (N, 3, H, W) to features (N, 4 width, about H / 4, about W / 4): a 3x3 convolution, 3 stages of n blocks.

    Stages: conv1 (with batch normalisation and ReLU) and layer1 with `width` channels, layer2 with 2 width and layer3
    with 4 width channels, which begin with stride 2. The paper's images are 32x32, its width is 16; n = 3, 5, 7, 9, 18
    make its ResNet-20, 32, 44, 56, 110, the last layer being the classifier's.
    """

    def __init__(self, n: int = 3, width: int = 16, *, rng: np.random.Generator):
        positive(self, n=n, width=width)
        conv1 = Conv2d(3, width, 3, padding=1, bias=False, rng=rng)
        layers = {"conv1": conv1, "bn1": BatchNorm2d(width), "relu": ReLU()}
        stages, channels = {"conv1": FeatureMap(3, width, 1)}, width
        for i in range(3):
            blocks = []
            for j in range(n):
                blocks.append(BasicBlock(channels, width * 2**i, 2 if i and not j else 1, rng=rng))
                channels = width * 2**i
            layers[f"layer{i + 1}"] = Sequential(*blocks)
            stages[f"layer{i + 1}"] = FeatureMap(len(layers), channels, 2**i)
        super().__init__(layers, stages)


# Sec. 4.2: batches of 128, 64,000 steps (182 epochs of its 45,000 images), the rate divided by 10 at half and three
# quarters. Its augmentation, 4 pixels of padding and a random crop, is a shift by up to 4 pixels.
RECIPE = {
    "epochs": 182, "batch_size": 128, "lr": 0.1, "weight_decay": 0.0001, "milestones": [0.5, 0.75], "warm_up": 0,
    "clip_norm": 0.0, "shift": 4, "jitter": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options(ImageOptions):
    """ResNet-20 or, by n, another depth."""

    n: int = 3  # blocks a stage: 3, 5, 7, 9, 18 for ResNet-20, 32, 44, 56, 110
    width: int = 16  # channels of the first stage
    short_side: int = 32  # pixels of the shorter side
    max_side: int = 64  # pixels of the longer side at most


@register(
    "resnet20_cifar", "classification", RECIPE, options=Options, tiny=Tiny({"n": 1, "width": 2}),
    system="ResNet-20 for CIFAR-10", paper="He et al. 2016, arXiv:1512.03385",
    figures="915 of 1,000 test images right with the published weights; not trained here",
)  # fmt: skip
def resnet20_cifar(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """ResNet-20 (n=3) or another depth: 0.27 million parameters, 41 million multiply-adds for an image of 32x32."""
    backbone = ResNetCifar(options.n, options.width, rng=rng)
    head = {"pool": GlobalAvgPool2d(), "linear": Linear(backbone.out_channels, len(classes), rng=rng)}
    return Classifier(ClassificationNetwork(backbone, head), classes, options)
