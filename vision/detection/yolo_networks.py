"""The networks of YOLO: the paper's, the fast one, and a small one that learns on a CPU.

Reference: Redmon et al. 2016, You only look once: unified, real-time object detection, arXiv:1506.02640 (v5).
"""

from dataclasses import dataclass

import numpy as np

from nn import Conv2d, Dropout, Flatten, LeakyReLU, Linear, Sequential
from vision.backbones.darknet import SLOPE, Darknet, leaky_conv, narrow_plan, yolo_plan
from vision.detection.yolo import YOLO, Options
from vision.registry import Tiny, register

SYSTEM = {"system": "YOLO", "paper": "Redmon et al. 2016, arXiv:1506.02640"}
# Sec. 2.2: 135 epochs in batches of 64; the rate rises from 0.001 to 0.01, which holds for 75 epochs, then 0.001 and
# 0.0001 for 30 each. Scale and translation change by up to 20 % (of 448 pixels), exposure and saturation by 1.5. The
# gradient is that of eq. 3; darknet's is half of it.
RECIPE = {
    "epochs": 135, "batch_size": 64, "lr": 0.01, "milestones": [0.556, 0.778], "warm_up": 1000, "clip_norm": 0.0,
    "zoom": [0.8, 1.2], "shift": 90, "jitter": 0.0, "exposure": 1.5,
}  # fmt: skip


@dataclass(frozen=True)
class FullOptions(Options):
    """The paper's."""

    width: int = 64  # channels of the first convolution, the others in proportion
    hidden: int = 4096  # units of the fully connected layer
    dropout: float = 0.5  # share of hidden units dropped in training


@dataclass(frozen=True)
class FastOptions(FullOptions):
    """The fast network's."""

    width: int = 16  # channels of the first convolution, the others in proportion


def connected(in_features, units, *, rng) -> tuple[Linear, LeakyReLU]:
    """A fully connected layer and its leaky ReLU."""
    return Linear(in_features, units, rng=rng), LeakyReLU(SLOPE)


def values_of_all_cells(classes, options: FullOptions, *, rng) -> tuple[Dropout, Linear]:
    """The last layer, linear: S * S * (5 B + C) values from the hidden units."""
    values = options.grid**2 * (5 * options.boxes + len(classes))
    return Dropout(options.dropout, rng=rng.spawn(1)[0]), Linear(options.hidden, values, rng=rng)


@register(
    "yolo", "detection", RECIPE, options=FullOptions,
    tiny=Tiny({"short_side": 64, "width": 1, "hidden": 5, "grid": 2, "dropout": 0.0}, size=(64, 64)), **SYSTEM,
)  # fmt: skip
def yolo(classes, options: FullOptions, rng: np.random.Generator) -> YOLO:
    """24 convolutions, of which darknet20 pretrains the first 20 on images of half the side, and 2 connected layers."""
    w = options.width
    backbone = Darknet(yolo_plan(w), rng=rng)
    convolutions = [layer for stride in (1, 2, 1, 1) for layer in leaky_conv(16 * w, 16 * w, 3, stride, rng=rng)]
    cells = -(-options.short_side // 64)
    head = Sequential(
        *convolutions, Flatten(), *connected(16 * w * cells**2, options.hidden, rng=rng),
        *values_of_all_cells(classes, options, rng=rng),
    )  # fmt: skip
    return YOLO(classes, backbone, head, options)


@register(
    "yolo_fast", "detection", RECIPE, options=FastOptions,
    tiny=Tiny({"short_side": 64, "width": 1, "hidden": 5, "grid": 2, "dropout": 0.0}, size=(64, 64)), **SYSTEM,
)  # fmt: skip
def yolo_fast(classes, options: FastOptions, rng: np.random.Generator) -> YOLO:
    """Fast YOLO, 9 convolutions: six poolings halve the image to 7x7 cells, then three convolutions at that size."""
    w, cells = options.width, options.short_side // 64
    backbone = Darknet([*narrow_plan(w, 6), *[64 * w] * 3], rng=rng)
    head = Sequential(
        Flatten(), *connected(64 * w * cells**2, 16 * w, rng=rng), *connected(16 * w, options.hidden, rng=rng),
        *values_of_all_cells(classes, options, rng=rng),
    )  # fmt: skip
    return YOLO(classes, backbone, head, options)


@dataclass(frozen=True)
class SmallOptions(Options):
    """For images of about 224 pixels, trained from random weights on a CPU within minutes."""

    short_side: int = 224  # pixels of each side of the square: grid times a power of two
    width: int = 12  # channels of the first convolution


@register(
    "yolo_small", "detection",
    {
        "epochs": 60, "batch_size": 8, "optimiser": "adam", "lr": 0.002, "schedule": "cosine", "zoom": [0.8, 1.2],
        "shift": 22, "jitter": 0.0, "exposure": 1.5,
    },
    options=SmallOptions, tiny=Tiny({"short_side": 64, "width": 2, "grid": 2}, size=(64, 64)), **SYSTEM,
    figures="AP50 0.816 on 72 photographs of blood cells",
)  # fmt: skip
def yolo_small(classes, options: SmallOptions, rng: np.random.Generator) -> YOLO:
    """A convolution and a pooling for each halving of the image down to the grid, and three more convolutions.

    They have batch normalisation. The last one takes the place of the connected layers, which learn each cell by itself
    and must have seen objects of each class in each: hundreds of images have too few.
    """
    w, poolings, norm = options.width, (options.short_side // options.grid).bit_length() - 1, {"batch_norm": True}
    if poolings < 1 or options.short_side != options.grid * 2**poolings:
        got = f"short_side {options.short_side}, grid {options.grid}"
        raise ValueError(f"yolo_small: short_side must be grid times a power of two (the poolings), got {got}")
    backbone = Darknet([*narrow_plan(w, poolings), 2**poolings * w], **norm, rng=rng)
    c = backbone.out_channels
    last = Conv2d(c, 5 * options.boxes + len(classes), 1, rng=rng)
    return YOLO(classes, backbone, Sequential(*leaky_conv(c, c, **norm, rng=rng), last), options)
