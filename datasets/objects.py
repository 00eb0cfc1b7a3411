"""Photographs with objects: what all readers of boxes share, and the check of all annotations at once."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .classes import alike, checked_classes
from .files import composed, shorten
from .header_index import HeaderIndex
from .headers import Header, notes_on, turned_hint
from .listing import Listed
from .pictures import none_left, read_image
from .progress import reading
from .rle import doubt_about, draw_masks

FEW = 5  # lines about single boxes that need no line that sums them up


class Thing(NamedTuple):
    """One object as an annotation file has it."""

    name: str  # of its class
    box: tuple[float, float, float, float]  # (x1, y1, x2, y2) in pixels, 0-based, half-open
    shown: str = ""  # the box as it stands in the file, to search for it there
    difficult: bool = False
    crowd: bool = False
    area: float | None = None  # in pixels, of the mask
    shape: list | dict | None = None  # polygons or RLE, see rle.py
    keypoints: np.ndarray | None = None  # (J, 3): x, y, v
    doubt: str = ""  # why this cannot be a box, if a reader found out


class Annotated(NamedTuple):
    """A picture file and its objects."""

    id: str
    path: Path
    source: str  # where the annotations stand, for messages
    things: Sequence[Thing]
    stated: tuple[int, int] | None = None  # (height, width) that the annotations say


class Item(NamedTuple):
    """The checked objects of a picture; rows of all arrays belong together."""

    id: str
    path: Path
    arrays: dict[str, np.ndarray]
    things: list[Thing]
    size: tuple[int, int]


class ObjectImages:
    """Photographs with objects.

    Sample: image (H, W, 3) uint8, boxes (K, 4) float32 as (x1, y1, x2, y2) pixels, labels (K,) int64 with `classes[0]`
    as 1 (0 is the background), difficult (K,) bool, id str; and where the data set has them crowd (K,) bool, area (K,)
    float64, masks (K, H, W) bool, keypoints (K, J, 3) float32.

    source: the file or folder that all this stands in, for messages. extras: which of crowd, area and masks the samples
    have. joints: J, 0 for samples without key points. least: a box whose width or height is not more has no area.
    total: the number of records, for the bar that shows progress.

    Boxes without area, outside the image, or in fractions instead of pixels are dropped, boxes that stick out are
    clipped (by up to one pixel in silence: some tools count from 0). `problems` says which, and how many; it also has
    the pictures that EXIF turns, classes that differ in case alone, and what else looks wrong. `counts` has the number
    of objects of each class that are not difficult.

    All annotations, and the pictures' presence and size, are checked here, before any training starts. Raises
    ValueError with the path at fault: no picture, a picture that is missing or damaged or of another size than stated,
    a class that is not in `classes`, and a split whose boxes are all dropped.
    """

    def __init__(
        self,
        source: str | PathLike,
        records: Iterable[Annotated],
        classes: Sequence[str],
        extras: Sequence[str] = (),
        joints: int = 0,
        least: float = 0.0,
        total: int | None = None,
    ):
        self.source, self.classes = source, checked_classes(self, classes)
        self.extras, self.joints, self.least = tuple(extras), joints, least
        self._label = {name: i for i, name in enumerate(self.classes, 1)}
        self._headers: dict[Path, Header] = {}
        self._lines: list[str] = []
        self._given = self._left_out = 0
        records = list(reading(records, total))
        index = HeaderIndex(records[0].path.parent if records else source)
        headers = index.read([record.path for record in records])
        self.items = [item for item in map(self._check, records, headers) if item is not None]
        if not self.items:
            raise none_left(source, self._left_out) if self._left_out else ValueError(f"{source}: lists no picture")
        self.counts = self._count()
        self.problems = self._summary() + self._lines + [f"{source}: {note}" for note in index.notes]
        self._refuse_nothing()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        item = self.items[index]
        sample = {"id": item.id, "image": read_image(item.path)}
        sample |= {key: array.copy() for key, array in item.arrays.items()}
        if "masks" in self.extras:
            sample["masks"] = draw_masks([(thing.shape, thing.box) for thing in item.things], item.size)
        return sample

    def listing(self) -> Iterator[Listed]:
        """The id, size and file of each picture."""
        return (Listed(item.id, item.size, item.path) for item in self.items)

    def _check(self, record: Annotated, header: Header | None) -> Item | None:
        """The objects of one picture that can be; what is wrong with the others becomes a line of `problems`.

        None for a damaged picture that is left out.
        """
        if header is None:
            self._left_out += 1
            return None
        self._headers[record.path] = header
        size = header.height, header.width
        if record.stated not in (None, size):
            raise ValueError(
                f"{record.source}: says that {record.path.name} is {record.stated[1]}x{record.stated[0]}, but it is "
                f"{size[1]}x{size[0]}, so its boxes would be wrong{turned_hint(header, record.stated)}; correct the "
                "size, or leave the picture out"
            )
        boxes, kept = [], []
        for thing in record.things:
            self._label_of(thing.name, record.source)
            self._given += 1
            box, problem = (None, thing.doubt) if thing.doubt else fit(thing.box, *size, self.least)
            if problem:
                shown = thing.shown or f"({', '.join(f'{value:g}' for value in thing.box)})"
                self._lines.append(f"{record.source}: {thing.name} {shown} {problem}")
            if box is not None:
                if doubt := self._doubt(thing, size, record.source):
                    self._lines.append(f"{record.source}: {doubt.format(thing.name)}: its box is taken")
                    thing = thing._replace(shape=None)
                boxes.append(box)
                kept.append(thing)
        arrays = {
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "labels": np.array([self._label[thing.name] for thing in kept], np.int64),
            "difficult": np.array([thing.difficult for thing in kept], bool),
        }
        return Item(record.id, record.path, arrays | self._further(kept), kept, size)

    @staticmethod
    def _doubt(thing: Thing, size: tuple[int, int], source: str) -> str:
        try:
            return doubt_about(thing.shape, size)
        except ValueError as error:
            raise ValueError(f"{source}: the segmentation of {thing.name}: {error}") from None

    def _further(self, kept: list[Thing]) -> dict[str, np.ndarray]:
        arrays = {}
        if "crowd" in self.extras:
            arrays["crowd"] = np.array([thing.crowd for thing in kept], bool)
        if "area" in self.extras:
            arrays["area"] = np.array([thing.area for thing in kept], np.float64)
        if self.joints:
            none = np.zeros((self.joints, 3))
            points = [none if thing.keypoints is None else thing.keypoints for thing in kept]
            arrays["keypoints"] = np.array(points, np.float32).reshape(-1, self.joints, 3)
        return arrays

    def _label_of(self, name: str, source: str) -> int:
        if name in self._label:
            return self._label[name]
        near = next((each for each in self.classes if each.casefold() == composed(name).casefold()), None)
        raise ValueError(
            f"{source}: class {name!r} is not among the {len(self.classes)} given ({shorten(self.classes)}); "
            + (f"did you mean {near!r}? " if near else "")
            + "name it in classes, or remove the object"
        )

    def _count(self) -> dict[str, int]:
        counts = Counter()
        for item in self.items:
            counts.update(item.arrays["labels"][~item.arrays["difficult"]].tolist())
        return {name: counts[i] for i, name in enumerate(self.classes, 1)}

    def _summary(self) -> list[str]:
        """The lines of `problems` about the split as a whole."""
        lines, dropped = [], self._given - sum(len(item.things) for item in self.items)
        if len(self._lines) > FEW:
            clipped = len(self._lines) - dropped
            lines.append(f"{self.source}: of {self._given} boxes {dropped} are dropped and {clipped} clipped")
        lines += [f"{self.source}: {note}" for note in notes_on(self._headers) + alike(self.classes, self.counts)]
        boxes = np.concatenate([item.arrays["boxes"] for item in self.items])
        if small := int(((boxes[:, 2:] - boxes[:, :2]) < 1).any(axis=1).sum()):
            lines.append(f"{self.source}: {small} boxes are narrower or lower than a pixel")
        if not self._given:
            lines.append(f"{self.source}: none of {len(self.items)} pictures has an object")
        elif not any(self.counts.values()):
            lines.append(f"{self.source}: all {len(boxes)} objects are marked difficult or crowd, so none counts")
        return lines

    def _refuse_nothing(self):
        if self._given and not any(item.things for item in self.items):
            raise ValueError(
                f"{self.source}: all {self._given} boxes are dropped, the first because: {self._lines[0]}; correct them"
            )


def fit(
    box: Sequence[float], height: int, width: int, least: float = 0.0
) -> tuple[tuple[float, float, float, float] | None, str]:
    """The box inside the image (None if nothing is left of it), and what was wrong with it ("" if nothing)."""
    x1, y1, x2, y2 = box
    if x2 - x1 <= least or y2 - y1 <= least:  # a click, or corners in the wrong order
        return None, "has no area: dropped"
    if 0 < x2 <= 1 and 0 < y2 <= 1:
        return None, "looks like fractions of the image, where pixels are wanted: dropped"
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return None, f"is outside the {width}x{height} image: dropped"
    clipped = max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)
    a, b, c, d = np.float32(clipped)  # as the sample has it
    if a >= c or b >= d:
        return None, "has no area: dropped"
    overhang = max(abs(a - b) for a, b in zip(box, clipped))
    return clipped, f"sticks out of the {width}x{height} image: clipped" if overhang > 1 else ""
