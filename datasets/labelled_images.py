"""Photographs with a label for every pixel: what all readers of such data share, and the check of all files at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .images import image_size, read_image
from .label_maps import LabelMap, numbered
from .palette import read_label_picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class Pair(NamedTuple):
    """A photograph and its label picture."""

    name: str
    image: Path
    labels: Path


class LabelledImages:
    """Photographs with label pictures. Sample: image (H, W, 3) uint8, segmentation (H, W) int64, -1 where it does not
    count, id str.

    All label pictures are read once here, before any training starts, and their sizes compared with the photographs'.
    Raises ValueError naming the file for: no pairs, a value outside the class list, two sizes, a damaged file, no
    label at all. `problems` says which pictures have no pixel that counts, and which classes do not occur.
    """

    def __init__(self, pairs: Sequence[Pair], label_map: LabelMap):
        if not pairs:
            raise ValueError(f"{type(self).__name__}: there are no photographs with label pictures; check the split")
        self.pairs, self.label_map, self.classes = list(pairs), label_map, label_map.classes
        with ThreadPoolExecutor(4) as pool:
            counts = np.stack(list(pool.map(self._check, self.pairs)))
        folder = self.pairs[0].labels.parent
        if not counts.any():
            raise ValueError(
                f"{folder}: of {len(counts)} label pictures none has a pixel that counts; check the classes"
            )
        unlabelled = [pair.labels for pair, n in zip(self.pairs, counts) if not n.any()]
        absent = [name for name, n in zip(self.classes, counts.sum(axis=0)) if not n]
        self.problems = [f"{path}: no pixel counts" for path in unlabelled]
        self.problems += [f"{folder}: {name} does not occur in this split" for name in absent]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        name, image, labels = self.pairs[index]
        return {"id": name, "image": read_image(image), "segmentation": self.read_labels(labels)}

    def read_labels(self, path: Path) -> np.ndarray:
        """The labels (H, W) int64 in a label picture."""
        return self.label_map.read(path)

    def label_maps(self) -> Iterator[np.ndarray]:
        """The labels of each photograph in turn, the photograph itself unread."""
        return (self.read_labels(pair.labels) for pair in self.pairs)

    def _check(self, pair: Pair) -> np.ndarray:
        """Pixels of each class in a label picture, all of it checked."""
        (h, w), labels = image_size(pair.image), self.read_labels(pair.labels)
        if labels.shape != (h, w):
            raise ValueError(
                f"{pair.labels}: is {labels.shape[1]}x{labels.shape[0]}, but {pair.image} is {w}x{h}; a photograph and "
                "its label picture must have one size"
            )
        return np.bincount(labels[labels >= 0], minlength=len(self.classes))


class LabelledObjects(LabelledImages):
    """The same where label pictures hold a number for each object, 0 for the background. Sample: `instances` (H, W)
    int64 has these numbers; segmentation is 1 for all objects. classes: the background's name, and the objects'.
    """

    def __init__(self, pairs: Sequence[Pair], classes: tuple[str, str]):
        super().__init__(pairs, numbered(classes))

    def __getitem__(self, index: int) -> dict:
        return super().__getitem__(index) | {"instances": read_label_picture(self.pairs[index].labels)}

    def read_labels(self, path: Path) -> np.ndarray:
        return (read_label_picture(path) > 0).astype(np.int64)


def pictures(folder: Path) -> dict[str, Path]:
    """{name without ending: file} of the pictures in a folder, in order. ValueError for no folder, or a name twice."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):  # .DS_Store, ._a.jpg
            continue
        if found.setdefault(path.stem, path) != path:
            raise ValueError(f"{path}: {found[path.stem].name} has the same name; keep one of them")
    return found


def read_names(path: Path) -> list[str]:
    """The names in a list, one a line; of lines with files, such as `train/a.png trainannot/a.png`, their name.

    Raises ValueError naming the list where it is missing, empty or no text, or a line pairs different names.
    """
    if not path.is_file():
        there = ", ".join(sorted(each.name for each in path.parent.glob("*.txt"))) or "none"
        raise ValueError(f"{path}: there is no such list; text files in this folder: {there}")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason}); save it as one") from error
    names = list(dict.fromkeys(_name_in(line, path) for line in lines if line))
    if not names:
        raise ValueError(f"{path}: the list is empty; write a name a line, without ending")
    return names


def _name_in(line, path):
    """The name in a line, which is that, or one or several files, with folders or without."""
    files = [Path(word) for word in line.replace("\\", "/").split()]
    if not all(len(file.parts) > 1 or file.suffix.lower() in SUFFIXES for file in files):
        return line
    if len({file.stem for file in files}) > 1:
        raise ValueError(f"{path}: {line!r}: a photograph and its label picture must have one name; rename one")
    return files[0].stem


def pair_up(images: Path, labels: Path, names: Sequence[str] | None = None, listed: Path | None = None) -> list[Pair]:
    """The pairs of two folders: those named in the list `listed`, or all. ValueError where one of a pair is missing."""
    photographs, label_pictures = pictures(images), pictures(labels)
    if names is None:
        names, listed = list(dict.fromkeys([*photographs, *label_pictures])), None
    for folder, found in ((images, photographs), (labels, label_pictures)):
        if missing := [name for name in names if name not in found]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            where = (
                f"{listed}: names it; add the picture, or remove the line (a name a line, without ending)"
                if listed
                else "its pair is there; add it"
            )
            raise ValueError(f"{folder}: holds no picture {missing[0]}{more}: {where}")
    return [Pair(name, photographs[name], label_pictures[name]) for name in names]
