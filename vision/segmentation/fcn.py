"""FCN-32s, FCN-16s, FCN-8s: a classifier turned into a network for images of any size, and skips for finer scores.

Trained in stages, each net from the coarser one's weights (sec. 4.2); what is new starts so that nothing changes:

    python -m scripts.train --model fcn32s_small --run-dir runs/fcn32s
    python -m scripts.train --model fcn16s_small --pretrained runs/fcn32s --run-dir runs/fcn16s
    python -m scripts.train --model fcn8s_small --pretrained runs/fcn16s --run-dir runs/fcn8s

Reference: Long, Shelhamer and Darrell 2015, Fully convolutional networks for semantic segmentation, arXiv:1411.4038.
"""

from collections.abc import Mapping

import numpy as np

from nn import Conv2d, Dropout, MaxPool2d, ReLU, Sequential
from nn.layer import Layer, positive
from vision.backbones.vgg import VGG
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.encoder_decoder import freeze_cancelled, of_plain_vgg, widened
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS, PixelClassifier
from vision.segmentation.skips import BilinearInterpolation, SkipNet, learned_interpolation

SKIPS = {32: (), 16: ("pool4",), 8: ("pool4", "pool3")}  # stride: whose scores are added, from the coarsest
AROUND = 99  # zeros on each side of the image; with conv1_1's own padding of 1 the authors' pad: 100
HALF_A_CELL = 16  # of stride 32: the outermost cells have their middle on the border, so that no pixel has but one
# Where the authors' crops begin: in the scores of pool4 and of pool3, and in the last map, by stride. Caffe looks for
# the place whose window has the same middle.
STARTS = {"pool4": 5, "pool3": 9, 32: 19, 16: 27, 8: 31}
UPS = ("upscore2", "upscore_pool4")


class FCN(SkipNet):
    """images (N, 3, H, W) to logits (N, classes, H, W): scores at a stride of 32, 16 or 8 pixels, interpolated.

    VGG-16's layers stand in `features` and `classifier` under torchvision's numbers; fc6 is a 7x7 and fc7 a 1x1
    convolution, with dropout (fig. 2), and classifier.6 a 1x1 convolution to the scores, which are enlarged twice by
    upscore2 and added to score_pool4's, these by upscore_pool4 and added to score_pool3's (fig. 3); at last
    upscore32, upscore16 or upscore8 goes to the size of the images. Transposed convolutions start as bilinear
    interpolation; upscore2 and upscore_pool4 learn, the last one stays unless learn_last (sec. 4.3; 3.3). Score layers
    start at score_std times normal numbers, 0 in the paper.

    padding: "published" puts 99 zeros round the image, so that fc6, which has none, always sees 7x7 cells, and cuts all
    maps to fit (the authors' net.py); "same" puts 16 there, pads fc6 by 3 and saves the work on the other zeros.
    Poolings round odd sizes up. width: channels of the first convolution; hidden: of fc6 and fc7; batch_norm: before
    each ReLU of `features` (vgg16_bn's numbers), for training from random weights: "not feasible", says the paper.
    """

    def __init__(
        self, classes: int, stride: int = 8, *, width: int = 64, hidden: int = 4096, dropout: float = 0.5,
        padding: str = "published", batch_norm: bool = False, score_std: float = 0.0, learn_last: bool = False,
        rng: np.random.Generator,
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
        layers = freeze_cancelled(VGG(widened(width), batch_norm=batch_norm, rng=rng).features)
        self.features = Sequential(*(rounding_up(layer) for layer in layers))
        self.classifier = Sequential(
            Conv2d(8 * width, hidden, 7, padding=0 if published else 3, rng=rng), ReLU(),
            Dropout(dropout, rng=rng.spawn(1)[0]),
            Conv2d(hidden, hidden, 1, rng=rng), ReLU(), Dropout(dropout, rng=rng.spawn(1)[0]),
            _score(hidden, classes, score_std, rng),
        )  # fmt: skip
        channels = {"pool4": 8 * width, "pool3": 4 * width}
        self.skips = [_score(channels[name], classes, score_std, rng) for name in names]
        self.ups = [learned_interpolation(classes, 4, 2, 0 if published else 1) for _ in names]
        last = 2 * stride, stride, 0 if published else stride // 2
        self.final = learned_interpolation(classes, *last) if learn_last else BilinearInterpolation(*last)
        self.names = *(f"score_{name}" for name in names), *UPS[: len(names)], f"upscore{stride}"

    @property
    def parts(self) -> list[Sequential]:
        """features up to pool3, from there to pool4, and from there to pool5."""
        ends = [i + 1 for i, layer in enumerate(self.features) if isinstance(layer, MaxPool2d)]
        return [self.features[: ends[2]], self.features[ends[2] : ends[3]], self.features[ends[3] :]]

    def children(self):
        """By the names of the authors' net.py, but for `features` and `classifier`, which have torchvision's."""
        yield from (("features", self.features), ("classifier", self.classifier))
        yield from zip(self.names, (*self.skips, *self.ups, self.final))

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of a VGG-16, with batch normalisation or without, as this net takes them: see convolutional."""
        return convolutional(of_plain_vgg(arrays, self.features))


def rounding_up(layer: Layer) -> Layer:
    """The layer, a 2x2 pooling as one that rounds odd sizes up, which is Caffe's way."""
    return MaxPool2d(2, ceil_mode=True) if isinstance(layer, MaxPool2d) else layer


def convolutional(arrays: Mapping[str, np.ndarray], kernel: int = 7) -> dict[str, np.ndarray]:
    """The weights of a classifier, fully connected ones turned into convolutions; all else as it is.

    (O, C kernel^2) of classifier.0 becomes (O, C, kernel, kernel), (O, I) of the other layers (O, I, 1, 1): the same
    numbers in the same order, since the cells that a fully connected layer sees come channel by channel (fig. 2). One
    whose inputs kernel^2 does not divide, of another net, stays as it is.
    """

    def turned(name, array):
        k = kernel if name == "classifier.0.weight" else 1
        if not name.startswith("classifier.") or array.ndim != 2 or array.shape[1] % k**2:
            return array
        return array.reshape(len(array), array.shape[1] // k**2, k, k)

    return {name: turned(name, array) for name, array in arrays.items()}


def _score(channels, classes, std, rng):
    """A 1x1 convolution to the scores of the classes; its weights start at std times normal numbers."""
    layer = Conv2d(channels, classes, 1, rng=rng)
    layer.weight.value[...] = std * rng.standard_normal(layer.weight.value.shape)
    return layer


# Sec. 4.3: batches of 20, rate 1e-4, no class balancing; sec. 4.1: at least 175 epochs. Biases learn twice as fast
# there; FCN-16s and FCN-8s start with a hundredth of the rate.
RECIPE = {
    "data": "voc", "epochs": 175, "batch_size": 20, "lr": 1e-4, "weight_decay": 0.0005, "schedule": "constant",
    "warm_up": 0, "clip_norm": 0.0,
}  # fmt: skip
FINER = RECIPE | {"lr": 1e-6}
# From random weights and with batch normalisation, a run of minutes, shorter for the finer nets. Scenes are shown to
# them four times as large: a cell of FCN-32s is then 8 of their pixels, and things have 14 to 30.
SMALL = ON_SHAPES | {"epochs": 2, "lr": 0.002}
SMALL_FINER = SMALL | {"epochs": 1, "shapes_train": 4000, "lr": 0.001}
# mean and std, of all models in OPTIONS, are those of torchvision's VGG-16; the paper's std is 1.
OWN = {
    "width": 64, "hidden": 4096, "dropout": 0.5, "padding": "published", "batch_norm": False, "score_std": 0.0,
    "learn_last": False, "short_side": 375, "max_side": 500,
}  # fmt: skip
OWN_SMALL = OWN | {
    "width": 8, "hidden": 64, "dropout": 0.1, "padding": "same", "batch_norm": True, "short_side": 256, "max_side": 320,
}  # fmt: skip


def _made(name, stride, classes, rng, options, own):
    options = complete(name, options, **OPTIONS | own)
    words = ("width", "hidden", "dropout", "padding", "batch_norm", "score_std", "learn_last")
    network = FCN(len(classes), stride, **{word: options[word] for word in words}, rng=rng)
    return PixelClassifier(network, classes, options)


@register("fcn32s", "segmentation", recipe=RECIPE)
def fcn32s(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """FCN-32s on VGG-16: 134,346,581 parameters for VOC's 21 classes."""
    return _made("fcn32s", 32, classes, rng, options, OWN)


@register("fcn16s", "segmentation", recipe=FINER | {"after": "fcn32s"})
def fcn16s(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """FCN-16s on VGG-16; start from an FCN-32s."""
    return _made("fcn16s", 16, classes, rng, options, OWN)


@register("fcn8s", "segmentation", recipe=FINER | {"after": "fcn16s"})
def fcn8s(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """FCN-8s on VGG-16; start from an FCN-16s."""
    return _made("fcn8s", 8, classes, rng, options, OWN)


@register("fcn32s_small", "segmentation", recipe=SMALL)
def fcn32s_small(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """A narrow FCN-32s with batch normalisation, for generated scenes and CPUs."""
    return _made("fcn32s_small", 32, classes, rng, options, OWN_SMALL)


@register("fcn16s_small", "segmentation", recipe=SMALL_FINER | {"after": "fcn32s_small"})
def fcn16s_small(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """The same with a skip from pool4."""
    return _made("fcn16s_small", 16, classes, rng, options, OWN_SMALL)


@register("fcn8s_small", "segmentation", recipe=SMALL_FINER | {"after": "fcn16s_small"})
def fcn8s_small(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """The same with skips from pool4 and from pool3."""
    return _made("fcn8s_small", 8, classes, rng, options, OWN_SMALL)
