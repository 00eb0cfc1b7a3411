"""Data for embedders: labelled pictures, which may come with known neighbours, a gallery, or one-shot runs."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from datasets import MNIST, ClassFolders, Shapes
from datasets.listing import Listed
from datasets.mnist import rgb
from datasets.mnist_forms import ShiftedDigits, TurnedDigit
from datasets.omniglot import Omniglot, OmniglotRuns, OneShotTrials
from datasets.shapes_paint import COLOURS
from scripts.readers.classification import open_shards
from scripts.readers.shapes import SPLITS, open_shapes

HELD = 12  # one of so many of MNIST's training images, the last 5,000, is "val"
FEW, FORMED = 3000, 1000  # digits of a class: in the paper's map of 4 and 9; in several forms


class OneShape:
    """Generated scenes of one object, labelled by its `field`: kinds or colours. A scene is drawn once and kept."""

    def __init__(self, shapes: Shapes, field: str):
        self.shapes = Shapes(len(shapes), shapes.size, shapes.seed, classes=shapes.classes, max_objects=1)
        self.classes, scenes = shapes.classes if field == "kinds" else tuple(COLOURS), list(self.shapes)
        names = [str(scene[field][0]) for scene in scenes]
        self.labels = np.array([self.classes.index(name) for name in names])
        self.samples = [{"id": s["id"], "image": s["image"], "label": int(k)} for s, k in zip(scenes, self.labels)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        return dict(self.samples[index])

    def listing(self) -> Iterator[Listed]:
        """The id and size of each scene."""
        return self.shapes.listing()


class Digits:
    """MNIST digits of some classes. Splits: "train" and "val", 55,000 and 5,000 of the training images, "test".

    gallery of "test": the 60,000 training images, of these classes. most: digits of a class at most.
    """

    def __init__(self, root: str, split: str, classes=None, most: int | None = None):
        if split not in ("train", "val", "trainval", "test"):
            raise ValueError(f"--data mnist has the splits train, val, trainval and test; there is no {split!r}")
        data = MNIST(root, "test" if split == "test" else "train")
        self.classes = tuple(classes or MNIST.classes)
        if unknown := [name for name in self.classes if name not in MNIST.classes]:
            raise ValueError(f"--classes: MNIST has the digits {' '.join(MNIST.classes)}, got {unknown[0]!r}")
        held = len(data) // HELD
        parts = {"train": slice(None, -held), "val": slice(-held, None)}
        inside = np.arange(len(data))[parts.get(split, slice(None))]
        wanted = [np.flatnonzero(data.labels[inside] == int(name))[:most] for name in self.classes]
        chosen = inside[np.sort(np.concatenate(wanted))]
        self.split, self.indices, self.digits = split, chosen, data.digits[chosen]
        self.labels = np.array([self.classes.index(str(label)) for label in data.labels[chosen]])
        self.gallery = Digits(root, "trainval", classes) if split == "test" and most is None else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        id_ = f"{self.split}/{self.indices[index]}"
        return {"id": id_, "image": rgb(self.digits[index]), "label": int(self.labels[index])}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (Listed(f"{self.split}/{index}", self.digits.shape[1:]) for index in self.indices)


def open_shapes_by(arguments, split: str, classes=None, field: str = "kinds") -> OneShape:
    """Generated scenes of one object."""
    return OneShape(open_shapes(arguments, split), field)


def open_mnist(arguments, split: str, classes=None, most: int | None = None) -> Digits:
    """A folder of MNIST's own files; --classes 4 9 takes these digits alone."""
    return Digits(_root(arguments, "train-images-idx3-ubyte(.gz)"), split, arguments.classes, most)


def open_shifted(arguments, split: str, classes=None) -> ShiftedDigits:
    """1,000 of each digit at five shifts each."""
    digits = open_mnist(arguments, split, most=FORMED)
    return ShiftedDigits(digits.digits, digits.labels, digits.classes)


def open_turned(arguments, split: str, classes=None) -> TurnedDigit:
    """972 views of one digit, the first 4 of the training images (or the first of --classes)."""
    root = _root(arguments, "train-images-idx3-ubyte(.gz)")
    name = arguments.classes[0] if arguments.classes and len(arguments.classes) == 1 else "4"
    return TurnedDigit(Digits(root, "train", [name], 1).digits[0], split)


def open_class_folders(arguments, split: str, classes=None) -> ClassFolders:
    """Pictures in folders named for their class; another split may have other classes."""
    data = ClassFolders(_root(arguments, "train and val, or a folder a class"), split, arguments.classes)
    data.labels = np.array([label for _, _, label in data.items])
    return data


def open_omniglot(arguments, split: str, classes=None, rotations: bool = False):
    """A folder of Omniglot's archives. Splits: train, trainval; val, test: one-shot trials; runs: the published."""
    root = _root(arguments, "images_background*.zip and all_runs.zip")
    if split == "runs":
        return OmniglotRuns(root)
    characters = Omniglot(root, split, rotations and split in ("train", "trainval"))
    return characters if split in ("train", "trainval") else OneShotTrials(characters)


def _root(arguments, held: str) -> str:
    if not arguments.root:
        raise ValueError(f"--data {arguments.data} needs --root DIR: the folder that holds {held}")
    return arguments.root


TRAIN_VAL = ("train", "val")
READERS = {
    "shapes": (open_shapes_by, SPLITS),
    "shapes_colours": (partial(open_shapes_by, field="colours"), SPLITS),
    "class_folders": (open_class_folders, TRAIN_VAL),
    "shards": (open_shards, TRAIN_VAL),
    "mnist": (open_mnist, TRAIN_VAL),
    "mnist_few": (partial(open_mnist, most=FEW), TRAIN_VAL),
    "mnist_shifted": (open_shifted, TRAIN_VAL),
    "mnist_turned": (open_turned, ("train", "test")),
    "omniglot": (open_omniglot, TRAIN_VAL),
    "omniglot_rotations": (partial(open_omniglot, rotations=True), TRAIN_VAL),
}
