"""Reader for CIFAR-10 kept lossless in large PNGs, as ConvNetJS (Karpathy 2014) distributes it.

    root/cifar10_batch_0.png   (images, 1024, 3): a row holds one 32x32 image, its own rows one behind the other
    root/labels.json           {"cifar10_batch_0": [6, 9, ...], ..., "classes": ["airplane", ...]}

Reference: Krizhevsky 2009, Learning multiple layers of features from tiny images.
"""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from .files import missing
from .headers import image_size
from .listing import Listed
from .pictures import read_image
from .text import read_json

BATCHES = {"train": ("cifar10_batch_0", "cifar10_batch_1"), "test": ("cifar10_batch_50",)}
SIDE = 32


class CIFAR10Lossless:
    """The first 2,000 training images or the first 1,000 test images, in the official order.

    Sample: image (32, 32, 3) uint8, label int, 0 for `classes[0]`; id str (batch and index).

    All images are read here. Raises ValueError for another split, and with the path at fault: a missing or damaged
    file, labels that do not belong to the images.
    """

    def __init__(self, root: str | PathLike, split: str = "train"):
        if split not in BATCHES:
            raise ValueError(f"CIFAR10Lossless: split must be one of {', '.join(BATCHES)}, got {split!r}")
        self.root, self.split = Path(root), split
        if not self.root.is_dir():
            raise missing(root, "folder", "give the one that holds labels.json")
        self.classes, labels = _read_labels(self.root / "labels.json", BATCHES[split])
        images = [_read_batch(self.root / f"{name}.png", len(labels[name])) for name in BATCHES[split]]
        self._images = np.concatenate(images)
        self._labels = [label for name in BATCHES[split] for label in labels[name]]
        self._ids = [f"{name}/{i}" for name in BATCHES[split] for i in range(len(labels[name]))]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict:
        return {"id": self._ids[index], "image": self._images[index].copy(), "label": self._labels[index]}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (Listed(name, (SIDE, SIDE)) for name in self._ids)


def _read_labels(path, batches):
    """(classes, {batch: [label, ...]}), checked."""
    content = read_json(path)
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"{path}: must hold a list of names under 'classes'")
    for batch in batches:
        labels = content.get(batch)
        if not isinstance(labels, list) or not all(type(k) is int and 0 <= k < len(classes) for k in labels):
            raise ValueError(f"{path}: must hold a list of labels in 0 .. {len(classes) - 1} under {batch!r}")
    return tuple(classes), content


def _read_batch(path, count):
    """(count, 32, 32, 3) uint8."""
    height, width = image_size(path)
    if (height, width) != (count, SIDE * SIDE):
        raise ValueError(
            f"{path}: must be {SIDE * SIDE} pixels wide and {count} high, one row for each label of labels.json; "
            f"is {width} wide and {height} high"
        )
    return read_image(path).reshape(count, SIDE, SIDE, 3)
