"""EfficientNet and EfficientNet-Lite without their classifier: inverted bottlenecks, scaled in width and depth at once.

Reference: Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks, arXiv:1905.11946;
the code of both, github.com/tensorflow/tpu, models/official/efficientnet and its folder lite, for what the paper leaves
out (rounding, drop-connect, Lite).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, DropPath, ReLU6, Residual, SamePad2d, Sequential, SiLU, SqueezeExcitation
from nn.layer import Layer
from vision.backbones.backbone import Backbone, FeatureMap


class Blocks(NamedTuple):
    """A row of table 1: how many blocks, and of each the kernel, the (first one's) stride, expansion and channels."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = (  # table 1, stages 2 to 8: EfficientNet-B0
    Blocks(1, 3, 1, 1, 16), Blocks(2, 3, 2, 6, 24), Blocks(2, 5, 2, 6, 40), Blocks(3, 3, 2, 6, 80),
    Blocks(3, 5, 1, 6, 112), Blocks(4, 5, 2, 6, 192), Blocks(1, 3, 1, 6, 320),
)  # fmt: skip
STEM, HEAD = 32, 1280  # channels of the first and the last convolution
EPS = 1e-3  # of batch normalisation


class Scaling(NamedTuple):
    """width^phi and depth^phi of sec. 3.3, the resolution in pixels, and the dropout, all as in the authors' code."""

    width: float
    depth: float
    pixels: int
    dropout: float


SCALINGS = {
    "b0": Scaling(1.0, 1.0, 224, 0.2), "b1": Scaling(1.0, 1.1, 240, 0.2), "b2": Scaling(1.1, 1.2, 260, 0.3),
    "b3": Scaling(1.2, 1.4, 300, 0.3), "b4": Scaling(1.4, 1.8, 380, 0.4), "b5": Scaling(1.6, 2.2, 456, 0.4),
    "b6": Scaling(1.8, 2.6, 528, 0.5), "b7": Scaling(2.0, 3.1, 600, 0.5),
}  # fmt: skip
LITE_SCALINGS = {
    "lite0": Scaling(1.0, 1.0, 224, 0.2), "lite1": Scaling(1.0, 1.1, 240, 0.2), "lite2": Scaling(1.1, 1.2, 260, 0.3),
    "lite3": Scaling(1.2, 1.4, 280, 0.3), "lite4": Scaling(1.4, 1.8, 300, 0.3),
}  # fmt: skip


def scaled_channels(channels: int, width: float) -> int:
    """width * channels to the nearest multiple of 8, at least 8, and never over a tenth below."""
    wanted = width * channels
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def scaled_repeats(repeats: int, depth: float) -> int:
    """depth * repeats, rounded up."""
    return math.ceil(depth * repeats)


class MBConv(Layer):
    """y = x + drop(project(excite(depthwise(expand(x))))), without x + where stride or channels differ.

    x (N, I, H, W), y (N, O, ceil(H / stride), ceil(W / stride)). expand: 1x1 to `expand` I channels (none if expand=1),
    depthwise: kernel x kernel with the stride and TensorFlow's SAME padding, each with batch normalisation and the
    activation; excite: squeeze and excitation with I / 4 hidden channels (none with squeeze=False); project: 1x1 to O
    with batch normalisation alone, since a rectifier in a narrow layer would lose what it cuts off. drop_path: the
    share of samples whose branch is dropped in training. before_expand: whether a 1x1 convolution comes next; behind it
    batch normalisation subtracts what _bn2.bias adds, which is then not trained.

    Names are those of EfficientNet-PyTorch, whose published weights fit: _expand_conv, _bn0, _depthwise_conv, _bn1,
    _se_reduce, _se_expand, _project_conv, _bn2.

    Reference: Sandler et al. 2018, arXiv:1801.04381, sec. 3 (the block); Tan and Le 2019, sec. 4 (excitation).
    """

    def __init__(
        self, in_channels: int, row: Blocks, stride: int, activation: Callable[[], Layer], squeeze: bool,
        drop_path: float, momentum: float, before_expand: bool = True, *, rng: np.random.Generator,
    ):  # fmt: skip
        wide, out, kernel = row.expand * in_channels, row.channels, row.kernel
        norm = {"eps": EPS, "momentum": momentum}
        self.parts, body = {}, []
        if row.expand != 1:
            expand = Conv2d(in_channels, wide, 1, bias=False, rng=rng)
            self.parts |= {"_expand_conv": expand, "_bn0": BatchNorm2d(wide, **norm)}
            body += [*self.parts.values(), activation()]
        pad = [SamePad2d(kernel, stride)] if stride > 1 else []  # with stride 1 it is the same on both sides
        padding = 0 if pad else kernel // 2
        depthwise = Conv2d(wide, wide, kernel, stride, padding, groups=wide, bias=False, rng=rng)
        self.parts |= {"_depthwise_conv": depthwise, "_bn1": BatchNorm2d(wide, **norm)}
        body += [*pad, depthwise, self.parts["_bn1"], activation()]
        if squeeze:
            excite = SqueezeExcitation(wide, max(1, in_channels // 4), activation, rng=rng)
            self.parts |= {"_se_reduce": excite.fc1, "_se_expand": excite.fc2}
            body.append(excite)
        project = Conv2d(wide, out, 1, bias=False, rng=rng)
        self.parts |= {"_project_conv": project, "_bn2": BatchNorm2d(out, **norm)}
        body += [project, self.parts["_bn2"]]
        whole = stride == 1 and in_channels == out
        if whole and drop_path:
            self.parts["_drop"] = DropPath(drop_path, rng=rng.spawn(1)[0])
            body.append(self.parts["_drop"])
        elif before_expand:  # the bias is the same for all positions and samples
            self.parts["_bn2"].bias.trainable = False
        self.body = Residual(Sequential(*body)) if whole else Sequential(*body)

    def children(self):
        """The layers that have parameters or draw, by EfficientNet-PyTorch's names."""
        return iter(self.parts.items())

    def forward(self, x, training=True):
        return self.body.forward(x, training)

    def backward(self, dy, cache):
        return self.body.backward(dy, cache)


class EfficientNet(Backbone):
    """images (N, 3, H, W) to features (N, 1280 width, ceil(H / 32), ceil(W / 32)).

    Stages: stem (3x3, stride 2), stage1 to stage7 of MBConv blocks, at strides of 2, 4, 8, 16, 16, 32, 32 pixels, and
    head (1x1). width, depth: factors of the channels and of the blocks of each stage. drop_connect: drop_path of the
    last block, that of the others rises to it in equal steps from 0. momentum: of batch normalisation's running
    statistics. lite: no excitation, ReLU6 for SiLU (both for hardware of 8 bits), and as many channels in stem and head
    and blocks in stage1 and stage7 as in the unscaled network.

    Layers have EfficientNet-PyTorch's names, _conv_stem, _bn0, _blocks.0 ..., _conv_head, _bn1. New weights are He's.
    """

    def __init__(
        self, width: float = 1.0, depth: float = 1.0, drop_connect: float = 0.2, momentum: float = 0.01,
        lite: bool = False, *, rng: np.random.Generator,
    ):  # fmt: skip
        if not (width > 0 and depth > 0):
            raise ValueError(f"EfficientNet: width and depth must be above 0, got {width} and {depth}")
        activation, ends = (ReLU6, 1.0) if lite else (SiLU, width)
        stem, head, norm = scaled_channels(STEM, ends), scaled_channels(HEAD, ends), {"eps": EPS, "momentum": momentum}
        layers = {
            "_pad": SamePad2d(3, 2), "_conv_stem": Conv2d(3, stem, 3, 2, bias=False, rng=rng),
            "_bn0": BatchNorm2d(stem, **norm), "_act0": activation(),
        }  # fmt: skip
        rows, stages, channels, stride, block = _scaled(width, depth, lite), {}, stem, 2, 0
        stages["stem"], count = FeatureMap(len(layers), stem, stride), sum(row.repeats for row in rows)
        for i, row in enumerate(rows):
            for j in range(row.repeats):
                step, drop = 1 if j else row.stride, drop_connect * block / count
                before_expand = row.expand > 1 or j == row.repeats - 1  # else a depthwise convolution with borders of 0
                made = MBConv(channels, row, step, activation, not lite, drop, momentum, before_expand, rng=rng)
                layers[f"_blocks.{block}"] = made
                channels, stride, block = row.channels, stride * step, block + 1
            stages[f"stage{i + 1}"] = FeatureMap(len(layers), channels, stride)
        conv_head = Conv2d(channels, head, 1, bias=False, rng=rng)
        layers |= {"_conv_head": conv_head, "_bn1": BatchNorm2d(head, **norm), "_act1": activation()}
        super().__init__(layers, stages | {"head": FeatureMap(len(layers), head, stride)})


def _scaled(width, depth, lite):
    """STAGES with the channels and repeats of a wider and deeper network."""
    ends = (0, len(STAGES) - 1) if lite else ()
    return [
        row._replace(
            channels=scaled_channels(row.channels, width),
            repeats=row.repeats if i in ends else scaled_repeats(row.repeats, depth),
        )
        for i, row in enumerate(STAGES)
    ]
