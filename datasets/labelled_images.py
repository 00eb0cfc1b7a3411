"""Photographs with a label for every pixel: what all readers of such data share, and the check of all files at once."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .classes import alike
from .header_index import HeaderIndex
from .headers import Header, notes_on, turned_hint
from .label_maps import LabelMap, numbered
from .listing import Listed
from .lists import Line, find_all, not_held
from .palette import read_label_picture, read_values
from .pictures import BAND, none_left, pictures, read_image
from .row_index import RowIndex

LEAST = 500  # label pictures; fewer are decoded in a few seconds, and their folder stays as it is


class Pair(NamedTuple):
    """A photograph and its label picture."""

    name: str
    image: Path
    labels: Path


class LabelledImages:
    """Photographs with label pictures. Sample: image (H, W, 3) uint8, segmentation (H, W) int64, -1 where it does not
    count, id str.

    All label pictures are read once here, before any training starts, and their sizes compared with the photographs'.
    What was found is kept beside them, where they are many, for the next time: see row_index.py. `counts` has the
    number of pixels of each class. `problems` says which pictures have no pixel that counts, which classes do not occur
    or are written almost alike, and how many photographs EXIF turns. Raises ValueError naming the file for: no pairs, a
    value outside the class list, two sizes, a damaged file, no label at all.
    """

    def __init__(self, pairs: Sequence[Pair], label_map: LabelMap):
        if not pairs:
            raise ValueError(f"{type(self).__name__}: there are no photographs with label pictures; check the split")
        self.pairs, self.label_map, self.classes = list(pairs), label_map, label_map.classes
        photographs, folder = self.pairs[0].image.parent, self.pairs[0].labels.parent
        counts, kept = self._read_all(photographs, folder)
        if not counts.any():
            raise ValueError(
                f"{folder}: of {len(counts)} label pictures none has a pixel that counts; check the classes"
            )
        unlabelled = [pair.labels for pair, n in zip(self.pairs, counts) if not n.any()]
        self.counts = dict(zip(self.classes, counts.sum(axis=0).tolist()))
        notes = notes_on({pair.image: header for pair, header in zip(self.pairs, self.headers)}) + alike(self.classes)
        self.problems = kept + [f"{photographs}: {note}" for note in notes]
        self.problems += [f"{path}: no pixel counts" for path in unlabelled]
        self.problems += [f"{folder}: {name} does not occur in this split" for name, n in self.counts.items() if not n]

    def _read_all(self, photographs: Path, folder: Path) -> tuple[np.ndarray, list[str]]:
        """The pixels of each class in each label picture (N, C), and what was wrong with the files that keep them.

        pairs and headers are those of the photographs that are left: a pair is left out where one of it is damaged.
        """
        of_images, of_labels = HeaderIndex(photographs), self._index(folder)
        headers = of_images.read([pair.image for pair in self.pairs])
        found = of_labels.read([pair.labels for pair in self.pairs], self._found)
        left = [each for each in zip(self.pairs, headers, found) if each[1] is not None and each[2][0] >= 0]
        if not left:
            raise none_left(photographs, len(self.pairs))
        for pair, header, (height, width, *_) in left:
            _check_size(pair, header, (height, width))
        self.pairs, self.headers, found = map(list, zip(*left))
        return np.stack(found)[:, 2:], of_images.notes + of_labels.notes

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        name, image, labels = self.pairs[index]
        return {"id": name, "image": read_image(image), "segmentation": self.read_labels(labels)}

    def listing(self) -> Iterator[Listed]:
        """The name, size and file of each photograph."""
        return (Listed(pair.name, header[:2], pair.image) for pair, header in zip(self.pairs, self.headers))

    def read_labels(self, path: Path) -> np.ndarray:
        """The labels (H, W) int64 in a label picture."""
        return self.small_labels(path).astype(np.int64)

    def small_labels(self, path: Path) -> np.ndarray:
        """The same in a small dtype."""
        return self.label_map.look_up(path)

    def label_maps(self) -> Iterator[np.ndarray]:
        """The labels of each photograph in turn, the photograph itself unread."""
        return (self.read_labels(pair.labels) for pair in self.pairs)

    def _index(self, folder: Path) -> RowIndex:
        """Of the label pictures in a folder: a file for each class list and way to read them."""
        how = type(self).small_labels.__qualname__, *self.label_map
        name = f".label-pictures-{hashlib.sha256(repr(how).encode()).hexdigest()[:8]}.npz"
        return RowIndex(folder, name, "label pictures, version 1", 2 + len(self.classes), LEAST)

    def _found(self, path: Path) -> tuple[int, ...]:
        """(height, width, pixels of each class ...) of a label picture."""
        labels = self.small_labels(path)
        bands = np.array_split(labels, 1 + labels.size // BAND)
        return (*labels.shape, *sum(_counted(band, len(self.classes)) for band in bands))


class LabelledObjects(LabelledImages):
    """The same where label pictures hold a value for each object, 0 for the background. Sample: `instances` (H, W)
    int64 has these values; segmentation is 1 for all objects. classes: the names of the background and of the objects.
    """

    def __init__(self, pairs: Sequence[Pair], classes: tuple[str, str]):
        super().__init__(pairs, numbered(classes))

    def __getitem__(self, index: int) -> dict:
        return super().__getitem__(index) | {"instances": read_label_picture(self.pairs[index].labels)}

    def small_labels(self, path: Path) -> np.ndarray:
        return (read_values(path) > 0).view(np.int8)


def _check_size(pair: Pair, header: Header, size: Sequence[int]):
    """ValueError unless a label picture (height, width) has its photograph's size."""
    if tuple(size) != (header.height, header.width):
        raise ValueError(
            f"{pair.labels}: is {size[1]}x{size[0]}, but {pair.image} is {header.width}x{header.height}; a photograph "
            f"and its label picture must have one size{turned_hint(header, size)}"
        )


def _counted(labels: np.ndarray, classes: int) -> np.ndarray:
    """The pixels of each class."""
    return np.bincount(labels.ravel() + 1, minlength=classes + 1)[1:]


def _refuse_longer_names(folder, lost, found):
    """ValueError that says how to pair a.jpg and a_mask.png, where that is how the files are called."""
    pairs = [(name, next((each for each in found if name != each and name.startswith(each)), None)) for name in lost]
    if found and all(each for _, each in pairs):
        longer, name = pairs[0]
        wanted = f"give both one name, or write pairs into train.txt and val.txt: {name}.jpg {longer}.png"
        raise ValueError(f"{folder}: holds {name}, and the other folder {longer}; {wanted}")


def pair_up(images: Path, labels: Path, lines: Sequence[Line] | None = None) -> list[Pair]:
    """The pairs of two folders: those that the lines of a list name, see lists.py, or all of one name.

    Raises ValueError where one of a pair is missing.
    """
    photographs, label_pictures = pictures(images), pictures(labels)
    if lines is None:
        for folder, found, others in ((images, photographs, label_pictures), (labels, label_pictures, photographs)):
            if lost := [name for name in others if name not in found]:
                _refuse_longer_names(folder, lost, found)
                raise not_held(folder, [(str(others[name]), name) for name in lost], remedy="remove that one")
        names = [(name, name) for name in photographs]
    else:
        names = find_all(lines, (images, photographs), (labels, label_pictures))
    return [Pair(name, photographs[name], label_pictures[other]) for name, other in names]
