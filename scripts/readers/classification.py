"""Data for classifiers: samples with a label."""

from collections.abc import Iterator
from functools import partial

from datasets import (
    MNIST,
    CIFAR10Lossless,
    ClassFolders,
    ClassShards,
    DistortedMNIST,
    PetBreeds,
    Shapes,
    TranslatedMNIST,
)
from datasets.listing import Listed
from datasets.mnist_distorted import KINDS
from scripts.readers.given import absent
from scripts.readers.shapes import SPLITS, open_shapes

CLUTTER, COPIES = 4, 10  # patches on a cluttered digit; positions of each training digit in an epoch
WAYS = 2  # in which each training digit is distorted in an epoch
SEEN_ONCE = ("train:held_out", "test")  # splits whose digits have one position, one distortion


class LargestShape:
    """Generated scenes, each with the class of its largest object: label int, 0 for `classes[0]`."""

    def __init__(self, shapes: Shapes):
        self.shapes, self.classes = shapes, shapes.classes

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> dict:
        sample = self.shapes[index]
        return {"id": sample["id"], "image": sample["image"], "label": sample["label"] - 1}  # there 0 is background

    def listing(self) -> Iterator[Listed]:
        """Those of the scenes."""
        return self.shapes.listing()


def open_largest_shape(arguments, split: str, classes=None) -> LargestShape:
    """Generated scenes, classified by their largest object."""
    return LargestShape(open_shapes(arguments, split, classes))


def open_cifar10(arguments, split: str, classes=None) -> CIFAR10Lossless:
    """A folder of CIFAR-10 in lossless PNGs."""
    if not arguments.root:
        raise ValueError("--data cifar10 needs --root DIR: the folder that holds labels.json")
    data = CIFAR10Lossless(arguments.root, split)
    if classes and tuple(classes) != data.classes:
        raise ValueError(f"--data cifar10 has the classes {' '.join(data.classes)}; got {' '.join(classes)}")
    return data


def open_mnist(arguments, split: str, classes=None) -> MNIST:
    """A folder of MNIST's own files."""
    if not arguments.root:
        raise ValueError(
            f"--data {arguments.data} needs --root DIR: the folder that holds train-images-idx3-ubyte(.gz)"
        )
    data = MNIST(arguments.root, split)
    if classes and tuple(classes) != data.classes:
        raise ValueError(f"--data {arguments.data} has the classes {' '.join(data.classes)}; got {' '.join(classes)}")
    return data


def open_translated_mnist(arguments, split: str, classes=None, clutter: int = 0) -> TranslatedMNIST:
    """MNIST's digits at random positions in 60x60; each training digit at COPIES positions, others at one."""
    digits = open_mnist(arguments, split, classes)
    seed, copies = (2, 1) if split in SEEN_ONCE else (1, COPIES)
    return TranslatedMNIST(digits, clutter=clutter, seed=seed, copies=copies)


def open_distorted_mnist(arguments, split: str, classes=None, kind: str = "RTS") -> DistortedMNIST:
    """MNIST's digits, distorted; each training digit in WAYS ways, others in one."""
    digits = open_mnist(arguments, split, classes)
    seed, copies = (2, 1) if split in SEEN_ONCE else (1, WAYS)
    return DistortedMNIST(digits, kind, seed, copies)


def open_class_folders(arguments, split: str, classes=None) -> ClassFolders:
    """Pictures in folders named for their class: root/train/CLASS, or root/CLASS, of which a fifth is "val"."""
    if not arguments.root:
        raise ValueError(
            "--data class_folders needs --root DIR: the folder that holds train and val, or a folder a class"
        )
    return ClassFolders(arguments.root, split, classes, absent=absent(arguments, classes))


def open_shards(arguments, split: str, classes=None) -> ClassShards:
    """Pictures and their labels in tar files: root/train-000000.tar and so on, or root/train/*.tar."""
    if not arguments.root:
        raise ValueError("--data shards needs --root DIR: the folder that holds train-000000.tar and so on")
    return ClassShards(arguments.root, split, classes, absent=absent(arguments, classes))


def open_pets(arguments, split: str, classes=None) -> PetBreeds:
    """A folder of pets, classified by their breed."""
    if not arguments.root:
        raise ValueError("--data pets needs --root DIR: the folder that holds images and index.csv")
    return PetBreeds(arguments.root, split, classes)


TRAIN_TEST = ("train", "test")
READERS = {
    "shapes": (open_largest_shape, SPLITS),
    "class_folders": (open_class_folders, ("train", "val")),
    "shards": (open_shards, ("train", "val")),
    "pets": (open_pets, SPLITS),
    "cifar10": (open_cifar10, TRAIN_TEST),
    "mnist": (open_mnist, TRAIN_TEST),
    **{f"mnist_{kind.lower()}": (partial(open_distorted_mnist, kind=kind), TRAIN_TEST) for kind in KINDS},
    "mnist_translated": (open_translated_mnist, TRAIN_TEST),
    "mnist_cluttered": (partial(open_translated_mnist, clutter=CLUTTER), TRAIN_TEST),
}
