"""SqueezeNet 1.0: AlexNet's accuracy with a fiftieth of its parameters.

Reference: Iandola et al. 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB model size,
arXiv:1602.07360.
"""

from dataclasses import dataclass

import numpy as np

from nn import Concat, Conv2d, Dropout, MaxPool2d, ReLU, Sequential
from nn.layer import Layer, positive
from nn.layers.avg_pool import GlobalAvgPool2d
from vision.backbones.backbone import Backbone, FeatureMap
from vision.classification.classifier import Classifier
from vision.options import ImageOptions
from vision.registry import Tiny, register

POOL = "pool"
SQUEEZE = {  # table 1: s1x1 in units of fire2's 16
    "fire2": 1, "fire3": 1, "fire4": 2, "pool4": POOL, "fire5": 2, "fire6": 3, "fire7": 3, "fire8": 4, "pool8": POOL,
    "fire9": 4,
}  # fmt: skip


class Fire(Layer):
    """s = relu(squeeze(x)), y = relu(concat(expand1x1(s), expand3x3(s))).    x (N, C, H, W), y (N, 8 S, H, W).

    squeeze: 1x1 to S channels; expand1x1 and expand3x3: to 4 S channels each.

    Reference: Iandola et al. 2016, sec. 3.2 and fig. 1.
    """

    def __init__(self, in_channels: int, squeeze_channels: int, *, rng: np.random.Generator):
        self.out_channels = 8 * squeeze_channels
        self.squeeze = Conv2d(in_channels, squeeze_channels, 1, rng=rng)
        self.expand1x1 = Conv2d(squeeze_channels, 4 * squeeze_channels, 1, rng=rng)
        self.expand3x3 = Conv2d(squeeze_channels, 4 * squeeze_channels, 3, padding=1, rng=rng)
        self.body = Sequential(self.squeeze, ReLU(), Concat(self.expand1x1, self.expand3x3), ReLU())

    def children(self):
        """The three convolutions, by torchvision's names."""
        return ((name, getattr(self, name)) for name in ("squeeze", "expand1x1", "expand3x3"))

    def forward(self, x, training=True):
        return self.body.forward(x, training)

    def backward(self, dy, cache):
        return self.body.backward(dy, cache)


class SqueezeNet(Backbone):
    """images (N, 3, H, W) to logits (N, classes): a 7x7 convolution, 8 Fire modules, a 1x1 convolution, global average.

    width: the squeeze channels of the first Fire module, 16 in the paper; all channels grow with it. `features` and
    `classifier` hold the layers under torchvision's indices, so that weights of its squeezenet1_0 fit. Pooling is 3x3
    with stride 2 and ceil_mode; the images are 227x227 in the authors' code, at least 21x21 are needed. Stages: fire2
    to fire9, and the poolings pool4 and pool8.
    """

    def __init__(self, classes: int, width: int = 16, dropout: float = 0.5, *, rng: np.random.Generator):
        positive(self, classes=classes, width=width)
        layers, stages = [Conv2d(3, 6 * width, 7, stride=2, rng=rng), ReLU(), _pool()], {}
        channels, stride = 6 * width, 4
        for name, squeeze in SQUEEZE.items():
            if squeeze == POOL:
                layers.append(_pool())
                stride *= 2
            else:
                layers.append(Fire(channels, squeeze * width, rng=rng))
                channels = layers[-1].out_channels
            stages[name] = FeatureMap(len(layers), channels, stride)
        conv10 = Conv2d(channels, classes, 1, rng=rng)
        conv10.weight.value[...] = 0.01 * rng.standard_normal(conv10.weight.value.shape)  # as the authors' code
        super().__init__(Sequential(*layers), stages)
        self.classifier = Sequential(Dropout(dropout, rng=rng.spawn(1)[0]), conv10, ReLU(), GlobalAvgPool2d())

    def forward(self, x, training=True):
        features, c_features = self.features.forward(x, training)
        logits, c_classifier = self.classifier.forward(features, training)
        return logits, (c_features, c_classifier)

    def backward(self, dy, cache):
        c_features, c_classifier = cache
        dfeatures = self.classifier.backward(dy, c_classifier)
        return self.features.backward(dfeatures, c_features)


def _pool():
    return MaxPool2d(3, stride=2, ceil_mode=True)


# The authors' solver.prototxt for v1.0: 170,000 batches of 512, the rate falls linearly (here: power 0.9).
RECIPE = {
    "epochs": 68, "batch_size": 512, "lr": 0.04, "weight_decay": 0.0002, "schedule": "polynomial", "warm_up": 0,
    "clip_norm": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options(ImageOptions):
    """Only the mean is subtracted from the pixels."""

    width: int = 16  # squeeze channels of the first Fire module
    dropout: float = 0.5  # share of features dropped before the last convolution
    short_side: int = 227  # pixels of the shorter side
    max_side: int = 454  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (123, 117, 104)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (1, 1, 1)  # then each channel is divided by this


@register(
    "squeezenet1_0", "classification", RECIPE, options=Options, tiny=Tiny({"width": 1}),
    system="SqueezeNet 1.0", paper="Iandola et al. 2016, arXiv:1602.07360",
    figures="check logits within 1e-3 with the published weights; not trained here",
)  # fmt: skip
def squeezenet1_0(classes, options: Options, rng) -> Classifier:
    """SqueezeNet 1.0: 1,248,424 parameters for 1000 classes."""
    return Classifier(SqueezeNet(len(classes), options.width, options.dropout, rng=rng), classes, options)
