"""Residual blocks: basic and bottleneck, every option of shortcuts, their plain twins, pre-activation, excitation.

Reference: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385; He et al. 2016, Identity
mappings in deep residual networks, arXiv:1603.05027; Hu et al. 2018, Squeeze-and-excitation networks, arXiv:1709.01507.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import BatchNorm2d, Conv2d, ReLU, Residual, Sequential, SqueezeExcitation
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive

Shortcut = Literal["A", "B", "C"]
Form = Literal["residual", "plain", "pre_activation"]


@dataclass(frozen=True)
class Style:
    """What the papers vary in the blocks of a network.

    shortcut (1512.03385, sec. 3.3 and 4.1), where stride or channels change: "A" is x with channels of zeros, "B" a
    1x1 convolution; elsewhere it is x. "C": a 1x1 convolution everywhere.
    form: "residual"; "plain", the twin without shortcuts (sec. 3.3); "pre_activation" (1603.05027, fig. 4e).
    reduction: channels over squeeze channels of an excitation at the end of F; 0: none. name: of the shortcut's layers.
    """

    shortcut: Shortcut = "B"
    form: Form = "residual"
    reduction: int = 0
    name: str = "downsample"


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
        channels = self.filled.start, self.out_channels - self.filled.stop  # of zeros, before and after
        return array_module(x).pad(kept, ((0, 0), channels, (0, 0), (0, 0))), x.shape

    def backward(self, dy, cache):
        n, _, h, w = cache
        check_shape(self, dy=(dy, (n, self.out_channels, -(-h // self.stride), -(-w // self.stride))))
        dx = array_module(dy).zeros(cache, dy.dtype)  # y does not depend on the pixels left out
        dx[:, :, :: self.stride, :: self.stride] = dy[:, self.filled]  # y = pad(x[:, :, ::s, ::s])
        return dx


class ResidualBlock(Layer):
    """y = relu(F(x) + shortcut(x)).    x (N, I, H, W), y (N, expansion width, ceil(H / s), ceil(W / s)), s the stride.

    F is the subclass's convolutions, each batch-normalised, with ReLU between them; see Style for the shortcut and for
    other forms. The twin is relu(F(x)). With pre-activation each convolution comes after its batch normalisation and
    ReLU, and nothing follows the addition: y = F(x) + x; the first block of a stage activates before x forks
    (1603.05027, appendix): y = F'(a) + shortcut(a), a = relu(bn1(x)).

    Layers are named conv1, bn1, conv2, ..., the shortcut as `style` says, the excitation se.
    """

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int = 1, dilation: int = 1, style: Style = Style(),
        first: bool = False, *, rng: np.random.Generator,
    ):  # fmt: skip
        out, before = self.expansion * width, style.form == "pre_activation"
        self.named, layers = {}, []
        for k, conv in enumerate(self.convolutions(in_channels, width, stride, dilation, rng), start=1):
            norm = BatchNorm2d(conv.in_channels if before else conv.out_channels)
            self.named |= {f"conv{k}": conv, f"bn{k}": norm}
            layers += [norm, ReLU(), conv] if before else [conv, norm, ReLU()]
        layers = layers if before else layers[:-1]  # the last ReLU comes after the addition
        if style.reduction:
            self.named["se"] = SqueezeExcitation(out, max(1, out // style.reduction), rng=rng)
            layers.append(self.named["se"])
        if style.form == "plain":
            self.body = Sequential(*layers, ReLU())
            return
        shortcut = _shortcut(in_channels, out, stride, style, rng)
        if shortcut is not None:
            self.named[style.name] = shortcut
        if not before:
            self.body = Sequential(Residual(Sequential(*layers), shortcut), ReLU())
        elif first or shortcut is not None:
            self.body = Sequential(*layers[:2], Residual(Sequential(*layers[2:]), shortcut))
        else:
            self.body = Residual(Sequential(*layers))

    def convolutions(self, in_channels, width, stride, dilation, rng) -> list[Conv2d]:
        """Those of F, in order."""
        raise NotImplementedError

    def children(self):
        """The layers by name."""
        return iter(self.named.items())

    def __getitem__(self, name: str) -> Layer:
        """The layer of a name, such as conv1."""
        return self.named[name]

    def forward(self, x, training=True):
        return self.body.forward(x, training)

    def backward(self, dy, cache):
        return self.body.backward(dy, cache)

    def backward_parameters(self, dy, cache):
        self.body.backward_parameters(dy, cache)


class BasicBlock(ResidualBlock):
    """F: 3x3 with the stride, 3x3, both to `width` channels.    Reference: He et al. 2016, fig. 5 left."""

    def convolutions(self, in_channels, width, stride, dilation, rng):
        """Both, with the dilation."""
        return [
            Conv2d(in_channels, width, 3, stride, dilation, dilation, bias=False, rng=rng),
            Conv2d(width, width, 3, 1, dilation, dilation, bias=False, rng=rng),
        ]


class Bottleneck(ResidualBlock):
    """F: 1x1 to `width` channels, 3x3 with the stride and the dilation, 1x1 to 4 width.

    The paper has the stride in the first convolution; this is torchvision's, whose weights fit.

    Reference: He et al. 2016, fig. 5 right.
    """

    expansion = 4

    def convolutions(self, in_channels, width, stride, dilation, rng):
        """The three."""
        return [
            Conv2d(in_channels, width, 1, bias=False, rng=rng),
            Conv2d(width, width, 3, stride, dilation, dilation, bias=False, rng=rng),
            Conv2d(width, 4 * width, 1, bias=False, rng=rng),
        ]


def _shortcut(in_channels, out_channels, stride, style, rng):
    """The layer of the shortcut, None for x itself; behind an activation the 1x1 convolution is not normalised."""
    same = in_channels == out_channels and stride == 1
    if same and style.shortcut != "C":
        return None
    if style.shortcut == "A":
        return PaddedShortcut(in_channels, out_channels, stride)
    conv = Conv2d(in_channels, out_channels, 1, stride, bias=False, rng=rng)
    return Sequential(conv) if style.form == "pre_activation" else Sequential(conv, BatchNorm2d(out_channels))
