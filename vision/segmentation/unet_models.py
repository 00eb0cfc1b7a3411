"""The U-Nets that are registered: as published, and a narrow one for CPUs."""

import math

import numpy as np

from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.objects import components
from vision.segmentation.overlap_tile import OverlapTile
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS, PixelClassifier
from vision.segmentation.unet import UNet

NETWORK = ("width", "depth", "padding", "batch_norm", "dropout")
OF_OBJECTS = {"border_weights": (10, 5), "smallest_object": 0}  # w0 and sigma, sec. 3


class ObjectClassifier(PixelClassifier):
    """A PixelClassifier that can leave out specks, which the paper does not.

    Option smallest_object: connected parts of what is not the first class that have fewer pixels of the picture become
    the first class. Raises ValueError for a negative one.
    """

    def __init__(self, network, classes=(), options: dict | None = None):
        super().__init__(network, classes, options)
        if (smallest := self.hyperparameters["smallest_object"]) < 0:
            raise ValueError(f"ObjectClassifier: smallest_object must be at least 0 pixels, got {smallest}")

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W), in specks 0 for all classes but the first one."""
        if not (smallest := self.hyperparameters["smallest_object"]):
            return probabilities
        labels = components(probabilities.argmax(axis=0) > 0)
        small = np.bincount(labels.ravel()) < smallest
        small[0] = False
        refined = probabilities.copy()
        refined[1:, small[labels]] = 0
        return refined


# Sec. 3: one image a step, momentum 0.99, elastic deformation. The rate is ours, as the loss is a mean, not a sum.
RECIPE = {
    "data": "nuclei", "epochs": 40, "batch_size": 1, "lr": 0.001, "momentum": 0.99, "weight_decay": 0.0,
    "schedule": "polynomial", "elastic": 10.0, "flip_vertical": 0.5,
}  # fmt: skip
SMALL = ON_SHAPES | {"batch_size": 8, "lr": 0.002}


@register("unet", "segmentation", recipe=RECIPE)
def unet(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """U-Net as published, of colour images: valid convolutions of mirrored images, overlapping tiles of large ones."""
    own = {"width": 64, "depth": 4, "padding": "valid", "batch_norm": False, "dropout": 0.5, "tile": 388}
    sizes = {"short_side": 256, "max_side": 512}
    return _unet(classes, rng, complete("unet", options, **OPTIONS | OF_OBJECTS | own | sizes))


@register("unet_small", "segmentation", recipe=SMALL)
def unet_small(classes, rng: np.random.Generator, **options) -> PixelClassifier:
    """A narrow U-Net with batch normalisation and convolutions that keep the size, for CPUs."""
    own = {"width": 8, "depth": 3, "padding": "same", "batch_norm": True, "dropout": 0.0, "tile": 388}
    sizes = {"short_side": 64, "max_side": 80}
    return _unet(classes, rng, complete("unet_small", options, **OPTIONS | OF_OBJECTS | own | sizes))


def _unet(classes, rng: np.random.Generator, options: dict) -> PixelClassifier:
    """With complete options. Sizes of a net that keeps them are padded to what its poolings halve."""
    network = UNet(3, len(classes), rng=rng, **{name: options[name] for name in NETWORK})
    if options["padding"] == "valid":
        network = OverlapTile(network, options["tile"])
    else:
        options = options | {"multiple": math.lcm(options["multiple"], 2 ** options["depth"])}
    return ObjectClassifier(network, classes, options)
