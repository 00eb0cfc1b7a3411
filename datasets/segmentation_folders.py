"""Labelled photographs in folders: one's own, Pascal VOC's, and two small public sets, cell nuclei and pets."""

import csv
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .label_maps import LabelMap, numbered, read_label_map
from .labelled_images import LabelledImages, LabelledObjects, pair_up, read_names
from .palette import IGNORE
from .voc import VOC_CLASSES

EVERY = 5  # without lists, every so-many-th photograph is for validation


class LabelledFolders(LabelledImages):
    """One's own photographs and label pictures:

        root/images/NAME.jpg       the photographs
        root/labels/NAME.png       a label picture for each, of the same name
        root/classes.txt           the class list, or classes.json: see label_maps.py
        root/train.txt, val.txt    names, one a line, without ending

    Without any list all photographs are used, every fifth of them, by name, as the split val, the others as train.
    classes: names in another order, if wanted. Raises ValueError as LabelledImages does, for files that are missing,
    and for a class list or classes that do not fit.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root = Path(root)
        label_map = _class_list(root).renumbered(classes)
        images, labels = (_folder(root, name) for name in ("images", "labels"))
        note = []
        if (root / f"{split}.txt").is_file() or _lists(root):
            pairs = pair_up(images, labels, read_names(root / f"{split}.txt"), root / f"{split}.txt")
        else:
            pairs = _every_fifth(pair_up(images, labels), split)
            note = [f"{root}: has no train.txt and val.txt; {len(pairs)} photographs, chosen by name, are {split}"]
        super().__init__(pairs, label_map)
        self.problems = note + self.problems


class VOCSegmentation(LabelledImages):
    """The pixel labels of a folder in Pascal VOC's layout: JPEGImages, SegmentationClass (palette PNGs, 255 does not
    count) and ImageSets/Segmentation/<split>.txt.

    classes: the names in the order of their values, with the background; those of VOC unless root/classes.txt has
    others. Raises ValueError as LabelledImages does, and for files that are missing.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root, listed = Path(root), Path(root) / "classes.txt"
        if listed.is_file():
            label_map = read_label_map(listed).renumbered(classes)
        else:
            label_map = numbered(classes or ("background", *VOC_CLASSES), ignore=[IGNORE])
        lists = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        folders = _folder(root, "JPEGImages"), _folder(root, "SegmentationClass")
        super().__init__(pair_up(*folders, read_names(lists), lists), label_map)


class Pets(LabelledImages):
    """Photographs of pets with trimaps, 1 the pet, 2 the background, 3 the border between them, which does not count:
    root/images, root/trimaps, root/index.csv with name and split, trainval or test.

    Reference: Parkhi et al. 2012, Cats and dogs, the Oxford-IIIT pet data set.
    """

    def __init__(self, root: str | PathLike, split: str = "trainval", classes: Sequence[str] | None = None):
        root, trimap = Path(root), LabelMap(("background", "pet"), {1: 1, 2: 0, 3: -1})
        names = _names_of_split(root / "index.csv", split)
        pairs = pair_up(_folder(root, "images"), _folder(root, "trimaps"), names, root / "index.csv")
        super().__init__(pairs, trimap.renumbered(classes))


class Nuclei(LabelledObjects):
    """Microscope images with a number for each nucleus: root/images, root/masks, root/index.csv with name and split.

    Reference: Caicedo et al. 2019, Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        own = ("background", "nucleus")
        if classes and tuple(classes) != own:
            raise ValueError(f"Nuclei: the classes are {' '.join(own)}, got {' '.join(classes)}; leave them out")
        root = Path(root)
        names = _names_of_split(root / "index.csv", split)
        pairs = pair_up(_folder(root, "images"), _folder(root, "masks"), names, root / "index.csv")
        super().__init__(pairs, own)


def _class_list(root: Path) -> LabelMap:
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder; give the one that holds images, labels and classes.txt")
    for name in ("classes.txt", "classes.json"):
        if (root / name).is_file():
            return read_label_map(root / name)
    raise ValueError(f"{root}: has no classes.txt or classes.json; write the class names there, one a line")


def _folder(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        raise ValueError(f"{root}: has no folder {name}; --root is the folder that holds it")
    return root / name


def _lists(root: Path) -> list[Path]:
    return [path for path in root.glob("*.txt") if path.name != "classes.txt"]


def _every_fifth(pairs, split):
    """Of pairs in order: "val" has the last of every five, "train" the others."""
    if split not in ("train", "val"):
        raise ValueError(f"there is no list of the split {split!r}; without lists there are train and val")
    return [pair for i, pair in enumerate(pairs) if (i % EVERY == EVERY - 1) == (split == "val")]


def _names_of_split(path: Path, split: str) -> list[str]:
    """The column `name` of the lines of a CSV file whose column `split` is this one."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; --root is the folder that holds it")
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"name", "split"} <= rows[0].keys():
        raise ValueError(f"{path}: must have the columns name and split, and a line for each photograph")
    names = [row["name"] for row in rows if row["split"] == split]
    if not names:
        known = ", ".join(sorted({row["split"] or "(none)" for row in rows}))
        raise ValueError(f"{path}: has no photographs of the split {split!r}, only of {known}")
    return names
