"""The arguments that choose a data set and its augmentation, and the data sets and loaders made from them."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from datasets import (
    FewOfEach,
    Loader,
)
from scripts import layouts
from scripts.augmentation import augmentation, prepared
from scripts.command_line import (
    Group,
    Parser,
    count,
    model_option,
    number,
)
from scripts.readers import READERS, readers_of
from scripts.readers.navigation import mazes_help
from scripts.readers.segmentation import BACKGROUND
from scripts.samplers import sampler_of
from vision import Model, Task
from vision.proposals import WithProposals, build_proposer
from vision.proposals.method import named
from vision.registry import find

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
    folders += "shards: with train-000000.tar and so on; "
    folders += "text: with .txt files; mazes: a map of # and . in a text file"
    text = f"folder of the data set ({folders}, or a file)"
    group.add("--root", str, "DIR", text)
    text = "class names in the order of their labels (default: those that occur in the training split)"
    group.add("--classes", str, "NAME", text, nargs="+")
    group.add("--shapes-train", count, "N", "scenes to generate for training")
    group.add("--shapes-val", count, "N", "scenes to generate for validation")
    group.add("--shapes-size", number(32, whole=True), ("HEIGHT", "WIDTH"), "size of the scenes", nargs=2)
    group.add("--mazes", model_option, "NAME=VALUE", f"options of the mazes, with defaults: {mazes_help()}", nargs="+")
    return group


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
        transform=augmentation(model, dataset, arguments) if task.input == "image" else None,
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
        transform=prepared(model.preprocess) if pictures else None,
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
