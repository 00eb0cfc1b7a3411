"""VGG: 3x3 convolutions and 2x2 poolings, nothing else.

Reference: Simonyan and Zisserman 2015, Very deep convolutional networks for large-scale image recognition,
arXiv:1409.1556.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Sequential
from nn.layer import positive
from vision.backbones.backbone import Backbone, FeatureMap

POOL = "pool"
# Convolutions before each pooling, by layers with weights: configurations A, B, D and E of table 1.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg_plan(layers: int = 16, width: int = 64, depth: int = 5) -> list:
    """The plan of a VGG of so many layers up to its pooling number `depth`; width: channels of the first convolutions.

    The channels double after each pooling, up to 8 width.
    """
    if layers not in CONVOLUTIONS:
        raise ValueError(f"vgg_plan: layers must be one of {', '.join(map(str, CONVOLUTIONS))}, got {layers}")
    if not 1 <= depth <= 5:
        raise ValueError(f"vgg_plan: a VGG has 5 poolings, depth must be in 1 .. 5, got {depth}")
    plan = []
    for i, count in enumerate(CONVOLUTIONS[layers][:depth]):
        plan += [min(2**i, 8) * width] * count + [POOL]
    return plan


def vgg16_plan(width: int = 64, depth: int = 5) -> list:
    """The plan of VGG-16: see vgg_plan."""
    return vgg_plan(16, width, depth)


class VGG(Backbone):
    """images (N, 3, H, W) to features (N, out_channels, about H / stride, about W / stride).

    plan: the channels of each 3x3 convolution with padding 1 (then batch normalisation, if wanted, and ReLU), POOL for
    each max pooling with stride 2. Stages: conv1, the last ReLU before the first pooling, pool1, conv2, pool2, ...
    Layers are named features.0, features.1, ... as in torchvision, so that weights of its vgg16 and vgg16_bn fit.

    pool_size: 2, or 3 with padding 1. Odd sizes round down, or up with ceil_mode. output_stride: from this stride on,
    poolings are 3x3 with stride 1 and padding 1, and behind each of them convolutions take their inputs twice as far
    apart (dilation): the same weights give a denser map.

    Reference: Simonyan and Zisserman 2015, table 1 (configuration D is VGG-16); Chen et al. 2015, arXiv:1412.7062,
    sec. 3.1, for output_stride.
    """

    def __init__(
        self, plan: Sequence, *, batch_norm: bool = False, pool_size: int = 2, ceil_mode: bool = False,
        output_stride: int | None = None, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, pool_size=pool_size)
        layers, stages = [], {}
        channels, stride, dilation, level = 3, 1, 1, 1
        for step in plan:
            if step == POOL:
                dense = stride == output_stride
                size = 3 if dense else pool_size
                layers.append(MaxPool2d(size, 1 if dense else 2, (size - 1) // 2, ceil_mode=ceil_mode))
                stride, dilation = (stride, 2 * dilation) if dense else (2 * stride, dilation)
                stages[f"pool{level}"] = FeatureMap(len(layers), channels, stride)
                level += 1
                continue
            layers.append(Conv2d(channels, step, 3, padding=dilation, dilation=dilation, rng=rng))
            layers += [BatchNorm2d(step), ReLU()] if batch_norm else [ReLU()]
            channels = step
            stages[f"conv{level}"] = FeatureMap(len(layers), channels, stride)
        super().__init__({f"features.{i}": layer for i, layer in enumerate(layers)}, stages)

    @property
    def blocks(self) -> list[Sequential]:
        """The convolutions of each level, without its pooling."""
        return [part for name, part in self.parts.items() if name.startswith("conv")]

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of a VGG by the indices that its layers have here, where they may be batch-normalised.

        features.28 of VGG-16, its last convolution, is features.40 of VGG-16 with batch normalisation. Layers that are
        not here are left out, names other than features.N stay. Arrays that have batch normalisation themselves (a
        vector features.N.weight) come back as they are.
        """
        of_features = {name: re.fullmatch(r"features\.(\d+)\.(.+)", name) for name in arrays}
        if any(found and found[2] == "weight" and arrays[name].ndim == 1 for name, found in of_features.items()):
            return dict(arrays)
        indices = [i for i, layer in enumerate(self.body) if not isinstance(layer, BatchNorm2d)]
        renamed = {}
        for name, found in of_features.items():
            if found is None:
                renamed[name] = arrays[name]
            elif int(found[1]) < len(indices):
                renamed[f"features.{indices[int(found[1])]}.{found[2]}"] = arrays[name]
        return renamed


def vgg16(*, width: int = 64, stride: int = 16, rng: np.random.Generator) -> VGG:
    """VGG-16 up to conv5_3, without the last pooling: 512 channels, 14,714,688 parameters.

    width: channels of the first convolution, all others in proportion. stride: 16, or 8, where conv5 is dilated.
    """
    if stride not in (8, 16):
        raise ValueError(f"vgg16: stride must be 8 or 16, got {stride}")
    return VGG(vgg16_plan(width)[:-1], output_stride=stride, rng=rng)


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
