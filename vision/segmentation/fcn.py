"""FCN-32s, FCN-16s, FCN-8s: a classifier turned into a network for images of any size, and skips for finer scores.

Each network is trained from the coarser one's weights (sec. 4.2). What is new in it starts at 0 and changes nothing:

    python -m scripts.train --model fcn32s_small --run-dir runs/fcn32s
    python -m scripts.train --model fcn16s_small --pretrained runs/fcn32s --run-dir runs/fcn16s
    python -m scripts.train --model fcn8s_small --pretrained runs/fcn16s --run-dir runs/fcn8s

fcn8s_at_once is trained in one stage from VGG-16's weights (sec. 4.2, "all-at-once" in the authors' later paper):

    python -m scripts.train --model fcn8s_at_once --pretrained vgg16.npz --run-dir runs/fcn8s

Reference: Long, Shelhamer and Darrell 2015, Fully convolutional networks for semantic segmentation, arXiv:1411.4038;
Shelhamer, Long and Darrell 2017, the same title, arXiv:1605.06211, and the authors' voc-fcn8s-atonce.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import Conv2d, Dropout, ReLU, Sequential
from nn.layer import positive
from vision.backbones import VGG, freeze_cancelled, vgg16_plan
from vision.backbones.convolutional import convolutional
from vision.registry import Tiny, register
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelClassifier, PixelOptions
from vision.segmentation.skips import BilinearInterpolation, SkipNet, learned_interpolation

SKIPS = {32: (), 16: ("pool4",), 8: ("pool4", "pool3")}  # stride: whose scores are added, from the coarsest
AROUND = 99  # zeros around the image; with conv1_1's own padding of 1 this is the authors' pad: 100
HALF_A_CELL = 16  # of stride 32: the outermost cells are centred on the border, so every pixel lies between two cells
# Where the authors' crops begin: in the scores of pool4 and of pool3, and in the last map, by stride. Caffe looks for
# the position whose window has the same centre.
STARTS = {"pool4": 5, "pool3": 9, 32: 19, 16: 27, 8: 31}
UPS = ("upscore2", "upscore_pool4")
SCALES = {"pool4": 0.01, "pool3": 0.0001}  # of the skips' maps, where all is trained at once


class ScaledConv2d(Conv2d):
    """y = conv(scale x).    x (N, I, H, W), y (N, O, H, W)"""

    def __init__(self, in_channels: int, out_channels: int, scale: float, *, rng: np.random.Generator):
        super().__init__(in_channels, out_channels, 1, rng=rng)
        self.scale = scale

    def forward(self, x, training=True):
        return super().forward(x * self.scale, training)

    def backward(self, dy, cache):
        return self.scale * super().backward(dy, cache)


class FCN(SkipNet):
    """images (N, 3, H, W) to logits (N, classes, H, W): scores at a stride of 32, 16 or 8 pixels, interpolated.

    VGG-16's layers have torchvision's names, features.N and classifier.N. fc6 is a 7x7 and fc7 a 1x1 convolution, with
    dropout (fig. 2); classifier.6 is a 1x1 convolution to the scores. upscore2 enlarges these twice, and score_pool4's
    are added; upscore_pool4 enlarges the sum, and score_pool3's are added (fig. 3). At last upscore32, upscore16 or
    upscore8 goes to the size of the images. Transposed convolutions start as bilinear interpolation; upscore2 and
    upscore_pool4 learn, the last one is fixed unless learn_last (sec. 4.3; 3.3). Score layers start at score_std times
    standard normal values, 0 in the paper.

    padding: "published" puts 99 zeros around the image, so that fc6, which has none, always sees 7x7 cells, and cuts
    all maps to fit (the authors' net.py); "same" puts 16 zeros there, pads fc6 by 3 and saves the work on the other
    zeros. Poolings round odd sizes up, as in Caffe. width: channels of the first convolution; hidden: of fc6 and fc7;
    batch_norm: before each ReLU of the backbone (vgg16_bn's indices), for training from random weights: "not
    feasible", says the paper. at_once: for training in one stage, the skips' maps are scaled by SCALES, so that they
    change the scores no faster than deeper maps do, and all interpolation is fixed.
    """

    def __init__(
        self, classes: int, stride: int = 8, *, width: int = 64, hidden: int = 4096, dropout: float = 0.5,
        padding: str = "published", batch_norm: bool = False, score_std: float = 0.0, learn_last: bool = False,
        at_once: bool = False, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, hidden=hidden)
        if stride not in SKIPS:
            raise ValueError(f"FCN: stride must be one of {', '.join(map(str, SKIPS))}, got {stride!r}")
        if padding not in ("published", "same"):
            raise ValueError(f"FCN: padding must be 'published' or 'same', got {padding!r}")
        published, names = padding == "published", SKIPS[stride]
        self.around = AROUND if published else HALF_A_CELL
        self.starts = [STARTS[name] if published else 0 for name in names]
        self.final_start = STARTS[stride] if published else HALF_A_CELL
        self.backbone = VGG(vgg16_plan(width), batch_norm=batch_norm, ceil_mode=True, rng=rng)
        self.taps = *reversed(names), "pool5"
        freeze_cancelled(self.backbone.body)
        self.classifier = Sequential(
            Conv2d(8 * width, hidden, 7, padding=0 if published else 3, rng=rng), ReLU(),
            Dropout(dropout, rng=rng.spawn(1)[0]),
            Conv2d(hidden, hidden, 1, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
            _score(hidden, classes, score_std, rng),
        )  # fmt: skip
        channels, around = self.backbone.channels, 0 if published else 1
        scales = SCALES if at_once else dict.fromkeys(names)
        self.skips = [_score(channels[name], classes, score_std, rng, scales[name]) for name in names]
        self.ups = [
            BilinearInterpolation(4, 2, around) if at_once else learned_interpolation(classes, 4, 2, around)
            for _ in names
        ]
        last = 2 * stride, stride, 0 if published else stride // 2
        self.final = learned_interpolation(classes, *last) if learn_last else BilinearInterpolation(*last)
        self.layer_names = *(f"score_{name}" for name in names), *UPS[: len(names)], f"upscore{stride}"

    def children(self):
        """By the names of the authors' net.py; those of VGG-16's layers are torchvision's."""
        yield from self.backbone.children()
        yield "classifier", self.classifier
        yield from zip(self.layer_names, (*self.skips, *self.ups, self.final))

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of a VGG-16, with batch normalisation or without, as this network takes them: see convolutional."""
        return convolutional(self.backbone.pretrained_names(arrays))


def _score(channels, classes, std, rng, scale=None):
    """A 1x1 convolution to the scores of the classes; its weights start at std times standard normal values."""
    layer = ScaledConv2d(channels, classes, scale, rng=rng) if scale else Conv2d(channels, classes, 1, rng=rng)
    layer.weight.value[...] = std * rng.standard_normal(layer.weight.value.shape)
    return layer


@dataclass(frozen=True)
class Options(PixelOptions):
    """The published networks. mean and std are those of torchvision's VGG-16; the paper's std is 1."""

    short_side: int = 375
    max_side: int = 500
    width: int = 64  # channels of the first convolution
    hidden: int = 4096  # channels of fc6 and fc7
    dropout: float = 0.5  # share of elements dropped after fc6 and fc7, in training
    padding: Literal["published", "same"] = "published"  # zeros around the image: 99, or 16 with 3 in fc6
    batch_norm: bool = False  # whether batch normalisation stands before each ReLU of the features
    score_std: float = 0.0  # score layers start at this times standard normal values
    learn_last: bool = False  # whether the last interpolation learns
    at_once: bool = False  # whether the skips' maps are scaled and interpolation is fixed, to train in one stage


@dataclass(frozen=True)
class AtOnceOptions(Options):
    """To be trained in one stage."""

    at_once: bool = True  # whether the skips' maps are scaled and interpolation is fixed, to train in one stage


@dataclass(frozen=True)
class SmallOptions(Options):
    """Scenes are shown four times as large: a cell of FCN-32s is then 8 of their pixels, and things have 14 to 30."""

    short_side: int = 256
    max_side: int = 320
    width: int = 8
    hidden: int = 64
    dropout: float = 0.1
    padding: Literal["published", "same"] = "same"
    batch_norm: bool = True


# Sec. 4.3: batches of 20, rate 1e-4, biases twice as fast, no class balancing; sec. 4.1: at least 175 epochs. FCN-16s
# and FCN-8s start with a hundredth of the rate.
RECIPE = {
    "data": "voc", "epochs": 175, "batch_size": 20, "lr": 1e-4, "weight_decay": 0.0005, "schedule": "constant",
    "warm_up": 0, "clip_norm": 0.0, "bias_rate": 2.0,
}  # fmt: skip
FINER = RECIPE | {"lr": 1e-6}
# "Heavy learning", voc-fcn8s-atonce/solver.prototxt: one image a step, momentum 0.99, 300,000 steps (35 epochs of their
# 8,498 images), rate 1e-10 and weight decay 0.0005 for the sum of the losses of all pixels. The loss here is their
# mean: of 500 x 375 pixels, it takes 187,500 times the rate, 1.9e-5, and as small a part of the decay, 2.7e-9. (The
# same files have 1e-10, 1e-12 and 1e-14 for FCN-32s, 16s and 8s in stages.)
HEAVY = RECIPE | {"epochs": 35, "batch_size": 1, "lr": 1.9e-5, "momentum": 0.99, "weight_decay": 2.7e-9}
# From random weights and with batch normalisation: a run of minutes, shorter for the finer networks.
SMALL = ON_SHAPES | {"epochs": 2, "lr": 0.002}
SMALL_FINER = SMALL | {"epochs": 1, "shapes_train": 4000, "lr": 0.001}
TABLE = {"system": "FCN", "paper": "Long et al. 2015, arXiv:1411.4038"}
TINY = Tiny({"width": 2, "hidden": 4, "padding": "same", "score_std": 0.3}, scenes=1, size=(32, 32))
TINY_8 = Tiny({"width": 1, "hidden": 3, "batch_norm": True, "score_std": 0.3}, scenes=1, size=(32, 32))
TINY_SMALL = Tiny({"width": 2, "hidden": 3, "score_std": 0.3}, scenes=1, size=(32, 32))


def _made(stride, classes, options, rng):
    o = options
    network = FCN(
        len(classes), stride, width=o.width, hidden=o.hidden, dropout=o.dropout, padding=o.padding,
        batch_norm=o.batch_norm, score_std=o.score_std, learn_last=o.learn_last, at_once=o.at_once, rng=rng,
    )  # fmt: skip
    return PixelClassifier(network, classes, options)


@register("fcn32s_small", "segmentation", SMALL, options=SmallOptions, tiny=TINY_SMALL, **TABLE)
@register("fcn32s", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def fcn32s(classes, options: Options, rng: np.random.Generator) -> PixelClassifier:
    """FCN-32s on VGG-16: 134,346,581 parameters for VOC's 21 classes. Small: narrow, with batch normalisation."""
    return _made(32, classes, options, rng)


@register(
    "fcn16s_small", "segmentation", SMALL_FINER | {"after": "fcn32s_small"}, options=SmallOptions, tiny=TINY_SMALL,
    **TABLE,
)  # fmt: skip
@register("fcn16s", "segmentation", FINER | {"after": "fcn32s"}, options=Options, tiny=TINY, **TABLE)
def fcn16s(classes, options: Options, rng: np.random.Generator) -> PixelClassifier:
    """The same with a skip from pool4; start from an FCN-32s."""
    return _made(16, classes, options, rng)


@register(
    "fcn8s_small", "segmentation", SMALL_FINER | {"after": "fcn16s_small"}, options=SmallOptions, tiny=TINY_SMALL,
    figures="mIoU 0.928 on generated scenes", **TABLE,
)  # fmt: skip
@register("fcn8s", "segmentation", FINER | {"after": "fcn16s"}, options=Options, tiny=TINY_8, **TABLE)
def fcn8s(classes, options: Options, rng: np.random.Generator) -> PixelClassifier:
    """The same with skips from pool4 and from pool3; start from an FCN-16s."""
    return _made(8, classes, options, rng)


@register("fcn8s_at_once", "segmentation", HEAVY, options=AtOnceOptions, tiny=TINY, **TABLE)
def fcn8s_at_once(classes, options: AtOnceOptions, rng: np.random.Generator) -> PixelClassifier:
    """FCN-8s in one stage; start from VGG-16."""
    return _made(8, classes, options, rng)
