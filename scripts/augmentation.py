"""Random changes to training images: their arguments, and the transform that these make."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from datasets import (
    affine_distortion,
    colour_components,
    colour_jitter,
    colour_pca,
    compose,
    drop_difficult,
    elastic_deformation,
    exposure_jitter,
    horizontal_flip,
    random_crop,
    random_resized_crop,
    random_scale,
    random_shift,
    resize_to,
    vertical_flip,
)
from datasets.object_crops import object_crop
from datasets.patches import expand, sample_patch
from scripts.command_line import Group, Parser, count, count_or_none, fraction, not_negative, number, positive
from vision import Model, Preprocess
from vision.segmentation.objects import components
from vision.task import EvenSubset

COLOURS = 500  # training images whose colours --colour-pca counts, at most


def add_augmentation_arguments(parser: Parser, defaults: dict):
    """Random changes to training images."""
    group = Group(parser, "augmentation (of training images)", defaults)
    text = "train on this many images of each class, drawn by the seed (classification; default: all)"
    group.add("--images-per-class", count, "N", text)
    group.add("--flip-horizontal", fraction, "P", "probability of mirroring left and right")
    group.add("--flip-vertical", fraction, "P", "probability of mirroring top and bottom")
    group.add("--zoom", positive, ("LOW", "HIGH"), "range of random zoom; 1 1: none", nargs=2)
    text = "strength of random affine maps (of images with a label each); 1: as in Koch et al. 2015; 0: none"
    group.add("--affine", not_negative, "X", text)
    text = "elastic deformation (of images with pixel labels): standard deviation of the displacements; 0: none"
    group.add("--elastic", not_negative, "PIXELS", text)
    group.add("--shift", count_or_none, "PIXELS", "move images by up to this many pixels; 0: none")
    group.add("--crop", count, ("HEIGHT", "WIDTH"), "train on random parts of this size (default: none)", nargs=2)
    text = "train on random parts with this share of the area, resized to squares of short_side (default: none)"
    group.add("--resized-crop", fraction, ("LOW", "HIGH"), text, nargs=2)
    text = "train on single objects (of images with pixel labels), as in the first or second stage of DeconvNet"
    group.add("--crop-objects", str, None, text, choices=["none", "objects", "proposals"])
    text = "put half of the images on a larger canvas, with sides up to this many times theirs, as in SSD; 1: none"
    group.add("--expand", number(1), "FACTOR", text)
    group.add("--patches", fraction, "P", "probability of taking a random part with an object, as in SSD")
    group.add("--jitter", fraction, "X", "largest relative change of brightness, contrast and saturation")
    text = "shift colours along the principal components of the training images', by this standard deviation; 0: none"
    group.add("--colour-pca", not_negative, "X", text)
    text = "multiply or divide saturation and value of the colours by up to this factor, as in YOLO; 1: none"
    group.add("--exposure", number(1), "FACTOR", text)


def augmentation(model: Model, dataset, arguments: Namespace) -> Callable[[dict, object], dict]:
    """training_transform, and colours by the components of the training images."""
    order = getattr(dataset, "horizontal_order", None) or None
    transform = training_transform(model.preprocess, arguments, order)
    if not arguments.colour_pca:
        return transform
    components = colour_components([sample["image"] for sample in EvenSubset(dataset, COLOURS)])
    return compose(transform, partial(colour_pca, components=components, std=arguments.colour_pca))


def training_transform(
    preprocess: Preprocess, arguments: Namespace, order: Sequence[int] | None = None
) -> Callable[[dict, object], dict]:
    """Resizing as `preprocess` says, and the augmentation of the arguments. order: of key points that are mirrored."""
    low, high = arguments.zoom
    if low > high:
        raise ValueError(f"--zoom LOW HIGH: LOW must not be above HIGH, got {low:g} {high:g}")
    if arguments.resized_crop and arguments.crop_objects != "none":
        raise ValueError("--resized-crop and --crop-objects both say which part of an image is taken: give one")
    return partial(_augmented, preprocess=preprocess, arguments=arguments, order=order)


def _augmented(sample: dict, rng, preprocess: Preprocess, arguments: Namespace, order) -> dict:
    """What comes in at the borders is 0 to the network, as padding is: the mean colour, for per_image the image's."""
    sample = _lit(sample, rng, preprocess)
    mean = sample["light"][0] if preprocess.per_image else preprocess.mean
    fill = tuple(int(value + 0.5) for value in np.broadcast_to(np.clip(mean, 0, 255), 3))
    return compose(*_steps(preprocess, arguments, order, fill))(sample, rng)


def _steps(preprocess: Preprocess, arguments: Namespace, order, fill: tuple[int, int, int]) -> list[Callable]:
    """The changes, one after another."""
    (low, high), x, steps = arguments.zoom, arguments.jitter, [drop_difficult]
    if arguments.expand > 1:
        steps.append(partial(expand, largest=arguments.expand, fill=fill))
    if arguments.patches:
        steps.append(partial(sample_patch, probability=arguments.patches))
    if arguments.affine:  # in the picture's own size
        steps.append(partial(affine_distortion, strength=arguments.affine, fill=fill))
    size = (preprocess.short_side,) * 2
    if arguments.crop_objects != "none":  # crop the picture in its own size, then scale the crop
        steps.append(partial(object_crop, kind=arguments.crop_objects, size=size, components=components))
    elif arguments.resized_crop:
        steps.append(partial(random_resized_crop, size=size, area=arguments.resized_crop))
    else:
        steps.append(partial(resize_to, size=preprocess.size))
    if (low, high) != (1, 1):
        steps.append(partial(random_scale, low=low, high=high, fill=fill))
    if arguments.elastic:
        steps.append(partial(elastic_deformation, sigma=arguments.elastic, fill=fill))
    if arguments.shift:
        steps.append(partial(random_shift, pixels=arguments.shift, fill=fill))
    if arguments.crop:
        steps.append(partial(random_crop, size=arguments.crop, fill=fill))
    steps.append(partial(horizontal_flip, probability=arguments.flip_horizontal, keypoint_order=order))
    steps.append(partial(vertical_flip, probability=arguments.flip_vertical))
    if x:
        steps.append(partial(colour_jitter, brightness=x, contrast=x, saturation=x))
    if arguments.exposure > 1:
        steps.append(partial(exposure_jitter, factor=arguments.exposure))
    return steps


def prepared(preprocess: Preprocess) -> Callable[[dict, object], dict]:
    """Images as `preprocess` says, in their light and size, and nothing else."""
    return compose(drop_difficult, partial(_lit, preprocess=preprocess), partial(resize_to, size=preprocess.size))


def _lit(sample: dict, rng, preprocess: Preprocess) -> dict:
    """The light of a whole image is evened out and measured before any part of it is cut."""
    image = preprocess.lit(sample["image"])
    return sample | {"image": image} | ({"light": preprocess.light(image)} if preprocess.per_image else {})
