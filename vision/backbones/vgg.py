"""VGG: 3x3 convolutions and 2x2 poolings, nothing else."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Sequential
from vision.backbones.backbone import Backbone, FeatureMap

POOL = "pool"
VGG16 = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512)


def vgg16_plan(width: int = 64, depth: int = 5) -> list:
    """The plan of VGG-16 up to its pooling number `depth`, with width channels for 64, all others in proportion."""
    if not 1 <= depth <= 5:
        raise ValueError(f"vgg16_plan: VGG-16 has 5 poolings, depth must be in 1 .. 5, got {depth}")
    plan = [step if step == POOL else step // 64 * width for step in (*VGG16, POOL)]
    return plan[: [i for i, step in enumerate(plan) if step == POOL][depth - 1] + 1]


class VGG(Backbone):
    """images (N, 3, H, W) to features (N, out_channels, about H / stride, about W / stride).

    plan: the channels of each 3x3 convolution with padding 1 (then batch normalisation, if wanted, and ReLU), POOL for
    each 2x2 max pooling, which rounds odd sizes down, or up with ceil_mode. `features` holds the layers under
    torchvision's indices (features.0.weight, ...), so that weights of its vgg16 and vgg16_bn fit. Stages: conv1, the
    last ReLU before the first pooling, pool1, conv2, pool2, ...

    frozen_layers: how many entries of `features`, from the first on, are not trained. Fast R-CNN (Girshick 2015,
    arXiv:1504.08083, sec. 4.5) fixes conv1 and conv2 of a pretrained VGG-16, which is frozen_layers=10.

    Reference: Simonyan and Zisserman 2015, arXiv:1409.1556, table 1 (configuration D is VGG16).
    """

    def __init__(
        self, plan: Sequence, *, batch_norm: bool = False, ceil_mode: bool = False, frozen_layers: int = 0,
        rng: np.random.Generator,
    ):  # fmt: skip
        layers, channels, stages, level = [], 3, {}, 1
        for step in plan:
            if step == POOL:
                layers.append(MaxPool2d(2, ceil_mode=ceil_mode))
                stages[f"pool{level}"] = FeatureMap(len(layers), channels, 2**level)
                level += 1
                continue
            layers.append(Conv2d(channels, step, 3, padding=1, rng=rng))
            layers += [BatchNorm2d(step), ReLU()] if batch_norm else [ReLU()]
            channels = step
            stages[f"conv{level}"] = FeatureMap(len(layers), channels, 2 ** (level - 1))
        if not 0 <= frozen_layers <= len(layers):
            raise ValueError(f"VGG: frozen_layers must be in 0 .. {len(layers)}, got {frozen_layers}")
        super().__init__(Sequential(*layers), stages)
        self.out_channels, self.stride, self.frozen_layers = channels, 2 ** list(plan).count(POOL), frozen_layers
        for parameter in self.features[:frozen_layers].parameters().values():
            parameter.trainable = False

    @property
    def blocks(self) -> list[Sequential]:
        """The convolutions of each level, without its pooling: the same layer objects."""
        parts = zip(self.stages, self.cut(*self.stages))
        return [part for name, part in parts if name.startswith("conv")]

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of a VGG by the indices that its layers have here, where they may be batch-normalised.

        features.28 of VGG-16, its last convolution, is features.40 of VGG-16 with batch normalisation. Layers that are
        not here are left out, names other than features.N stay. Arrays that have batch normalisation themselves (a
        vector features.N.weight) come back as they are.
        """
        of_features = {name: re.fullmatch(r"features\.(\d+)\.(.+)", name) for name in arrays}
        if any(found and found[2] == "weight" and arrays[name].ndim == 1 for name, found in of_features.items()):
            return dict(arrays)
        indices = [i for i, layer in enumerate(self.features) if not isinstance(layer, BatchNorm2d)]
        renamed = {}
        for name, found in of_features.items():
            if found is None:
                renamed[name] = arrays[name]
            elif int(found[1]) < len(indices):
                renamed[f"features.{indices[int(found[1])]}.{found[2]}"] = arrays[name]
        return renamed

    def forward(self, x, training=True):
        x, _ = self.features[: self.frozen_layers].forward(x, training=False)
        return self.features[self.frozen_layers :].forward(x, training)

    def backward(self, dy, cache):
        return self.features[self.frozen_layers :].backward(dy, cache)  # no gradient goes below: the stem is frozen


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
