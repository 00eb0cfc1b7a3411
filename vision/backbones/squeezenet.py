"""SqueezeNet 1.0: AlexNet's accuracy with a fiftieth of its parameters.

Reference: Iandola et al. 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB model size,
arXiv:1602.07360.
"""

import numpy as np

from nn import Concat, Conv2d, Dropout, MaxPool2d, ReLU, Sequential
from nn.layer import Layer, positive
from vision.backbones.backbone import Backbone, FeatureMap

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

    def backward_parameters(self, dy, cache):
        self.body.backward_parameters(dy, cache)


class SqueezeNet(Backbone):
    """images (N, 3, H, W) to class maps (N, classes, h, w), the means of which are the logits.

    Stages: conv1 (7x7), pool1, fire2 .. fire9 with pool4 and pool8 between them, and conv10: dropout, a 1x1
    convolution to the classes, ReLU. width: the squeeze channels of the first Fire module, 16 in the paper; all
    channels grow with it. Pooling is 3x3 with stride 2 and ceil_mode; the images are 227x227 in the authors' code, at
    least 21x21 are needed. Layers have torchvision's names, features.0 .. features.12 and classifier.1, so that weights
    of its squeezenet1_0 fit.

    Reference: Iandola et al. 2016, table 1.
    """

    def __init__(self, classes: int, width: int = 16, dropout: float = 0.5, *, rng: np.random.Generator):
        positive(self, classes=classes, width=width)
        layers = [Conv2d(3, 6 * width, 7, stride=2, rng=rng), ReLU(), _pool()]
        channels, stride = 6 * width, 4
        stages = {"conv1": FeatureMap(2, channels, 2), "pool1": FeatureMap(3, channels, 4)}
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
        last = Dropout(dropout, rng=rng.spawn(1)[0]), conv10, ReLU()
        stages["conv10"] = FeatureMap(len(layers) + len(last), classes, stride)
        named = {f"features.{i}": layer for i, layer in enumerate(layers)}
        super().__init__(named | {f"classifier.{i}": layer for i, layer in enumerate(last)}, stages)


def _pool():
    return MaxPool2d(3, stride=2, ceil_mode=True)
