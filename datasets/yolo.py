"""Reader for boxes, polygons and key points in text files, the form of Darknet and its successors.

    root/data.yaml                 names: [cat, dog], train: images/train, val: images/val; or names in classes.txt
    root/images/train/a.jpg        or root/train/images/a.jpg, or all in root/images, or where train.txt says
    root/labels/train/a.txt        beside "images"; or beside the picture

A line is an object: `class cx cy w h`, the middle and the size of its box, or `class x1 y1 x2 y2 x3 y3 ...`, a polygon;
all in fractions of the picture's width and height. With `kpt_shape: [J, 3]` in data.yaml the box is followed by x y v
of each key point. A picture without a text file has no objects.
"""

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from .classes import chosen
from .files import files_below, is_empty, meant, missing, shorten
from .header_index import HeaderIndex
from .objects import Annotated, ObjectImages, Thing
from .progress import reading
from .splits import canonical
from .text import read_lines
from .yolo_config import Config, find_config, read_config
from .yolo_layout import label_file, label_places, pictures_of, without_pictures

PIXELS = 1.5  # a value above is no fraction but in pixels
ROUNDING = 1e-6  # in fractions: files have six decimals, of a box that was drawn in whole pixels


class YOLODetection(ObjectImages):
    """Photographs with objects, from a folder of pictures and one of text files. Sample: see ObjectImages.

    A coordinate that is within the rounding of six decimals of a whole pixel is taken as that. masks (K, H, W) are
    there where all objects are polygons, key points where data.yaml has `kpt_shape`.

    root: the folder, or its .yaml file. split: that of data.yaml, or the folder images/SPLIT or SPLIT/images, or the
    list SPLIT.txt; where there are none of them, every fifth picture is "val" and the others "train". classes: names
    in the order of their labels (default: as data.yaml or classes.txt has them); objects of others are left out, their
    pictures stay. absent: some classes, those of another split or of a model, may have no index here.

    Raises ValueError as ObjectImages does, and for a folder, list or names that are missing, a line that is neither
    a box nor a polygon, a class index without a name, and where no picture has a text file.
    """

    def __init__(
        self,
        root: str | PathLike,
        split: str = "train",
        classes: Sequence[str] | None = None,
        *,
        masks: bool = True,
        absent: bool = False,
    ):
        self.root, self.split = Path(root), split
        if self.root.suffix.lower() in (".yaml", ".yml") and self.root.is_file():
            self.root, self.config = self.root.parent, read_config(self.root)
        elif not self.root.is_dir():
            raise missing(root, "folder", "give the one that holds images and labels")
        else:
            self.config = find_config(self.root)
        classes = chosen(self.config.source, "class", list(self.config.names.values()), classes, absent)
        notes, found = pictures_of(self.root, canonical(split), self.config)
        texts = {name.casefold(): path for name, path in files_below(self.root, (".txt",))}
        labels = {name: label_file(name, texts) for name in found}
        self._refuse_no_labels(found, labels)
        self._repeated = 0
        rows = {name: self._read_rows(file) for name, file in reading(labels.items(), len(labels), "labels") if file}
        kept = [row for name in rows for row in rows[name] if self.config.names[row[1]] in classes]
        polygons = sum(len(values) > 4 for _, _, values in kept) if not self.config.joints else 0
        extras = ["masks"] if masks and kept and polygons == len(kept) else []
        headers = HeaderIndex(next(iter(found.values())).parent).read(list(found.values())) if found else []
        records = [
            self._record(name, path, header, labels[name], rows.get(name, []), classes)
            for (name, path), header in zip(found.items(), headers)
        ]
        super().__init__(self.root, records, classes, extras, self.config.joints)
        self.horizontal_order = self.config.mirror
        notes += without_pictures(self.root, labels, texts)
        bare = sum(file is None for file in labels.values())
        notes += [f"{bare} of {len(found)} pictures have no text file, and so no objects"] if bare else []
        notes += [f"{self._repeated} lines repeat another of the same file and are left out"] if self._repeated else []
        if 0 < polygons < len(kept):
            notes.append(f"{polygons} of {len(kept)} objects are polygons, the others boxes: no masks are made")
        notes += self._implausible(kept)
        self.problems = [f"{self.root}: {note}" for note in notes] + self.problems

    def _implausible(self, rows: list[tuple[int, int, list[float]]]) -> list[str]:
        """Lines about class indices that may count from 1, and boxes that may be x1 y1 x2 y2."""
        used, first, notes = {number for _, number, _ in rows}, min(self.config.names), []
        if used and first == 0 not in used and len(self.config.names) > len(used):
            first_name = self.config.names[0]
            notes.append(f"no object has the class 0, {first_name}; do the lines count the classes from 1?")
        boxes = np.array([values for _, _, values in rows if len(values) == 4]).reshape(-1, 4)
        centre, size = boxes[:, :2], boxes[:, 2:]
        beyond = ((centre - size / 2 < -0.01) | (centre + size / 2 > 1.01)).any(axis=1)
        if len(boxes) > 1 and beyond.mean() > 0.5 and (size > centre).all():
            notes.append("most boxes reach out of their images; all would fit as x1 y1 x2 y2, but YOLO has cx cy w h")
        return notes

    def _record(self, name, path, header, label, rows, classes) -> Annotated:
        if header is None:
            return Annotated(name, path, str(label or path), [])
        things = [
            self._thing(class_name, values, header.width, header.height)
            for _, number, values in rows
            if (class_name := self.config.names[number]) in classes
        ]
        return Annotated(name, path, str(label or path), things)

    def _thing(self, name: str, values: list[float], w: int, h: int) -> Thing:
        """The object of a line, in pixels."""
        shown = " ".join(f"{value:g}" for value in values[:4]) + (" ..." if len(values) > 4 else "")
        fractions = values[:4] if self.config.joints else values
        doubt = "looks like pixels, where fractions of the image are wanted: dropped" if max(fractions) > PIXELS else ""
        shape, points = None, None
        if len(values) == 4 or self.config.joints:
            cx, cy, width, height = values[:4]
            corners = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
            if self.config.joints:
                points = _key_points(values[4:], self.config, w, h)
        else:
            x, y = np.array(values).reshape(-1, 2).T
            corners = x.min(), y.min(), x.max(), y.max()
            shape = [np.stack([x * w, y * h], axis=1).ravel().tolist()]
        box = tuple(whole(float(corner) * side, side) for corner, side in zip(corners, (w, h, w, h)))
        return Thing(name, box, f"({shown})", shape=shape, keypoints=points, doubt=doubt)

    def _read_rows(self, file: Path) -> list[tuple[int, int, list[float]]]:
        """[(line, class index, values)] of a text file, each line once."""
        rows, seen = [], set()
        for number, line in enumerate(read_lines(file), 1):
            if not line.strip():
                continue
            if tuple(line.split()) in seen:
                self._repeated += 1
                continue
            seen.add(tuple(line.split()))
            try:
                first, *values = map(float, line.split())
            except ValueError:
                wanted = "must hold numbers with spaces between them, the first a class index"
                raise ValueError(f"{file}, line {number}: {wanted}, got {line!r:.60}") from None
            self._check_row(f"{file}, line {number}", line, first, values)
            rows.append((number, int(first), values))
        return rows

    def _check_row(self, where, line, first, values):
        joints, dimensions = self.config.joints, self.config.dimensions
        if joints:
            right, wanted = (
                len(values) == 4 + joints * dimensions,
                f"class cx cy w h and {joints} x {dimensions} values",
            )
        else:
            right = len(values) == 4 or (len(values) >= 6 and len(values) % 2 == 0)
            wanted = "class cx cy w h, or class and three or more corners x y"
        if not right or not all(map(math.isfinite, [first, *values])):
            score = "; is the last one a score? remove it" if len(values) == 5 and not joints else ""
            raise ValueError(f"{where}: must be {wanted}, got {len(values) + 1} values: {line!r:.60}{score}")
        if first != int(first) or int(first) not in self.config.names:
            known = shorten([f"{number} {name}" for number, name in self.config.names.items()])
            hint = "; indices count from 0" if first == max(self.config.names) + 1 else ""
            raise ValueError(f"{where}: {self.config.source} has no class {first:g}, only {known}{hint}")

    def _refuse_no_labels(self, found, labels):
        if any(labels.values()):
            return
        name = next(iter(found))
        wanted = self.root / label_places(name)[0]
        advice = "add the text files"
        if is_empty(wanted.parent, (".txt",)) or not wanted.parent.is_dir():
            advice += f"; the folder {wanted.parent} {'is empty' if wanted.parent.is_dir() else 'is not there'}"
        advice = meant(wanted, advice, self.root, picture=False)
        raise ValueError(f"{self.root}: none of {len(found)} pictures has a text file such as {wanted}; {advice}")


def whole(value: float, side: int) -> float:
    """The whole pixel next to the value if the rounding of six decimals explains the difference; else the value."""
    nearest = math.floor(value + 0.5)
    return float(nearest) if abs(value - nearest) <= ROUNDING * side else value


def _key_points(values, config: Config, w, h) -> np.ndarray:
    """(J, 3) x, y, v in pixels. Without v in the file, a point at (0, 0) is absent, another visible."""
    points = np.array(values).reshape(config.joints, config.dimensions)
    seen = points[:, 2] if config.dimensions > 2 else 2.0 * points.any(axis=1)
    full = np.stack([points[:, 0] * w, points[:, 1] * h, seen], axis=1)
    full[seen == 0] = 0
    return full
