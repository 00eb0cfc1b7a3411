"""What localizers share: a backbone by name, some or all of it frozen, and fully connected layers on its map."""

import numpy as np

from nn import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU, Sequential
from nn.layer import Layer, positive
from vision.backbones import AlexNet, Backbone, EfficientNet, SmallCNN, SqueezeNet
from vision.boxes.rpn import gaussian

BACKBONES = {
    "small_cnn": SmallCNN,
    "squeezenet": lambda width, rng: SqueezeNet(1, width, dropout=0.0, rng=rng).up_to("fire9"),
    "alexnet": lambda width, rng: AlexNet(columns=1, width=width, rng=rng),
    "efficientnet_lite0": lambda width, rng: EfficientNet(lite=True, rng=rng),
}


class Trunk(Layer):
    """images (N, 3, H, W) to features (N, D, h, w), each channel with mean 0 and variance 1.

    name: of BACKBONES, after its last convolution (AlexNet's pool5). frozen: its last stage that is not trained, see
    Backbone.freeze; where that is the last of all, x may also be features computed earlier by `see`, which costs
    nothing but the memory for them. Raises ValueError for an unknown backbone or stage.
    """

    def __init__(self, name: str, width: int, frozen: str | None = None, *, rng: np.random.Generator):
        if name not in BACKBONES:
            raise ValueError(f"Trunk: backbone must be one of {', '.join(BACKBONES)}, got {name!r}")
        self.backbone: Backbone = BACKBONES[name](width, rng=rng)
        if frozen:
            self.backbone.freeze(frozen)
        self.out_channels = self.backbone.out_channels
        self.is_frozen = self.backbone.frozen == len(self.backbone.names)
        self.norm = BatchNorm2d(self.out_channels, affine=False)

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the features of an image of this size."""
        return self.backbone(np.zeros((1, 3, height, width), np.float32)).shape[2:]

    def see(self, x, training=False):
        """(features before they are normalised, cache) of images; features come back unchanged."""
        return (x, None) if self.is_frozen and x.shape[1] != 3 else self.backbone.forward(x, training)

    def forward(self, x, training=True):
        y, c_backbone = self.see(x, training)
        y, c_norm = self.norm.forward(y, training)
        return y, (c_backbone, c_norm)

    def backward(self, dy, cache):
        if self.is_frozen:
            return None  # no gradient goes below the features
        c_backbone, c_norm = cache
        return self.backbone.backward(self.norm.backward(dy, c_norm), c_backbone)

    def backward_parameters(self, dy, cache):
        if self.is_trainable():
            c_backbone, c_norm = cache
            self.backbone.backward_parameters(self.norm.backward(dy, c_norm), c_backbone)


def hidden_layers(
    in_channels: int, map_size: tuple[int, int], channels: int, hidden: int, dropout: float = 0.0,
    *, rng: np.random.Generator,
) -> Sequential:  # fmt: skip
    """features (N, in_channels, h, w) to (N, hidden): a 1x1 convolution that leaves few channels, so that the fully
    connected layer behind it can keep all positions of the map and still learn from few pictures.

    dropout: before and behind that layer.
    """
    positive("hidden_layers", channels=channels, hidden=hidden)
    h, w = map_size
    before, behind = ([Dropout(dropout, rng=rng)] if dropout else [] for _ in range(2))
    return Sequential(
        Conv2d(in_channels, channels, 1, bias=False, rng=rng), BatchNorm2d(channels), ReLU(), Flatten(), *before,
        Linear(channels * h * w, hidden, bias=False, rng=rng), BatchNorm1d(hidden), ReLU(), *behind,
    )  # fmt: skip


def last_layer(hidden: int, outputs: int, *, rng: np.random.Generator) -> Linear:
    """A fully connected layer that starts near 0: the first boxes are those of BOX_MEAN, all classes equally likely."""
    layer = Linear(hidden, outputs, rng=rng)
    layer.weight.value[...] = gaussian((outputs, hidden), 0.01, rng)
    return layer
