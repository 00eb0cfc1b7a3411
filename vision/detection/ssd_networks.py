"""The networks of SSD: the paper's two on VGG-16, and a small one.

Reference: Liu et al. 2016, SSD: single shot multibox detector, arXiv:1512.02325 (v5), sec. 3 and fig. 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Sequential
from vision.backbones import VGG
from vision.backbones.backbone import freeze_cancelled
from vision.backbones.convolutional import convolutional, decimated
from vision.backbones.vgg import POOL, vgg16_plan
from vision.detection.ssd import SSD, Options
from vision.registry import Tiny, register


def conv_relu(in_channels, out_channels, kernel_size=1, stride=1, padding=0, dilation=1, *, batch_norm=False, rng):
    """The layers of one convolution and its ReLU, with batch normalisation between them where wanted."""
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, rng=rng)
    return (conv, BatchNorm2d(out_channels), ReLU()) if batch_norm else (conv, ReLU())


def next_map(in_channels, out_channels, kernel_size=3, stride=2, padding=1, *, batch_norm=False, rng) -> Sequential:
    """1x1 to half of out_channels, then 3x3 to the next map: conv8 to conv11 of fig. 2."""
    reduce = conv_relu(in_channels, out_channels // 2, batch_norm=batch_norm, rng=rng)
    convolve = conv_relu(
        out_channels // 2, out_channels, kernel_size, stride, padding, batch_norm=batch_norm, rng=rng
    )  # fmt: skip
    return freeze_cancelled(Sequential(*reduce, *convolve))


class VGGSSD(SSD):
    """SSD on VGG-16, with fc6 and fc7 as layers 1 and 3 of its first extra map."""

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Those of the backbone; classifier.0 and .3 of torchvision's VGG-16 are fc6 and fc7, decimated (sec. 3)."""
        named, turned = super().pretrained_names(arrays), convolutional(arrays)
        for old, layer in ((0, 1), (3, 3)):
            for what in ("weight", "bias"):
                if f"classifier.{old}.{what}" in turned:
                    shape = getattr(self.extras[0][layer], what).value.shape
                    named[f"extras.0.{layer}.{what}"] = decimated(turned[f"classifier.{old}.{what}"], shape)
        return named


def vgg_ssd(classes, options: "VGGOptions", shapes: Sequence[tuple[int, int, int]], rng) -> VGGSSD:
    """SSD on VGG-16 up to conv5_3, of which conv4_3 is the first map; shapes: kernel, stride, padding of conv9, ...

    pool5 is 3x3 with stride 1, fc6 a 3x3 convolution with dilation 6, fc7 a 1x1 convolution: the second map (sec. 3).
    conv8_2 has half as many channels as fc7, the others a quarter. New weights are He's; the paper's are Xavier's.
    """
    w = options.width
    fc7 = Sequential(
        MaxPool2d(3, 1, 1),
        *conv_relu(8 * w, 16 * w, 3, padding=6, dilation=6, rng=rng),
        *conv_relu(16 * w, 16 * w, rng=rng),
    )
    extras, channels = [fc7, next_map(16 * w, 8 * w, rng=rng)], [16 * w, 8 * w]
    for shape in shapes:
        extras.append(next_map(channels[-1], 4 * w, *shape, rng=rng))
        channels.append(4 * w)
    backbone = VGG(vgg16_plan(w)[:-1], ceil_mode=True, rng=rng)
    return VGGSSD(classes, backbone, ("conv4",), extras, channels, options, rng=rng)


# Sec. 3.1 and 3.2 for VOC 2007 + 2012: batches of 32, the rate 1e-3 for 80,000 steps, a tenth of it for 20,000 and a
# hundredth for 20,000; 120,000 steps are 232 epochs of 16,551 images. Patches: sec. 2.2; expand: sec. 3.6. Biases learn
# twice as fast in the code, which also changes hues.
RECIPE = {
    "epochs": 232, "batch_size": 32, "lr": 0.001, "milestones": [0.667, 0.833], "clip_norm": 0.0, "warm_up": 0,
    "bias_rate": 2.0, "patches": 1.0, "expand": 4.0, "jitter": 0.5,
}  # fmt: skip
TINY = {  # three maps, more positive default boxes, all negatives
    "short_side": 32, "width": 3, "sizes": [0.2, 0.4, 0.6, 0.8], "ratios": [[2], [2, 3], [2]], "matching_iou": 0.05,
    "negative_ratio": 1000.0,
}  # fmt: skip
SYSTEM = {"system": "SSD", "paper": "Liu et al. 2016, arXiv:1512.02325"}
STRIDED, VALID = (3, 2, 1), (3, 1, 0)  # of a convolution that halves the map; without padding: 5 -> 3 -> 1


@dataclass(frozen=True)
class VGGOptions(Options):
    """The paper's."""

    width: int = 64  # channels of VGG's first two convolutions; all others in proportion


@register(
    "ssd300", "detection", RECIPE, options=VGGOptions, tiny=Tiny(TINY, scenes=1, size=(32, 32)), **SYSTEM,
)  # fmt: skip
def ssd300(classes, options: VGGOptions, rng) -> SSD:
    """SSD300: 8,732 default boxes on maps of 38, 19, 10, 5, 3 and 1 cells; 26,285,486 parameters for 20 classes."""
    return vgg_ssd(classes, options, (STRIDED, VALID, VALID), rng)


@dataclass(frozen=True)
class VGG512Options(VGGOptions):
    """SSD512: one more map."""

    short_side: int = 512  # pixels of each side of the square
    sizes: tuple[float, ...] = (0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05)  # s_k of each map, and one more
    ratios: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))  # aspect ratios a map


@register(
    "ssd512", "detection", RECIPE, options=VGG512Options, tiny=Tiny(TINY, scenes=1, size=(32, 32)), **SYSTEM,
)  # fmt: skip
def ssd512(classes, options: VGG512Options, rng) -> SSD:
    """SSD512: 24,564 default boxes on maps of 64, 32, 16, 8, 4, 2 and 1 cells."""
    return vgg_ssd(classes, options, (STRIDED, STRIDED, STRIDED, (4, 1, 1)), rng)


@dataclass(frozen=True)
class SmallOptions(Options):
    """For images of about 160 pixels, trained from random weights on a CPU within minutes."""

    short_side: int = 160  # pixels of each side of the square
    sizes: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)  # s_k of each map, of the side; and one more
    ratios: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,))  # aspect ratios a map, also upright
    width: int = 12  # channels of the first convolution


@register(
    "ssd_small", "detection", {"epochs": 30, "batch_size": 8, "lr": 0.01, "patches": 1.0, "expand": 2.0},
    options=SmallOptions, tiny=Tiny(TINY | {"width": 2}, size=(32, 32)), **SYSTEM,
    figures="AP50 0.872, COCO AP 0.493 on 72 photographs of blood cells",
)  # fmt: skip
def ssd_small(classes, options: SmallOptions, rng) -> SSD:
    """SSD on a narrow VGG with batch normalisation: maps at strides of 4, 8, 16, 32 and 64 pixels."""
    w, batch_norm = options.width, {"batch_norm": True, "rng": rng}
    backbone = VGG((w, w, POOL, 2 * w, 2 * w, POOL, 4 * w, 4 * w, POOL, 8 * w, 8 * w), **batch_norm)
    freeze_cancelled(backbone.body)
    extras = [next_map(8 * w, 8 * w, **batch_norm) for _ in range(3)]
    return SSD(classes, backbone, ("conv3", "conv4"), extras, [8 * w] * 3, options, rng=rng)
