"""Reader for object detection data in the layout of Pascal VOC.

    root/JPEGImages/000005.jpg       the photographs, of any usual kind
    root/Annotations/000005.xml      size of the photograph; per object: name, difficult, bndbox
    root/ImageSets/Main/train.txt    one image name per line, without extension; so val.txt, test.txt, ...

Reference: Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge", and its development kit.
"""

import math
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from .files import composed, files_below, meant, missing
from .lists import find_all, read_list
from .objects import Annotated, ObjectImages, Thing
from .pictures import pictures
from .progress import reading
from .tar_members import TarMember

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
YES, NO = {"1", "true", "yes"}, {"", "0", "false", "no", "none", "unspecified"}
DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*?\?>""")
NAMESPACE = re.compile(r"^\{[^}]*\}")


class NoObjectError(ValueError):
    """A split holds no object at all."""


class VOCObject(NamedTuple):
    """One <object> of an annotation file, its box as 0-based half-open pixels (x1, y1, x2, y2)."""

    name: str
    difficult: bool
    box: tuple[float, float, float, float]


class VOCDetection(ObjectImages):
    """Photographs with boxes, from a folder in Pascal VOC's layout. Sample: see ObjectImages.

    VOC's corners count from 1 and belong to the box, so they become (xmin - 1, ymin - 1, xmax, ymax); a box with
    xmax <= xmin or ymax <= ymin has no area. An <object> with several <bndbox> is read as so many objects.

    `names` has the names of the images. Raises ValueError as ObjectImages does, and with the path at fault for a
    missing folder, list or file, an empty list, broken XML, and two photographs of one name.
    """

    def __init__(self, root: str | PathLike, split: str = "trainval", classes: Sequence[str] = VOC_CLASSES):
        self.root, self.split, self._several = Path(root), split, []
        entries = _entries(self.root, split)
        self.names = [name for name, _, _ in entries]
        source, records = _list_of(self.root, split), map(self._record, entries)
        super().__init__(source, records, classes, least=1.0, total=len(entries))
        if self._several:
            n = sum(count for _, count in self._several)
            note = f"{n} objects have several <bndbox>, each of which is read as an object"
            self.problems.insert(0, f"{self.source}: {note} (first in {self._several[0][0]})")

    def _record(self, entry: tuple[str, Path, Path]) -> Annotated:
        record, several = annotated(*entry)
        if several:
            self._several.append((entry[2], several))
        return record


def annotated(name: str, picture: Path | TarMember, path: Path | TarMember) -> tuple[Annotated, int]:
    """What the annotation at a path says of a picture, and how many of its <object> have several <bndbox>."""
    stated, objects, several = _read(path)
    things = [Thing(each.name, each.box, _corners(each.box), each.difficult) for each in objects]
    return Annotated(name, picture, str(path), things, stated), several


def find_classes(root: str | PathLike, split: str = "trainval") -> tuple[str, ...]:
    """The class names that occur in the annotations of one list, sorted: `classes` for a folder of one's own.

    Raises ValueError as VOCDetection does, and NoObjectError, a ValueError, where there is no object.
    """
    root = Path(root)
    paths = [path for _, _, path in _entries(root, split)]
    names = {each.name for path in reading(paths, what="classes") for each in read_annotation(path)[1]}
    if not names:
        raise NoObjectError(f"{root}: the annotations of {split!r} hold no object at all; draw boxes before training")
    return tuple(sorted(names))


def read_annotation(path: str | PathLike) -> tuple[tuple[int, int] | None, list[VOCObject]]:
    """((height, width) or None where the file does not state them, objects) of one VOC annotation file.

    Boxes are returned as they stand (only moved to 0-based half-open corners), even if they are impossible.
    Raises ValueError with the path if the file is not XML, or a value is missing or not a number.
    """
    return _read(path)[:2]


def _read(path):
    """Size and objects as of read_annotation, and how many <object> have several <bndbox>."""
    root = _parse(path)
    if root.tag != "annotation":
        raise ValueError(f"{path}: not a VOC annotation: its root is <{root.tag}>, should be <annotation>")
    width, height = (int(_number(path, root, f"size/{side}", default=0)) for side in ("width", "height"))
    objects, several = [], 0
    for number, element in enumerate(root.findall("object"), start=1):
        name = composed((element.findtext("name") or "").strip())
        if not name:
            raise ValueError(f"{path}: object {number} has no <name>; give it one")
        difficult, boxes = _is_difficult(path, element), element.findall("bndbox")
        several += len(boxes) > 1
        if not boxes:
            shapes = [each.tag for each in element if len(each) and each.tag != "part"]
            instead = f"; it has <{shapes[0]}>: draw a box around it" if shapes else "; draw a box, or remove it"
            raise ValueError(f"{path}: object {number}, {name}, has no <bndbox>{instead}")
        for box in boxes:
            x1, y1, x2, y2 = (_number(path, box, key, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
            objects.append(VOCObject(name, difficult, (x1 - 1, y1 - 1, x2, y2)))
    return (height, width) if height and width else None, objects, several  # some tools write 0 for "unknown"


def _parse(path: str | PathLike) -> ElementTree.Element:
    """The root of an XML file; names of elements without namespaces."""
    path = path if isinstance(path, TarMember) else Path(path)
    if isinstance(path, Path) and not path.is_file():
        raise missing(path, "annotation")
    content = path.read_bytes().lstrip(b" \t\r\n")  # nothing may stand before <?xml
    try:
        root = ElementTree.fromstring(_as_utf8(content))
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter two: unknown encodings
        raise ValueError(f"{path}: not readable as XML ({error}); correct it, and save it as UTF-8") from error
    for element in root.iter() if root.tag.startswith("{") else ():
        element.tag = NAMESPACE.sub("", element.tag)
    return root


def _as_utf8(content: bytes) -> bytes:
    """XML in an encoding that the parser does not know (GB2312, GBK, Big5, Shift-JIS, ...) as UTF-8."""
    declared = DECLARED.match(content)
    if declared is None or declared[1].lower() in (b"utf-8", b"utf-16", b"us-ascii", b"iso-8859-1"):
        return content
    encoding = declared[1].decode("ascii").lower()
    wider = {"gb2312": "gb18030", "gbk": "gb18030"}.get(encoding, encoding)  # files hold more than they declare
    return content[declared.end() :].decode(wider).encode()


def _is_difficult(path, element) -> bool:
    """The flag <difficult>: a number or a word."""
    text = element.findtext("difficult", default="").strip()
    if text.lower() in YES | NO:
        return text.lower() in YES
    return _number(path, element, "difficult") != 0


def _number(path, element, key, shown=None, default=None) -> float:
    """The number in an element; `default`, if there is one, where it is missing or empty."""
    text = None if element is None else element.findtext(key)
    if default is not None and not (text or "").strip():
        return default
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}: <{shown or key}> must be a number, got {text!r}; correct the file")
    return value


def _corners(box: Sequence[float]) -> str:
    """A box as it stands in the annotation file, so that one can search for it there."""
    return f"({box[0] + 1:g}, {box[1] + 1:g}, {box[2]:g}, {box[3]:g})"


def _list_of(root: Path, split: str) -> Path:
    return root / "ImageSets" / "Main" / f"{split}.txt"


def _entries(root: Path, split: str) -> list[tuple[str, Path, Path]]:
    """(name, photograph, annotation file) of each line of a list."""
    _check_folders(root)
    photographs, listed = root / "JPEGImages", _list_of(root, split)
    found = pictures(photographs)
    annotations = {name[:-4]: path for name, path in files_below(root / "Annotations", (".xml",))}
    entries = []
    for (name,) in find_all(read_list(listed, root), (photographs, found)):
        if not annotations:
            raise ValueError(f"{root / 'Annotations'}: holds no .xml file; add one for each photograph")
        if name not in annotations:
            error = missing(root / "Annotations" / f"{name}.xml", "annotation", "add it, or remove the line", root)
            raise ValueError(f"{listed}: names {name!r}, but {error}")
        entries.append((name, found[name], annotations[name]))
    return entries


def _check_folders(root: Path):
    """ValueError unless the folder has VOC's three parts."""
    if not root.is_dir():
        raise missing(root, "folder", "give the one that holds JPEGImages and Annotations")
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        if not (root / part).is_dir():
            inner = sorted(path.parent for depth in ("*", "*/*") for path in root.glob(f"{depth}/JPEGImages"))
            advice = meant(root / part, "a folder of VOC has JPEGImages, Annotations and ImageSets", root)
            advice = f"did you mean {inner[0]}?" if inner else advice
            raise ValueError(f"{root}: has no folder {part}; {advice}")
