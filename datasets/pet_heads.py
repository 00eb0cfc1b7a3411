"""Heads of pets in photographs: one box a photograph, of a breed or of a species."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .files import composed, meant, shorten
from .index_file import read_index
from .json_checks import finite
from .lists import not_held
from .objects import Annotated, ObjectImages, Thing
from .pictures import pictures

CORNERS = ("head_x1", "head_y1", "head_x2", "head_y2")
# The published boxes are those of trainval alone, so the index's own test split has none. Of every five photographs
# with a box, in order of the names, one is for validation and one for testing.
PARTS = {"train": (0, 1, 2), "val": (3,), "test": (4,), "trainval": (0, 1, 2, 3)}


class PetHeads(ObjectImages):
    """Photographs of pets with the box of the head: root/images, root/index.csv with the columns name, split, breed,
    species, head_x1, head_y1, head_x2 and head_y2, in pixels, empty where the head is not annotated.

    Sample: see ObjectImages. Photographs without a box are left out, since their heads would count as background.
    classes: breeds or species, such as Bengal or dog, in the order of their labels (default: all breeds); heads of
    others are left out, their photographs stay. Splits: of every five photographs that have a box, in order of the
    names, three are "train", one is "val" and one is "test"; "trainval" is the first two together.

    Raises ValueError as ObjectImages does, for another split, and for a class that is neither breed nor species.

    Reference: Parkhi et al. 2012, Cats and dogs, the Oxford-IIIT pet data set.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root, path = Path(root), Path(root) / "index.csv"
        if split not in PARTS:
            raise ValueError(f"{path}: heads have the splits {', '.join(PARTS)}; there is no {split!r}")
        rows = read_index(path, "breed", "species", *CORNERS)
        if not (root / "images").is_dir():
            raise ValueError(f"{root}: has no folder images; {meant(root / 'images', '--root is the folder above it')}")
        boxed = [name for name in sorted(rows) if any(rows[name][corner].strip() for corner in CORNERS)]
        names = [name for i, name in enumerate(boxed) if i % 5 in PARTS[split]]
        classes, found = _chosen(path, rows, classes), pictures(root / "images")
        if lost := [(str(path), name) for name in names if name not in found]:
            raise not_held(root / "images", lost, alone=True)
        records = [Annotated(name, found[name], f"{path}, {name}", _head(path, rows[name], classes)) for name in names]
        super().__init__(path, records, classes)


def _chosen(path, rows, classes):
    """The classes given, or all breeds. ValueError for one that is neither breed nor species."""
    breeds, species = (sorted({row[column] for row in rows.values()}) for column in ("breed", "species"))
    classes = breeds if classes is None else [composed(name) for name in classes]
    if unknown := [name for name in classes if name not in (*breeds, *species)]:
        raise ValueError(f"{path}: {unknown[0]!r} is no breed or species; there are {shorten(breeds + species)}")
    return classes


def _head(path, row, classes):
    """The head of a photograph as a list of one, or of none where it is of no class."""
    name = next((row[column] for column in ("breed", "species") if row[column] in classes), None)
    if name is None:
        return []
    try:
        box = finite([float(row[corner]) for corner in CORNERS], 4)
    except ValueError:
        box = None
    if box is None:
        got = ", ".join(row[corner] or "nothing" for corner in CORNERS)
        raise ValueError(f"{path}, {row['name']}: the corners of the head must be four numbers, got {got}")
    return [Thing(name, tuple(box))]
