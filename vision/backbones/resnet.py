"""ResNet without its classifier: five depths, strides that may be dilations, and a plain twin of each.

Reference: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385, sec. 3.4 and 4.1, table 1.
"""

from collections.abc import Sequence

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Sequential
from nn.layer import positive
from vision.backbones.backbone import Backbone, FeatureMap
from vision.backbones.residual import Bottleneck, ResidualBlock, Style

BLOCKS = {  # in each of the four stages
    "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}  # fmt: skip


class ResNet(Backbone):
    """images (N, 3, H, W) to the map of layer4 (N, e 8 width, about H / 32, about W / 32), e the block's expansion.

    Stages: conv1 (7x7, batch normalisation, ReLU) with `width` channels at a stride of 2 pixels, layer1 (after 3x3 max
    pooling) to layer4 with e, 2 e, 4 e and 8 e width channels at strides of 4, 8, 16 and 32. blocks: those of layer1 to
    layer4, see BLOCKS. block: Bottleneck, e = 4, or BasicBlock, e = 1, for 18 and 34 layers; last: another block for
    layer4, of the same e.
    replace_stride_with_dilation: for each of layer2 to layer4 whether it has no stride; all later 3x3 convolutions then
    take their inputs twice as far apart, and weights of the network with strides fit. Layers have torchvision's names,
    conv1.weight ... layer4.2.bn3.bias; new weights are He's.

    multi_grid: factors of the dilations of layer4's first three blocks: (1, 2, 4) gives 2, 4, 8 at a stride of 16
    pixels, 4, 8, 16 at 8 (Chen et al. 2017, arXiv:1706.05587, sec. 3.2). (1, 1, 1) is as in torchvision, where the
    first block of a stage without its stride has the dilation of the stage before.

    style: see vision.backbones.residual. With pre-activation conv1 is a convolution only, and layer4 ends with batch
    normalisation and ReLU.
    """

    def __init__(
        self, blocks: Sequence[int] = BLOCKS["resnet50"], width: int = 64,
        replace_stride_with_dilation: Sequence[bool] = (False, False, False), multi_grid: Sequence[int] = (1, 1, 1), *,
        block: type[ResidualBlock] = Bottleneck, last: type[ResidualBlock] | None = None,
        style: Style = Style(), rng: np.random.Generator,  # noqa: B008
    ):  # fmt: skip
        words = {"blocks": (blocks, 4), "replace_stride_with_dilation": (replace_stride_with_dilation, 3)}
        for name, (values, wanted) in (words | {"multi_grid": (multi_grid, 3)}).items():
            if len(values) != wanted:
                raise ValueError(f"ResNet: {name} must have {wanted} entries, got {list(values)}")
        positive(self, width=width, blocks=min(blocks), multi_grid=min(multi_grid))
        layers = stem(Conv2d(3, width, 7, 2, 3, bias=False, rng=rng), style)
        stages, channels, total, dilation = {"conv1": FeatureMap(len(layers), width, 2)}, width, 4, 1
        layers["maxpool"] = MaxPool2d(3, 2, padding=1)
        for i, (count, replaced) in enumerate(zip(blocks, (False, *replace_stride_with_dilation))):
            stride, before = (1 if i == 0 or replaced else 2), dilation
            dilation *= 2 if replaced else 1
            total *= stride
            rates = [before] + (count - 1) * [dilation]
            if i == 3 and set(multi_grid) != {1}:
                rates = [factor * dilation for factor in (*multi_grid, *count * (1,))[:count]]
            inside = []
            for rate in rates:
                step, first = (1, False) if inside else (stride, True)
                kind = last if last is not None and i == 3 else block
                inside.append(kind(channels, width * 2**i, step, rate, style, first, rng=rng))
                channels = block.expansion * width * 2**i
            layers[f"layer{i + 1}"] = Sequential(*inside)
            if i == 3 and style.form == "pre_activation":
                layers |= {"bn_last": BatchNorm2d(channels), "relu_last": ReLU()}
            stages[f"layer{i + 1}"] = FeatureMap(len(layers), channels, total)
        super().__init__(layers, stages)


def stem(conv: Conv2d, style: Style) -> dict:
    """The first convolution, followed by batch normalisation and ReLU unless the blocks begin with them."""
    if style.form == "pre_activation":
        return {"conv1": conv}
    return {"conv1": conv, "bn1": BatchNorm2d(conv.out_channels), "relu": ReLU()}
