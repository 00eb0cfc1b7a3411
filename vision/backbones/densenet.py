"""DenseNet without its classifier: every layer of a block sees the outputs of all layers before it, concatenated.

Reference: Huang et al. 2017, Densely connected convolutional networks, arXiv:1608.06993. Pleiss et al. 2017,
Memory-efficient implementation of DenseNets, arXiv:1707.06990 (shared storage, recomputation).
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import AvgPool2d, BatchNorm2d, Conv2d, Dropout, MaxPool2d, ReLU, Sequential
from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, positive
from vision.backbones.backbone import Backbone, FeatureMap

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
        self.norm1 = BatchNorm2d(in_channels)
        self.activated = Sequential(self.norm1, ReLU())
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
        active, (c_norm1, _) = self.activated.forward(x, training)
        y, c_after = self.after.forward(active, training)
        if keep:
            return y, DenseCache(c_norm1, active, c_after)
        c_after[0] = None  # conv1's cache is its input, `active`
        return y, DenseCache(c_norm1, None, c_after)

    def backward(self, dy, cache):
        active = self.again(cache.norm1) if cache.active is None else cache.active
        dactive = self.after.backward(dy, [active, *cache.after[1:]])
        return self.activated.backward(dactive, [cache.norm1, active])

    def again(self, c_norm1):
        """relu(norm1(x)) once more: cheap beside a convolution, and the running statistics do not move twice."""
        x, mean, inv_std, _ = c_norm1
        scale = self.norm1.weight.value * inv_std
        h = (x - mean[:, None, None]) * scale[:, None, None] + self.norm1.bias.value[:, None, None]
        return self.activated[1].forward(h)[0]


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
        if self.memory == "naive" or not training:  # inference keeps no input, so that copies do not add up
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
            before = dy[:, :c]  # these channels fork, to this layer and to all that follow: gradients add up
            functions("nn.containers", before, dx).add_to(before, dx)
        return dy[:, :c]


class DenseNet(Backbone):
    """images (N, 3, H, W) to features: dense blocks, and between them transitions that halve rows and columns.

    Stages: conv0, denseblock1, transition1, denseblock2, ... blocks: layers of each dense block. growth: k, the
    channels that each adds. channels: of conv0. theta: the share of channels that a transition (batch normalisation,
    ReLU, 1x1 convolution, 2x2 average pooling) leaves. stem: "7x7" with stride 2, normalised and pooled for ImageNet,
    or "3x3" for CIFAR. The last stage ends with batch normalisation and ReLU. Names are torchvision's, such as
    features.conv0.weight.
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
