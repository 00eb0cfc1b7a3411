"""DenseNet: every layer of a block sees the outputs of all layers before it, concatenated.

Reference: Huang et al. 2017, Densely connected convolutional networks, arXiv:1608.06993. Pleiss et al. 2017,
Memory-efficient implementation of DenseNets, arXiv:1707.06990 (shared storage, recomputation).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import AvgPool2d, BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear, MaxPool2d, ReLU, Sequential
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from vision.backbones import Backbone, FeatureMap
from vision.classification.classifier import ClassificationNetwork, Classifier
from vision.options import ImageOptions
from vision.registry import Tiny, register

Memory = Literal["naive", "shared", "recomputed"]
BOTTLENECK = 4  # sec. 3: the 1x1 convolution has 4 k channels


class DenseCache(NamedTuple):
    """norm1: what its backward needs. active: relu(norm1(x)), or None to be recomputed. after: caches of the rest."""

    norm1: Any
    active: np.ndarray | None
    after: Any


class DenseLayer(Layer):
    """y = H(x), k new channels.    x (N, C, H, W), y (N, k, H, W).

    H: batch normalisation, ReLU, 3x3 convolution; with `bottleneck` first batch normalisation, ReLU, 1x1 convolution to
    4 k channels. dropout follows each convolution. Names are torchvision's: norm1, conv1, norm2, conv2.

    Reference: Huang et al. 2017, sec. 3, "Composite function" and "Bottleneck layers".
    """

    def __init__(self, in_channels: int, growth: int, bottleneck: bool, dropout: float, *, rng: np.random.Generator):
        wide = BOTTLENECK * growth
        conv = (wide, 1) if bottleneck else (growth, 3, 1, 1)
        self.norm1, self.relu = BatchNorm2d(in_channels), ReLU()
        self.conv1 = Conv2d(in_channels, *conv, bias=False, rng=rng)
        drops = [Dropout(dropout, rng=rng.spawn(1)[0]) for _ in range(1 + bottleneck)] if dropout else []
        after = [self.conv1, *drops[:1]]
        if bottleneck:
            self.norm2 = BatchNorm2d(wide)
            self.conv2 = Conv2d(wide, growth, 3, padding=1, bias=False, rng=rng)
            after += [self.norm2, ReLU(), self.conv2, *drops[1:]]
        self.drops, self.after = drops, Sequential(*after)

    def children(self):
        """The layers that have parameters or draw, by torchvision's names."""
        names = [name for name in ("norm1", "conv1", "norm2", "conv2") if hasattr(self, name)]
        yield from ((name, getattr(self, name)) for name in names)
        yield from ((f"drop{i + 1}", drop) for i, drop in enumerate(self.drops))

    def forward(self, x, training=True, keep=True):
        h, c_norm1 = self.norm1.forward(x, training)
        active, _ = self.relu.forward(h, training)
        y, c_after = self.after.forward(active, training)
        if keep:
            return y, DenseCache(c_norm1, active, c_after)
        c_after[0] = None  # conv1's cache is its input, `active`
        return y, DenseCache(c_norm1, None, c_after)

    def backward(self, dy, cache):
        active = self.again(cache.norm1) if cache.active is None else cache.active
        dh = self.after.backward(dy, [active, *cache.after[1:]])
        dh = self.relu.backward(dh, active)
        return self.norm1.backward(dh, cache.norm1)

    def again(self, c_norm1):
        """relu(norm1(x)) once more: cheap beside a convolution, and the running statistics do not move twice."""
        x, mean, inv_std, _ = c_norm1
        scale = self.norm1.weight.value * inv_std
        h = (x - mean[:, None, None]) * scale[:, None, None] + self.norm1.bias.value[:, None, None]
        return self.relu.forward(h)[0]


class DenseBlock(Layer):
    """y = [x, H1(x), H2([x, H1]), ...], concatenated.    x (N, C, H, W), y (N, C + layers * k, H, W).

    memory: "naive" concatenates before each layer, so that the inputs of L layers take C L + k L (L - 1) / 2 channels;
    "shared" writes each output into its channels of y, and the input of a layer is a view of the channels before;
    "recomputed" besides keeps no output of the first normalisation and ReLU, which backward computes again. All three
    are the same function.

    Reference: Huang et al. 2017, eq. 2; Pleiss et al. 2017, sec. 3.
    """

    def __init__(
        self, layers: int, in_channels: int, growth: int, bottleneck: bool, dropout: float, memory: Memory, *,
        rng: np.random.Generator,
    ):  # fmt: skip
        self.in_channels, self.growth, self.memory = in_channels, growth, memory
        self.out_channels = in_channels + layers * growth
        self.denselayers = [
            DenseLayer(in_channels + i * growth, growth, bottleneck, dropout, rng=rng) for i in range(layers)
        ]

    def children(self):
        """The layers, from denselayer1."""
        return ((f"denselayer{i + 1}", layer) for i, layer in enumerate(self.denselayers))

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        xp, (n, c, h, w), caches = array_module(x), x.shape, []
        if self.memory == "naive":
            for layer in self.denselayers:
                new, cache = layer.forward(x, training)
                x = xp.concatenate([x, new], axis=1)
                caches.append(cache)
            return x, caches
        y = xp.empty((n, self.out_channels, h, w), x.dtype)
        y[:, :c] = x
        for layer in self.denselayers:
            new, cache = layer.forward(y[:, :c], training, keep=self.memory == "shared")
            y[:, c : c + self.growth] = new
            c += self.growth
            caches.append(cache)
        return y, caches

    def backward(self, dy, cache):
        dy, c = dy.copy(), self.out_channels
        for layer, layer_cache in zip(reversed(self.denselayers), reversed(cache)):
            c -= self.growth
            dx = layer.backward(dy[:, c : c + self.growth], layer_cache)  # y[:, c : c + growth] = layer(y[:, :c])
            dy[:, :c] += dx  # the channels before fork, to this layer and to all that follow: gradients add up
        return dy[:, :c]


class DenseNet(Backbone):
    """images (N, 3, H, W) to features: dense blocks, and between them transitions that halve rows and columns.

    Stages: conv0, denseblock1, transition1, denseblock2, ... blocks: layers of each dense block. growth: k, the
    channels that each adds. channels: of conv0. theta: the share of channels that a transition (batch normalisation,
    ReLU, 1x1 convolution, 2x2 average pooling) leaves. stem: "7x7" with stride 2, normalised and pooled for ImageNet,
    or "3x3" for CIFAR. The last stage ends with batch normalisation and ReLU. Names are torchvision's, features.conv0.weight
    and so on.
    """

    def __init__(
        self, blocks: Sequence[int], growth: int, channels: int, bottleneck: bool = True, theta: float = 0.5,
        dropout: float = 0.0, stem: Literal["7x7", "3x3"] = "7x7", memory: Memory = "shared", *,
        rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, blocks=min(blocks, default=0), growth=growth, channels=channels)
        if not 0 < theta <= 1:
            raise ValueError(f"DenseNet: theta must be above 0 and at most 1, got {theta}")
        if stem == "7x7":
            layers = {"conv0": Conv2d(3, channels, 7, 2, 3, bias=False, rng=rng), "norm0": BatchNorm2d(channels)}
            layers |= {"relu0": ReLU(), "pool0": MaxPool2d(3, 2, 1)}
        else:
            layers = {"conv0": Conv2d(3, channels, 3, 1, 1, bias=False, rng=rng)}
        stages, stride = {"conv0": FeatureMap(len(layers), channels, 4 if stem == "7x7" else 1)}, 1
        for i, count in enumerate(blocks):
            name, stride = f"denseblock{i + 1}", stages["conv0"].stride * 2**i
            layers[name] = DenseBlock(count, channels, growth, bottleneck, dropout, memory, rng=rng)
            channels = layers[name].out_channels
            if i == len(blocks) - 1:
                layers |= {f"norm{i + 2}": BatchNorm2d(channels), f"relu{i + 2}": ReLU()}
            stages[name] = FeatureMap(len(layers), channels, stride)
            if i < len(blocks) - 1:
                name = f"transition{i + 1}"
                layers[name] = Transition(channels, max(1, int(theta * channels)), rng=rng)
                channels = layers[name].out_channels
                stages[name] = FeatureMap(len(layers), channels, 2 * stride)
        super().__init__({f"features.{name}": layer for name, layer in layers.items()}, stages)


class Transition(Sequential):
    """Batch normalisation, ReLU, 1x1 convolution, 2x2 average pooling.    x (N, C, H, W), y (N, O, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int, *, rng: np.random.Generator):
        conv = Conv2d(in_channels, out_channels, 1, bias=False, rng=rng)
        super().__init__(BatchNorm2d(in_channels), ReLU(), conv, AvgPool2d(2))
        self.out_channels = out_channels

    def children(self):
        """The layers by torchvision's names."""
        return zip(("norm", "relu", "conv", "pool"), self)


# Sec. 4.2: batches of 256, the rate divided by 10 at epochs 30 and 60 of 90.
RECIPE = {
    "epochs": 90, "batch_size": 256, "lr": 0.1, "weight_decay": 0.0001, "milestones": [1 / 3, 2 / 3], "warm_up": 0,
    "clip_norm": 0.0,
}  # fmt: skip
# Sec. 4.2: batches of 64, divided by 10 at half and three quarters of 300. Nesterov's momentum is plain momentum here.
CIFAR_RECIPE = RECIPE | {
    "epochs": 300, "batch_size": 64, "milestones": [0.5, 0.75], "zoom": [0.85, 1.18], "jitter": 0.0
}  # fmt: skip


@dataclass(frozen=True)
class Options(ImageOptions):
    """DenseNet-121."""

    blocks: tuple[int, ...] = (6, 12, 24, 16)  # layers of each dense block
    growth: int = 32  # k: channels that a layer adds
    channels: int = 64  # of the first convolution
    bottleneck: bool = True  # a 1x1 convolution to 4 k channels before each 3x3
    theta: float = 0.5  # share of the channels that a transition leaves
    dropout: float = 0.0  # share of elements dropped after each convolution
    stem: Literal["7x7", "3x3"] = "7x7"  # first convolution: 7x7 with stride 2 and pooling, or 3x3
    memory: Memory = "shared"  # what a block keeps for backward: naive, shared or recomputed
    short_side: int = 224  # pixels of the shorter side
    max_side: int = 448  # pixels of the longer side at most


@dataclass(frozen=True)
class CifarOptions(Options):
    """DenseNet with L = 40, k = 12, without bottlenecks and compression."""

    blocks: tuple[int, ...] = (12, 12, 12)  # layers of each dense block
    growth: int = 12  # k: channels that a layer adds
    channels: int = 16  # of the first convolution
    bottleneck: bool = False  # a 1x1 convolution to 4 k channels before each 3x3
    theta: float = 1.0  # share of the channels that a transition leaves
    stem: Literal["7x7", "3x3"] = "3x3"  # first convolution: 7x7 with stride 2 and pooling, or 3x3
    short_side: int = 32  # pixels of the shorter side
    max_side: int = 64  # pixels of the longer side at most


@dataclass(frozen=True)
class BottleneckOptions(CifarOptions):
    """DenseNet-BC with L = 100, k = 12."""

    blocks: tuple[int, ...] = (16, 16, 16)  # layers of each dense block
    channels: int = 24  # of the first convolution: 2 k
    bottleneck: bool = True  # a 1x1 convolution to 4 k channels before each 3x3
    theta: float = 0.5  # share of the channels that a transition leaves


PAPER = {"system": "DenseNet", "paper": "Huang et al. 2017, arXiv:1608.06993"}
TINY = {"blocks": [2, 2], "growth": 3, "channels": 3, "dropout": 0.2}


@register(
    "densenet121", "classification", RECIPE, options=Options, tiny=Tiny(TINY | {"memory": "naive"}, 3), **PAPER,
    figures="7,978,856 parameters of DenseNet-121, 769,162 of DenseNet-BC-100, as published; DenseNet-40 keeps 276 MiB "
    "for backward of 16 images, 154 with shared storage, 33 recomputed; not trained here",
)  # fmt: skip
def densenet121(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """DenseNet-121: 7,978,856 parameters for 1000 classes."""
    network = DenseNet(
        options.blocks, options.growth, options.channels, options.bottleneck, options.theta, options.dropout,
        options.stem, options.memory, rng=rng,
    )  # fmt: skip
    head = {"pool": GlobalAvgPool2d(), "classifier": Linear(network.out_channels, len(classes), rng=rng)}
    return Classifier(ClassificationNetwork(network, head), classes, options)


@register(
    "densenet40_cifar",
    "classification",
    CIFAR_RECIPE,
    options=CifarOptions,
    tiny=Tiny(TINY | {"blocks": [2, 3], "growth": 2}),
    **PAPER,
)
def densenet40_cifar(classes, options: CifarOptions, rng: np.random.Generator) -> Classifier:
    """DenseNet-40 with k = 12: 1.02 million parameters."""
    return densenet121(classes, options, rng)


@register(
    "densenet_bc100_cifar",
    "classification",
    CIFAR_RECIPE,
    options=BottleneckOptions,
    tiny=Tiny(TINY | {"memory": "recomputed"}, 3),
    **PAPER,
)
def densenet_bc100_cifar(classes, options: BottleneckOptions, rng: np.random.Generator) -> Classifier:
    """DenseNet-BC with 100 layers and k = 12: 769,162 parameters."""
    return densenet121(classes, options, rng)
