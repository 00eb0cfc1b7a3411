"""Reader for object detection data in the layout of Pascal VOC.

    root/JPEGImages/000005.jpg       the photographs (.jpg, .jpeg, .png)
    root/Annotations/000005.xml      size of the photograph; per object: name, difficult, bndbox
    root/ImageSets/Main/train.txt    one image name per line, without extension; so val.txt, test.txt, ...

Reference: Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge", and its development kit.
"""

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from .images import image_size, read_image

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class VOCObject(NamedTuple):
    """One <object> of an annotation file, its box as 0-based half-open pixels (x1, y1, x2, y2)."""

    name: str
    difficult: bool
    box: tuple[float, float, float, float]


class VOCDetection:
    """Photographs with boxes, from a folder in Pascal VOC's layout.

    Sample: image (H, W, 3) uint8, boxes (K, 4) float32 as (x1, y1, x2, y2) pixels, labels (K,) int64 with
    `classes[0]` as 1 (0 is the background), difficult (K,) bool, id str (the image's name).

    VOC's corners count from 1 and belong to the box, so they become (xmin - 1, ymin - 1, xmax, ymax).
    A box with xmax <= xmin or ymax <= ymin, or wholly outside the image, is dropped; one that sticks out is
    clipped; `problems` says which, one line each. (One pixel too far is clipped in silence: some tools count from 0.)

    All annotations, and the images' presence and size, are checked here, before any training starts.
    Raises ValueError with the path at fault: missing folder, list or file, empty list, broken XML,
    a class that is not in `classes`, a size that is not the image's own.
    """

    def __init__(self, root: str | PathLike, split: str = "trainval", classes: Sequence[str] = VOC_CLASSES):
        self.root, self.split, self.classes = Path(root), split, _check_classes(classes)
        self.problems: list[str] = []
        images = _image_paths(self.root)
        self.names = _read_list(self.root, split)
        self._items = [self._check_item(name, images) for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict:
        path, boxes, labels, difficult = self._items[index]
        return {
            "id": self.names[index],
            "image": read_image(path),
            "boxes": boxes.copy(),
            "labels": labels.copy(),
            "difficult": difficult.copy(),
        }

    def _check_item(self, name: str, images: dict[str, Path]) -> tuple[Path, np.ndarray, np.ndarray, np.ndarray]:
        """Path, boxes, labels and difficult flags of one image; what is dropped is added to `problems`."""
        xml_path = self.root / "Annotations" / f"{name}.xml"
        if name not in images:
            raise _lists_missing(self.root, self.split, name, f"JPEGImages/{name}.jpg (or .jpeg, .png)")
        if not xml_path.is_file():
            raise _lists_missing(self.root, self.split, name, f"Annotations/{name}.xml")
        stated_size, objects = read_annotation(xml_path)
        height, width = image_size(images[name])
        if stated_size not in (None, (height, width)):
            raise ValueError(
                f"{xml_path}: <size> says {stated_size[1]}x{stated_size[0]}, but {images[name].name} is "
                f"{width}x{height}, so its boxes would be wrong; correct the file or take the image out of the list"
            )
        boxes, labels, difficult = [], [], []
        for each in objects:
            if each.name not in self.classes:
                raise ValueError(
                    f"{xml_path}: class {each.name!r} is not among the {len(self.classes)} given "
                    f"({_shorten(self.classes)}); name it in classes, or remove the object"
                )
            box, problem = _fit(each.box, height, width)
            if problem:
                self.problems.append(f"{xml_path}: {each.name} {_corners(each.box)} {problem}")
            if box:
                boxes.append(box)
                labels.append(self.classes.index(each.name) + 1)
                difficult.append(each.difficult)
        return (
            images[name],
            np.array(boxes, dtype=np.float32).reshape(-1, 4),
            np.array(labels, dtype=np.int64),
            np.array(difficult, dtype=bool),
        )


def find_classes(root: str | PathLike, split: str = "trainval") -> tuple[str, ...]:
    """The class names that occur in the annotations of one list, sorted: `classes` for a folder of one's own.

    Raises ValueError as VOCDetection does.
    """
    root = Path(root)
    _image_paths(root)
    names = set()
    for name in _read_list(root, split):
        path = root / "Annotations" / f"{name}.xml"
        if not path.is_file():
            raise _lists_missing(root, split, name, f"Annotations/{name}.xml")
        names.update(each.name for each in read_annotation(path)[1])
    if not names:
        raise ValueError(f"{root}: the annotations of {split!r} hold no object at all; draw boxes before training")
    return tuple(sorted(names))


def read_annotation(path: str | PathLike) -> tuple[tuple[int, int] | None, list[VOCObject]]:
    """((height, width) or None where the file does not state them, objects) of one VOC annotation file.

    Boxes are returned as they stand (only moved to 0-based half-open corners), even if they are impossible.
    Raises ValueError with the path if the file is not XML or a value is missing or no number.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, LookupError, ValueError) as error:  # the latter two: unknown encodings
        raise ValueError(f"{path}: not readable as XML ({error}); write the annotation again") from error
    if root.tag != "annotation":
        raise ValueError(f"{path}: not a VOC annotation: its root is <{root.tag}>, should be <annotation>")
    width, height = (int(_number(path, root, f"size/{side}", default=0)) for side in ("width", "height"))
    objects = []
    for number, element in enumerate(root.findall("object"), start=1):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"{path}: object {number} has no <name>; give it one")
        x1, y1, x2, y2 = (_number(path, element, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
        objects.append(VOCObject(name, _number(path, element, "difficult", default=0) != 0, (x1 - 1, y1 - 1, x2, y2)))
    return (height, width) if height and width else None, objects  # some tools write 0 for "unknown"


def _number(path: str | PathLike, element: ElementTree.Element, key: str, default: float | None = None) -> float:
    text = element.findtext(key)
    if text is None and default is not None:
        return default
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}: <{key}> must be a number, got {text!r}; correct the file")
    return value


def _fit(box: Sequence[float], height: int, width: int) -> tuple[Sequence[float] | None, str]:
    """The box inside the image (None if nothing is left of it), and what was wrong with it ("" if nothing)."""
    x1, y1, x2, y2 = box
    if x2 - x1 <= 1 or y2 - y1 <= 1:  # xmax - xmin <= 0 in the file: a click, or corners in the wrong order
        return None, "has no area: dropped"
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return None, f"is outside the {width}x{height} image: dropped"
    clipped = max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)
    overhang = max(abs(a - b) for a, b in zip(box, clipped, strict=True))
    return clipped, f"sticks out of the {width}x{height} image: clipped" if overhang > 1 else ""


def _corners(box: Sequence[float]) -> str:
    """A box as it stands in the annotation file, so that one can search for it there."""
    return f"({box[0] + 1:g}, {box[1] + 1:g}, {box[2]:g}, {box[3]:g})"


def _check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(classes, str) or not classes or len(set(classes)) < len(classes):
        raise ValueError(f"VOCDetection: classes must be a list of names, at least one, none twice, got {classes!r}")
    return tuple(classes)


def _image_paths(root: Path) -> dict[str, Path]:
    """Name without extension -> image file, of a folder that has VOC's three parts."""
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder; give the one that holds JPEGImages and Annotations")
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        if not (root / part).is_dir():
            inner = sorted(path.parent for depth in ("*", "*/*") for path in root.glob(f"{depth}/JPEGImages"))
            advice = f"did you mean {inner[0]}?" if inner else "is it a VOC folder (see the README)?"
            raise ValueError(f"{root}: has no folder {part}; {advice}")
    paths = sorted((root / "JPEGImages").iterdir())
    return {path.stem: path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}


def _read_list(root: Path, split: str) -> list[str]:
    """The image names in ImageSets/Main/<split>.txt, each once, in the order of the file."""
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        there = _shorten(sorted(each.stem for each in path.parent.glob("*.txt"))) or "none"
        raise ValueError(f"{path}: there is no such image list; lists in this folder: {there}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason}); save it as one") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise ValueError(f"{path}: the image list is empty; write one image name per line, without extension")
    return names


def _lists_missing(root: Path, split: str, name: str, missing: str) -> ValueError:
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    return ValueError(f"{listed}: names {name!r}, but {root / missing} is missing; add the file or remove the line")


def _shorten(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
