"""Labelled photographs in folders: one's own, Pascal VOC's, and two small public sets, cell nuclei and pets."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .files import meant, missing
from .index_file import names_in, read_index
from .label_maps import LabelMap, numbered, read_label_map
from .labelled_images import LabelledImages, LabelledObjects, pair_up
from .lists import Line, read_list
from .palette import IGNORE
from .splits import every_fifth
from .voc import VOC_CLASSES

LISTS = ("train.txt", "val.txt", "test.txt")


class LabelledFolders(LabelledImages):
    """One's own photographs and label pictures:

        root/images/NAME.jpg       the photographs
        root/labels/NAME.png       a label picture for each, of the same name
        root/classes.txt           the class list, or classes.json: see label_maps.py
        root/train.txt, val.txt    names, one a line, without ending

    Without train.txt, val.txt and test.txt all photographs are used, every fifth of them, by name, as the split val,
    the others as train. classes: names in another order, if wanted. Raises ValueError as LabelledImages does, for files
    that are missing, and for a class list or classes that do not fit.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root = Path(root)
        label_map = _class_list(root).renumbered(classes)
        images, labels = (_folder(root, name) for name in ("images", "labels"))
        note = []
        if any((root / name).is_file() for name in (f"{split}.txt", *LISTS)):
            pairs = pair_up(images, labels, read_list(root / f"{split}.txt", root))
        else:
            pairs = every_fifth(pair_up(images, labels), split, root)
            if not pairs:
                raise ValueError(f"{root}: too few photographs: none is left for {split}; add some")
            note = [f"{root}: has no train.txt and val.txt; {len(pairs)} photographs, chosen by name, are {split}"]
        super().__init__(pairs, label_map)
        self.problems = note + self.problems


class VOCSegmentation(LabelledImages):
    """The pixel labels of a folder in Pascal VOC's layout: JPEGImages, SegmentationClass (palette PNGs, 255 does not
    count) and ImageSets/Segmentation/<split>.txt.

    The class list is VOC's, with the background, unless root/classes.txt has another. classes: names in another order
    than that list's, if wanted; without classes.txt also names of one's own, in the order of their values. Raises
    ValueError as LabelledImages does, and for files that are missing.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root, listed, own = Path(root), Path(root) / "classes.txt", ("background", *VOC_CLASSES)
        folders = _folder(root, "JPEGImages"), _folder(root, "SegmentationClass")
        if listed.is_file():
            label_map = read_label_map(listed).renumbered(classes)
        elif not classes or set(own) <= set(classes):
            label_map = numbered(own, ignore=[IGNORE]).renumbered(classes)
        else:
            label_map = numbered(classes, ignore=[IGNORE])
        lines = read_list(root / "ImageSets" / "Segmentation" / f"{split}.txt", root)
        super().__init__(pair_up(*folders, lines), label_map)


class Pets(LabelledImages):
    """Photographs of pets with trimaps, 1 the pet, 2 the background, 3 the border between them, which does not count:
    root/images, root/trimaps, root/index.csv with name and split, trainval or test.

    The splits train and val are parts of trainval (every fifth, by name, is val), unless the index has a val.

    Reference: Parkhi et al. 2012, Cats and dogs, the Oxford-IIIT pet data set.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root, trimap = Path(root), LabelMap(("background", "pet"), {1: 1, 2: 0, 3: -1})
        lines = _lines_of_split(root / "index.csv", split)
        pairs = pair_up(_folder(root, "images"), _folder(root, "trimaps"), lines)
        super().__init__(pairs, trimap.renumbered(classes))


class Nuclei(LabelledObjects):
    """Microscope images with a value for each nucleus: root/images, root/masks, root/index.csv with name and split.

    The split val is every fifth, by name, of what is not test, and train is the rest, unless the index has a val.

    Reference: Caicedo et al. 2019, Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        own = ("background", "nucleus")
        if classes and tuple(classes) != own:
            raise ValueError(f"Nuclei: the classes are {' '.join(own)}, got {' '.join(classes)}; leave them out")
        root = Path(root)
        lines = _lines_of_split(root / "index.csv", split)
        pairs = pair_up(_folder(root, "images"), _folder(root, "masks"), lines)
        super().__init__(pairs, own)


def _class_list(root: Path) -> LabelMap:
    if not root.is_dir():
        raise missing(root, "folder", "give the one that holds images, labels and classes.txt")
    for name in ("classes.txt", "classes.json"):
        if (root / name).is_file():
            return read_label_map(root / name)
    advice = meant(root / "classes.txt", "write the class names there, one a line")
    raise ValueError(f"{root}: has no classes.txt or classes.json; {advice}")


def _folder(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        raise ValueError(f"{root}: has no folder {name}; {meant(root / name, '--root is the folder that holds it')}")
    return root / name


def _lines_of_split(path: Path, split: str) -> list[Line]:
    """(path, name) of a split in the index: see index_file.py."""
    return [(str(path), name) for name in names_in(read_index(path), split, path)]
