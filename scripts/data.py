"""The arguments that choose a data set and its augmentation, and the data sets and loaders made from them."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from datasets import (
    FewOfEach,
    Loader,
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
from scripts import layouts
from scripts.command_line import (
    Group,
    Parser,
    count,
    count_or_none,
    fraction,
    model_option,
    not_negative,
    number,
    positive,
)
from scripts.readers import READERS, readers_of
from scripts.readers.navigation import mazes_help
from scripts.readers.segmentation import BACKGROUND
from scripts.samplers import sampler_of
from vision import Model, Preprocess, Task
from vision.proposals import WithProposals, build_proposer
from vision.proposals.method import named
from vision.registry import find
from vision.segmentation.objects import components

COLOURS = 500  # training images whose colours --colour-pca counts, at most

DEFAULTS = {  # for entries that a model's recipe does not have
    "data": "shapes",
    "root": None,
    "classes": None,
    "shapes_train": 1000,
    "shapes_val": 200,
    "shapes_size": [120, 160],
    "images_per_class": None,
    "mazes": [],
    "flip_horizontal": 0.5,
    "flip_vertical": 0.0,
    "zoom": [1.0, 1.0],
    "affine": 0.0,
    "elastic": 0.0,
    "shift": 0,
    "crop": None,
    "resized_crop": None,
    "crop_objects": "none",
    "expand": 1.0,
    "patches": 0.0,
    "jitter": 0.2,
    "colour_pca": 0.0,
    "exposure": 1.0,
}


def add_data_arguments(parser: Parser, defaults: dict, description: str | None = None) -> Group:
    """The arguments of the data; returns the group, for the script to add its splits."""
    group = Group(parser, "data", defaults, description)
    names = sorted({name for readers in READERS.values() for name in readers})
    group.add("--data", str, "NAME", f"kind of data set: {', '.join(names)}")
    folders = "voc: with JPEGImages; coco: with JSON files and images; yolo: with images, labels and data.yaml; "
    folders += "class_folders: with one folder per class; folders: with images, labels and classes.txt; camvid: with "
    folders += "train.txt; cifar10: with labels.json; mnist: with its four files; nuclei, pets: with index.csv; "
    folders += "text: with .txt files; mazes: a map of # and . in a text file"
    text = f"folder of the data set ({folders}, or a file)"
    group.add("--root", str, "DIR", text)
    text = "class names in the order of their labels (default: those that occur in the training split)"
    group.add("--classes", str, "NAME", text, nargs="+")
    group.add("--shapes-train", count, "N", "scenes to generate for training")
    group.add("--shapes-val", count, "N", "scenes to generate for validation")
    group.add("--shapes-size", number(32, whole=True), ("HEIGHT", "WIDTH"), "size of the scenes", nargs=2)
    group.add("--mazes", model_option, "NAME=VALUE", f"of mazes to walk in, with defaults: {mazes_help()}", nargs="+")
    return group


def add_augmentation_arguments(parser: Parser, defaults: dict):
    """Random changes to training images."""
    group = Group(parser, "augmentation (of training images)", defaults)
    text = "train on so many images of each class, drawn by the seed (classification; default: on all)"
    group.add("--images-per-class", count, "N", text)
    group.add("--flip-horizontal", fraction, "P", "probability of mirroring left and right")
    group.add("--flip-vertical", fraction, "P", "probability of mirroring top and bottom")
    group.add("--zoom", positive, ("LOW", "HIGH"), "range of random zoom; 1 1: none", nargs=2)
    text = "turn, shear, scale and move images (with a label each), as for Koch's Siamese twins at 1; 0: not"
    group.add("--affine", not_negative, "X", text)
    text = "deform images (with pixel labels): standard deviation of the displacements, in pixels; 0: none"
    group.add("--elastic", not_negative, "PIXELS", text)
    group.add("--shift", count_or_none, "PIXELS", "move images by up to so many pixels; 0: not")
    group.add("--crop", count, ("HEIGHT", "WIDTH"), "train on random parts of this size (default: none)", nargs=2)
    text = "train on random parts, of this share of the area, scaled to squares of short_side (default: none)"
    group.add("--resized-crop", fraction, ("LOW", "HIGH"), text, nargs=2)
    text = "train on single objects (with pixel labels), as in DeconvNet's first stage, or its second"
    group.add("--crop-objects", str, None, text, choices=["none", "objects", "proposals"])
    text = "half of the images go on a larger canvas, up to so many times their sides, as in SSD; 1: none"
    group.add("--expand", number(1), "FACTOR", text)
    group.add("--patches", fraction, "P", "probability of taking a random part with an object, as in SSD")
    group.add("--jitter", fraction, "X", "largest relative change of brightness, contrast and saturation")
    text = "colours change along the principal components of the training images' by this deviation; 0: not"
    group.add("--colour-pca", not_negative, "X", text)
    text = "saturation and value of the colours times or divided by up to this, as in YOLO; 1: not"
    group.add("--exposure", number(1), "FACTOR", text)


def open_data(task: str, arguments: Namespace, split: str, classes: Sequence[str] | None = None):
    """The data set that the arguments name, for models of this task; its problems are reported on stderr."""
    readers = readers_of(task)
    if arguments.data not in readers:
        wanted = f"--data must be one of {', '.join(readers)} for this model, got {arguments.data!r}"
        raise ValueError(f"{wanted}{layouts.nearest(task, arguments.data)}")
    try:
        dataset = readers[arguments.data].open(arguments, split, classes)
    except ValueError as error:
        hint = layouts.meant(arguments, readers) if arguments.root and "did you mean" not in str(error) else ""
        if not hint:
            raise
        raise ValueError(f"{error}{hint}") from error
    problems = getattr(dataset, "problems", [])
    for problem in problems[:5]:
        print(f"note: {problem}", file=sys.stderr)
    if len(problems) > 5:
        print(f"note: and {len(problems) - 5} more like these", file=sys.stderr)
    return dataset


def with_proposals(model: Model, dataset, folder: Path):
    """The data set with the proposals of each image, kept in files in the folder, for a detector that wants them."""
    if not getattr(model, "proposals", None):
        return dataset
    name, options = named(model.proposals)
    return WithProposals(dataset, build_proposer(name, folder, **options))


def open_training_data(task: str, arguments: Namespace, classes: Sequence[str] | None = None):
    """The data set of the training split; with --images-per-class so many of each class, drawn by --seed."""
    dataset, few = open_data(task, arguments, arguments.train_split, classes), vars(arguments).get("images_per_class")
    if few and task != "classification":
        raise ValueError("--images-per-class is for models of the task classification, which know an image's class")
    return FewOfEach(dataset, few, arguments.seed) if few else dataset


def training_loader(model: Model, task: Task, dataset, arguments: Namespace, share: tuple[int, int] = (0, 1)) -> Loader:
    """Batches for model.loss; images are resized as the model's `preprocess` says, and augmented. share: see Loader.

    Raises ValueError where the data set holds no object that counts.
    """
    if task.experience:
        return task.experience(model, dataset, arguments.batch_size, arguments.seed)
    counts = getattr(dataset, "counts", None)
    if counts is not None and not any(counts.values()):
        raise ValueError("the training split holds no object that counts (see the notes above): nothing to learn from")
    if task.input == "image" and arguments.crop_objects != "none":
        _check_objects(model, dataset)
    return Loader(
        task.in_order(model, dataset, arguments.batch_size) if task.in_order else dataset,
        arguments.batch_size,
        partial(task.collate, model),
        transform=_transform(model, dataset, arguments) if task.input == "image" else None,
        shuffle=not task.in_order,
        sampler=sampler_of(model, dataset, arguments),
        seed=arguments.seed,
        workers=arguments.workers,
        processes=vars(arguments).get("worker_processes", False),
        parts=vars(arguments).get("accumulate", 1),
        share=share,
    )


def validation_loader(model: Model, task: Task, dataset, arguments: Namespace) -> Loader:
    """Batches for model.loss of unseen data: images are resized as the model's `preprocess` says, and nothing else."""
    pictures = task.input == "image"
    batch_size = min(arguments.batch_size, max(1, len(dataset) - 1))  # a text has a target less than characters
    return Loader(
        task.in_order(model, dataset, batch_size) if task.in_order else dataset,
        batch_size,
        partial(task.collate, model),
        transform=compose(drop_difficult, partial(resize_to, size=model.preprocess.size)) if pictures else None,
        shuffle=not task.in_order,
        sampler=sampler_of(model, dataset, arguments),
        seed=arguments.seed,
        workers=arguments.workers,
    )


def _check_objects(model, dataset):
    """ValueError for --crop-objects where pixels have no labels, or the first class is not the background."""
    if find(model.name).task != "segmentation":
        raise ValueError("--crop-objects needs labels of pixels: only models for segmentation use it")
    if dataset.classes[0] != BACKGROUND:
        raise ValueError(f"--crop-objects needs data whose first class is {BACKGROUND!r}, got {dataset.classes[0]!r}")


def _transform(model, dataset, arguments):
    """training_transform, and colours by the components of the training images."""
    order = getattr(dataset, "horizontal_order", None) or None
    transform = training_transform(model.preprocess, arguments, order)
    if not arguments.colour_pca:
        return transform
    some = np.linspace(0, len(dataset) - 1, min(len(dataset), COLOURS)).astype(int)
    components = colour_components([dataset[index]["image"] for index in some.tolist()])
    return compose(transform, partial(colour_pca, components=components, std=arguments.colour_pca))


def training_transform(
    preprocess: Preprocess, arguments: Namespace, order: Sequence[int] | None = None
) -> Callable[[dict, object], dict]:
    """Resizing as `preprocess` says, and the augmentation of the arguments. order: of key points that are mirrored."""
    (low, high), x = arguments.zoom, arguments.jitter
    if low > high:
        raise ValueError(f"--zoom LOW HIGH: LOW must not be above HIGH, got {low:g} {high:g}")
    steps = [drop_difficult]
    if arguments.expand > 1:
        steps.append(partial(expand, largest=arguments.expand))
    if arguments.patches:
        steps.append(partial(sample_patch, probability=arguments.patches))
    if arguments.affine:  # in the picture's own size; the mean colour, which is 0 to the network, comes in
        fill = tuple(int(value + 0.5) for value in np.broadcast_to(preprocess.mean, 3))
        steps.append(partial(affine_distortion, strength=arguments.affine, fill=fill))
    steps.append(partial(resize_to, size=preprocess.size))
    if arguments.crop_objects != "none":  # crop the picture in its own size, then scale the crop
        size = (preprocess.short_side,) * 2
        steps = [partial(object_crop, kind=arguments.crop_objects, size=size, components=components)]
    if arguments.resized_crop:
        size = (preprocess.short_side,) * 2
        steps = [drop_difficult, partial(random_resized_crop, size=size, area=arguments.resized_crop)]
    if (low, high) != (1, 1):
        steps.append(partial(random_scale, low=low, high=high))
    if arguments.elastic:
        steps.append(partial(elastic_deformation, sigma=arguments.elastic))
    if arguments.shift:
        steps.append(partial(random_shift, pixels=arguments.shift))
    if arguments.crop:
        steps.append(partial(random_crop, size=arguments.crop))
    steps.append(partial(horizontal_flip, probability=arguments.flip_horizontal, keypoint_order=order))
    steps.append(partial(vertical_flip, probability=arguments.flip_vertical))
    if x:
        steps.append(partial(colour_jitter, brightness=x, contrast=x, saturation=x))
    if arguments.exposure > 1:
        steps.append(partial(exposure_jitter, factor=arguments.exposure))
    return compose(*steps)
