"""The convolutions and the fully connected layers of R-CNN and SPP-net."""

import numpy as np

from nn import Linear, MaxPool2d
from nn.layer import Layer
from vision.backbones import AlexNet, Backbone, small_vgg, vgg16
from vision.boxes.region_heads import fully_connected
from vision.boxes.rpn import gaussian

BACKBONES = {  # up to the last convolution; the pooling that follows there
    "small_vgg": (lambda width, pad, rng: small_vgg(width=width, stride=8, rng=rng), lambda: MaxPool2d(2)),
    "alexnet": (
        lambda width, pad, rng: AlexNet(1, padding=pad, rng=rng).up_to("conv5"),
        lambda: MaxPool2d(3, stride=2),
    ),
    "vgg16": (lambda width, pad, rng: vgg16(rng=rng), lambda: MaxPool2d(2)),
}


def region_backbone(
    name: str, width: int, frozen: str | None, rng: np.random.Generator, padding: int = 2
) -> tuple[Backbone, Layer]:
    """(the backbone up to its last convolution, its last pooling).

    width: of small_vgg; frozen: its last such stage; padding: of AlexNet's conv1, published with 2 for whole crops.
    """
    make, pooling = BACKBONES[name]
    backbone = make(width, padding, rng)
    if frozen:
        backbone.freeze(frozen)
    return backbone, pooling()


class RegionLayers(Layer):
    """pool5 (R, D) to logits (R, 1 + classes), index 0 for background, through fc6 and fc7 of `hidden` units.

    The last layer's weights are new, Gaussian with standard deviation 0.01.
    """

    def __init__(self, in_features: int, hidden: int, classes: int, dropout: float, *, rng: np.random.Generator):
        self.classifier = fully_connected(in_features, hidden, dropout, rng)
        self.cls_score = Linear(hidden, 1 + classes, rng=rng)
        self.cls_score.weight.value[...] = gaussian((1 + classes, hidden), 0.01, rng)
        self.widths = {"pool5": in_features, "fc6": hidden, "fc7": hidden}

    def forward(self, x, training=True):
        hidden, c_hidden = self.classifier.forward(x, training)
        y, c_score = self.cls_score.forward(hidden, training)
        return y, (c_hidden, c_score)

    def backward(self, dy, cache):
        c_hidden, c_score = cache
        return self.classifier.backward(self.cls_score.backward(dy, c_score), c_hidden)

    def backward_parameters(self, dy, cache):
        c_hidden, c_score = cache
        self.classifier.backward_parameters(self.cls_score.backward(dy, c_score), c_hidden)

    def features(self, pool5: np.ndarray) -> dict[str, np.ndarray]:
        """The layers by name, inferred from pool5 (R, D): fc6 and fc7 after their ReLU, and logits."""
        fc6 = self.classifier[:3](pool5)
        fc7 = self.classifier[3:](fc6)
        return {"pool5": pool5, "fc6": fc6, "fc7": fc7, "logits": self.cls_score(fc7)}
