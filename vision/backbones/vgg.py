"""VGG: 3x3 convolutions and 2x2 poolings, nothing else."""

from collections.abc import Sequence

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Sequential
from nn.layer import Layer

POOL = "pool"
VGG16 = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512)


class VGG(Layer):
    """images (N, 3, H, W) to features (N, out_channels, about H / stride, about W / stride).

    plan: a number of channels for each 3x3 convolution with padding 1 (then batch normalisation, if wanted, and ReLU),
    POOL for each 2x2 max pooling, which rounds odd sizes down. The layers stand in `features` under torchvision's
    numbers (features.0.weight, ...), so that weights of its vgg16 and vgg16_bn fit.

    frozen_layers: how many entries of `features`, from the first on, are not trained. Fast R-CNN (Girshick 2015,
    arXiv:1504.08083, sec. 4.5) fixes conv1 and conv2 of a pretrained VGG-16, which is frozen_layers=10.

    Reference: Simonyan and Zisserman 2015, arXiv:1409.1556, table 1 (configuration D is VGG16).
    """

    def __init__(self, plan: Sequence, *, batch_norm: bool = False, frozen_layers: int = 0, rng: np.random.Generator):
        layers, channels = [], 3
        for step in plan:
            if step == POOL:
                layers.append(MaxPool2d(2))
                continue
            layers.append(Conv2d(channels, step, 3, padding=1, rng=rng))
            layers += [BatchNorm2d(step), ReLU()] if batch_norm else [ReLU()]
            channels = step
        if not 0 <= frozen_layers <= len(layers):
            raise ValueError(f"VGG: frozen_layers must be in 0 .. {len(layers)}, got {frozen_layers}")
        self.features = Sequential(*layers)
        self.out_channels, self.stride, self.frozen_layers = channels, 2 ** list(plan).count(POOL), frozen_layers
        for parameter in self.features[:frozen_layers].parameters().values():
            parameter.trainable = False

    def forward(self, x, training=True):
        x, _ = self.features[: self.frozen_layers].forward(x, training=False)
        return self.features[self.frozen_layers :].forward(x, training)

    def backward(self, dy, cache):
        return self.features[self.frozen_layers :].backward(dy, cache)  # the stem is frozen: no gradient goes below


def vgg16(*, frozen_layers: int = 0, rng: np.random.Generator) -> VGG:
    """VGG-16 up to conv5_3, without the last pooling: 512 channels, stride 16, 14,714,688 parameters."""
    return VGG(VGG16, frozen_layers=frozen_layers, rng=rng)


def small_vgg(*, width: int = 12, stride: int = 4, rng: np.random.Generator) -> VGG:
    """A VGG for images of some 300 pixels on a CPU: four pairs of convolutions with batch normalisation.

    The pairs have width, 2 width, 4 width and 8 width channels. Batch normalisation, which VGG did not have yet,
    lets it learn from random weights within minutes. stride=8 pools before the last pair too: half the work,
    on a grid too coarse for the boxes of small objects.
    """
    if stride not in (4, 8):
        raise ValueError(f"small_vgg: stride must be 4 or 8, got {stride}")
    w, last = width, (POOL,) if stride == 8 else ()
    return VGG((w, w, POOL, 2 * w, 2 * w, POOL, 4 * w, 4 * w, *last, 8 * w, 8 * w), batch_norm=True, rng=rng)
