"""Photographs with a label for every pixel: what all readers of such data share, and the check of all files at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .classes import alike
from .headers import Header, notes_on, read_header, turned_hint
from .label_maps import LabelMap, numbered
from .listing import Listed
from .lists import Line, find_all, not_held
from .palette import read_label_picture, read_values
from .pictures import BAND, none_left, pictures, read_image, unless_left_out
from .progress import reading


class Pair(NamedTuple):
    """A photograph and its label picture."""

    name: str
    image: Path
    labels: Path


class LabelledImages:
    """Photographs with label pictures. Sample: image (H, W, 3) uint8, segmentation (H, W) int64, -1 where it does not
    count, id str.

    All label pictures are read once here, before any training starts, and their sizes compared with the photographs'.
    `counts` has the number of pixels of each class. `problems` says which pictures have no pixel that counts, which
    classes do not occur or are written almost alike, and how many photographs EXIF turns. Raises ValueError naming the
    file for: no pairs, a value outside the class list, two sizes, a damaged file, no label at all.
    """

    def __init__(self, pairs: Sequence[Pair], label_map: LabelMap):
        if not pairs:
            raise ValueError(f"{type(self).__name__}: there are no photographs with label pictures; check the split")
        self.pairs, self.label_map, self.classes = list(pairs), label_map, label_map.classes
        with ThreadPoolExecutor(4) as pool:
            checked = [pair for pair in reading(pool.map(self._check, self.pairs), len(self.pairs)) if pair is not None]
        if not checked:
            raise none_left(self.pairs[0].image.parent, len(self.pairs))
        self.pairs, self.headers, counts = map(list, zip(*checked))
        counts, folder = np.stack(counts), self.pairs[0].labels.parent
        if not counts.any():
            raise ValueError(
                f"{folder}: of {len(counts)} label pictures none has a pixel that counts; check the classes"
            )
        unlabelled = [pair.labels for pair, n in zip(self.pairs, counts) if not n.any()]
        self.counts = dict(zip(self.classes, counts.sum(axis=0).tolist()))
        notes = notes_on({pair.image: header for pair, header in zip(self.pairs, self.headers)}) + alike(self.classes)
        self.problems = [f"{self.pairs[0].image.parent}: {note}" for note in notes]
        self.problems += [f"{path}: no pixel counts" for path in unlabelled]
        self.problems += [f"{folder}: {name} does not occur in this split" for name, n in self.counts.items() if not n]

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

    def _check(self, pair: Pair) -> tuple[Pair, Header, np.ndarray] | None:
        """The pair, the photograph's header, and the pixels of each class in its label picture, all of it checked.

        None for a pair that is left out as one of the two is damaged.
        """
        header = unless_left_out(read_header, pair.image)
        labels = unless_left_out(self.small_labels, pair.labels)
        if header is None or labels is None:
            return None
        if labels.shape != (header.height, header.width):
            raise ValueError(
                f"{pair.labels}: is {labels.shape[1]}x{labels.shape[0]}, but {pair.image} is "
                f"{header.width}x{header.height}; a photograph and its label picture must have one size"
                f"{turned_hint(header, labels.shape)}"
            )
        return (
            pair,
            header,
            sum(_counted(row, len(self.classes)) for row in np.array_split(labels, 1 + labels.size // BAND)),
        )


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
