"""The U-Nets that are registered: as published, and a narrow one for CPUs."""

import math

import numpy as np

from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.overlap_tile import OverlapTile
from vision.segmentation.pixel_classifier import OPTIONS, PixelClassifier
from vision.segmentation.unet import UNet

NETWORK = ("width", "depth", "padding", "batch_norm", "dropout")
BORDERS = {"border_weights": (10, 5)}  # w0 and sigma, sec. 3

# Sec. 3: one image a step, momentum 0.99, elastic deformation. The rate is ours, as the loss is a mean, not a sum.
RECIPE = {
    "data": "nuclei", "epochs": 40, "batch_size": 1, "lr": 0.001, "momentum": 0.99, "weight_decay": 0.0,
    "schedule": "polynomial", "elastic": 10.0, "flip_vertical": 0.5,
}  # fmt: skip
SMALL = {
    "epochs": 12, "batch_size": 8, "optimiser": "adam", "lr": 0.002, "weight_decay": 0.0, "schedule": "polynomial",
    "warm_up": 20, "shapes_train": 1000, "shapes_size": [64, 80], "flip_vertical": 0.5,
}  # fmt: skip


@register("unet", "segmentation", recipe=RECIPE)
def unet(classes, rng, **options) -> PixelClassifier:
    """U-Net as published, of colour images: valid convolutions of mirrored images, overlapping tiles of large ones."""
    own = {"width": 64, "depth": 4, "padding": "valid", "batch_norm": False, "dropout": 0.5, "tile": 388}
    sizes = {"short_side": 256, "max_side": 512}
    return _unet(classes, rng, complete("unet", options, **OPTIONS | BORDERS | own | sizes))


@register("unet_small", "segmentation", recipe=SMALL)
def unet_small(classes, rng, **options) -> PixelClassifier:
    """A narrow U-Net with batch normalisation and convolutions that keep the size, for CPUs."""
    own = {"width": 8, "depth": 3, "padding": "same", "batch_norm": True, "dropout": 0.0, "tile": 388}
    sizes = {"short_side": 64, "max_side": 80}
    return _unet(classes, rng, complete("unet_small", options, **OPTIONS | BORDERS | own | sizes))


def _unet(classes, rng: np.random.Generator, options: dict) -> PixelClassifier:
    """With complete options. Sizes of a net that keeps them are padded to what its poolings halve."""
    network = UNet(3, len(classes), rng=rng, **{name: options[name] for name in NETWORK})
    if options["padding"] == "valid":
        network = OverlapTile(network, options["tile"])
    else:
        options = options | {"multiple": math.lcm(options["multiple"], 2 ** options["depth"])}
    return PixelClassifier(network, classes, options)
