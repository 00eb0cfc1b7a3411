"""FractalNet: a deep network without residuals, from one rule of growth, whose columns are also networks of their own.

Reference: Larsson et al. 2017, FractalNet: ultra-deep neural networks without residuals, arXiv:1605.07648.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    softmax,
)  # fmt: skip
from nn.containers import backward_wanted
from nn.layer import Layer, check_shape, positive
from vision.backbones import Backbone, FeatureMap
from vision.classification.classifier import Cache, ClassificationNetwork, Classifier, ClassifierOptions
from vision.classification.fractal_paths import Paths, all_paths, column_paths, is_one_column, local_paths
from vision.classification.mixup import Mix, draw_mix, mixed, mixed_cross_entropy
from vision.registry import Tiny, register


class FractalCache(NamedTuple):
    """paths, and convs: {(step, column): the cache of the convolution that ends there}."""

    paths: Paths
    convs: dict[tuple[int, int], Any]


class FractalBlock(Layer):
    """y = f_C(x), f_1(z) = conv(z), f_{C+1}(z) = join(f_C(f_C(z)), conv(z)).    x (N, I, H, W), y (N, O, H, W).

    conv: 3x3, batch normalisation, ReLU. join: the mean of its inputs; joins of several columns at one depth are one,
    as in the paper's figure 1. Unrolled, the rule is `columns` C columns of 1, 2, 4, ... 2^(C - 1) convolutions side by
    side, which are joined wherever several end. forward(x, training, paths): with fewer paths a join is the mean of
    those inputs that are left. Parameters: columns.C.I.0.weight, of the I-th convolution of column C.

    A mean of several inputs varies less than one of them, so statistics of both fit neither. A column that runs alone
    therefore has running statistics of its own, in `alone`: the same layers but for these (not in the paper, which says
    nothing of it; for networks of several widths Yu et al. 2019, arXiv:1812.08928, found the same).

    Reference: Larsson et al. 2017, eq. 1 and fig. 1.
    """

    def __init__(self, in_channels: int, out_channels: int, columns: int, *, rng: np.random.Generator):
        positive(self, in_channels=in_channels, out_channels=out_channels, columns=columns)
        self.in_channels, self.depth = in_channels, 2 ** (columns - 1)
        self.columns = [
            [_conv(out_channels if i else in_channels, out_channels, rng) for i in range(2**c)] for c in range(columns)
        ]
        self.alone = [[_with_other_statistics(conv) for conv in column] for column in self.columns]

    def forward(self, x, training=True, paths: Paths | None = None):
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        joined, caches, paths = {0: x}, {}, paths or all_paths(len(self.columns))
        for step, columns in enumerate(paths, start=1):
            outputs = []
            for c in columns:
                conv, start = self._conv_that_ends(step, c, paths)
                y, caches[step, c] = conv.forward(joined[start], training)
                outputs.append(y)
            if outputs:
                joined[step] = sum(outputs) / len(outputs)
        return joined[self.depth], FractalCache(paths, caches)

    def backward(self, dy, cache, dx_wanted=True):
        djoined = {self.depth: dy}
        for step, columns in reversed(list(enumerate(cache.paths, start=1))):
            for c in columns:
                conv, start = self._conv_that_ends(step, c, cache.paths)
                # joined[step] = sum(outputs) / len(outputs)
                dy, wanted = djoined[step] / len(columns), dx_wanted or start > 0
                dx = backward_wanted(conv, dy, cache.convs[step, c], wanted)
                if wanted:
                    djoined[start] = djoined[start] + dx if start in djoined else dx  # it forks: gradients add
        return djoined.get(0)

    def backward_parameters(self, dy, cache):
        if self.is_trainable():
            self.backward(dy, cache, dx_wanted=False)

    def _conv_that_ends(self, step, c, paths):
        """The convolution of column c that ends at a step, and the step where it begins."""
        length, columns = self.depth // 2**c, self.alone if is_one_column(paths) else self.columns
        return columns[c][step // length - 1], step - length


def _conv(in_channels, out_channels, rng):
    conv = Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng)
    return Sequential(conv, BatchNorm2d(out_channels), ReLU())


def _with_other_statistics(layers):
    """The same convolution, batch normalisation and ReLU, with the same parameters, but other running statistics."""
    conv, norm, relu = layers
    other = BatchNorm2d(norm.num_features)
    other.weight, other.bias = norm.weight, norm.bias
    return Sequential(conv, other, relu)


class FractalNet(Backbone):
    """images (N, 3, H, W) to features: fractal blocks, after each 2x2 max pooling and dropout.

    Stages: block1, block2, ..., the maps before the pooling, and pool, the last one's result. channels: of each block.
    dropout: of each block. forward(x, training, paths) takes the paths of each block, default all.

    Reference: Larsson et al. 2017, sec. 4.
    """

    def __init__(self, channels: Sequence[int], columns: int, dropout: Sequence[float], *, rng: np.random.Generator):
        positive(self, channels=min(channels, default=0))
        if len(dropout) != len(channels):
            raise ValueError(f"FractalNet: dropout must have a value for each of {len(channels)} blocks, got {dropout}")
        layers, stages, before = {}, {}, 3
        for i, (width, p) in enumerate(zip(channels, dropout)):
            layers[f"block{i + 1}"] = FractalBlock(before, width, columns, rng=rng)
            stages[f"block{i + 1}"], before = FeatureMap(len(layers), width, 2**i), width
            layers |= {f"pool{i + 1}": MaxPool2d(2), f"dropout{i + 1}": Dropout(p, rng=rng.spawn(1)[0])}
        super().__init__(layers, stages | {"pool": FeatureMap(len(layers), before, 2 ** len(channels))})

    def forward(self, x, training=True, paths: Sequence[Paths] | None = None):
        if paths is None:
            return super().forward(x, training)
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        caches, left = [], iter(paths)
        for layer in self.body:
            more = {"paths": next(left)} if isinstance(layer, FractalBlock) else {}
            x, cache = layer.forward(x, training, **more)
            caches.append(cache)
        return x, caches

    def backward(self, dy, cache):
        return self.body.backward(dy, cache) if isinstance(cache, list) else super().backward(dy, cache)

    def backward_parameters(self, dy, cache):
        (self.body if isinstance(cache, list) else super()).backward_parameters(dy, cache)


class Sampled(NamedTuple):
    """What is drawn for a batch: constants, which a gradient check reuses. paths: of each block."""

    paths: tuple[Paths, ...]
    mix: Mix | None


# Sec. 4: batches of 100, 400 epochs, rate 0.02, momentum 0.9, the rate divided by 10 whenever half of the rest is over;
# images mirrored and shifted.
RECIPE = {
    "epochs": 400, "batch_size": 100, "lr": 0.02, "milestones": [0.5, 0.75, 0.875, 0.9375], "warm_up": 0,
    "weight_decay": 0.0, "clip_norm": 0.0, "shift": 4, "jitter": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """FractalNet-20: 5 blocks of 4 convolutions in the deepest column."""

    columns: int = 3  # of each block; the deepest has 2^(columns - 1) convolutions
    channels: tuple[int, ...] = (64, 128, 256, 512, 512)  # channels of each block
    dropout: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)  # share of elements dropped after each block
    drop_path: float = 0.15  # probability of an input of a join being dropped, by local drop-path; 0: no drop-path
    share_global: float = 0.5  # share of batches that one random column of all blocks is trained with, by itself
    column: int | None = None  # of which the predictions are, 0 for the shallowest; none: the whole network
    short_side: int = 32  # pixels of the shorter side
    max_side: int = 64  # pixels of the longer side at most


TINY = {
    "columns": 3, "channels": [4, 3], "dropout": [0.0, 0.2], "drop_path": 0.3, "share_global": 0.0, "mixup": 0.4,
    "label_smoothing": 0.1,
}  # fmt: skip


@register(
    "fractalnet", "classification", RECIPE, options=Options, tiny=Tiny(TINY, size=(33, 32)),
    system="FractalNet", paper="Larsson et al. 2017, arXiv:1605.07648",
    figures="every gradient checked with held paths, each column tested alone; CIFAR-10 (JPEG), narrow, 12 epochs: "
    "64 % of the test images wrong, columns alone 56 to 60 %",
)  # fmt: skip
class FractalClassifier(Classifier):
    """FractalNet with its classifier: global average pooling, a fully connected layer, softmax.

    In training half of the batches (share_global) go through one column alone, the same in all blocks, and half through
    paths of local drop-path. Predictions are those of the whole network, or of the column in the options.
    """

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        backbone = FractalNet(options.channels, options.columns, options.dropout, rng=rng)
        head = {"average": GlobalAvgPool2d(), "classifier": Linear(backbone.out_channels, len(classes), rng=rng)}
        super().__init__(ClassificationNetwork(backbone, head), classes, options)
        if options.column is not None and not 0 <= options.column < options.columns:
            raise ValueError(f"fractalnet: column must be in 0 .. {options.columns - 1}, got {options.column}")

    def forward(self, x, training=True, paths: tuple[Paths, ...] | None = None):
        features, c_backbone = self.network.backbone.forward(x, training, paths)
        logits, c_head = self.network.head.forward(features, training)
        return logits, (c_backbone, c_head)

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({cls}, cache): the mean of -log p(label) over the images, of a part of the network."""
        images, labels = batch
        sampled = sampled or Sampled(self.draw_paths(rng), draw_mix(len(labels), self.common.mixup, rng))
        logits, c_network = self.forward(mixed(images, sampled.mix), True, sampled.paths)
        cls, dlogits = mixed_cross_entropy(logits, labels, sampled.mix, self.common.label_smoothing)
        return {"cls": cls}, Cache(c_network, dlogits, sampled)

    def draw_paths(self, rng: np.random.Generator) -> tuple[Paths, ...]:
        """The paths of each block for one batch: one column of all blocks, or each block's by local drop-path."""
        o, blocks = self.options, range(len(self.options.channels))
        if not o.drop_path:
            return tuple(all_paths(o.columns) for _ in blocks)
        if rng.random() < o.share_global:
            column = int(rng.integers(o.columns))
            return tuple(column_paths(o.columns, column) for _ in blocks)
        return tuple(local_paths(o.columns, o.drop_path, rng) for _ in blocks)

    def predict(self, images) -> np.ndarray:
        """(N, classes): the probability of each class, by the whole network or by options.column alone."""
        o = self.options
        alone = None if o.column is None else tuple(column_paths(o.columns, o.column) for _ in o.channels)
        return softmax(self.forward(images, False, alone)[0], axis=1)
