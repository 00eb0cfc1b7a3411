"""Class lists: which value or colour of a label picture means which class.

As text, a class per line: its name, then nothing, a value, or a colour; or as JSON:

    sky                 sky 4               sky 128 128 128         {"sky": [128, 128, 128],
    road                road 7              road 128 64 128          "car": [[64, 0, 128], [64, 128, 192]],
    unlabelled          ignore 255          void 0 0 0               "void": [0, 0, 0]}

Without values the lines count from 0. A name may come several times: all its values are one class. Values named
ignore, void or unlabelled are read as label -1, which does not count.
"""

import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .files import composed
from .palette import read_values
from .pictures import BAND
from .text import lines_of, read_text

IGNORED = ("ignore", "void", "unlabelled")
NONE = 1 << 15  # its negative stands for a value in no class


class LabelMap(NamedTuple):
    """classes: names in the order of their labels; labels: value in a picture -> label, -1 for what does not count.

    colours: the values are colours, as 65536 red + 256 green + blue.
    """

    classes: tuple[str, ...]
    labels: dict[int, int]
    colours: bool = False

    def read(self, path: str | PathLike) -> np.ndarray:
        """The labels (H, W) int64 of a label picture. ValueError naming the values that are in no class."""
        return self.look_up(path).astype(np.int64)

    def look_up(self, path: str | PathLike) -> np.ndarray:
        """The same in a small dtype: a table has the label of each value."""
        values = read_values(path, self.colours)
        labels, find = np.empty(values.shape, np.int16 if len(self.classes) < NONE else np.int32), self._table(values)
        height = max(1, BAND // values.shape[1])
        for top in range(0, len(values), height):
            labels[top : top + height] = find(values[top : top + height])
        strange = values[labels == -NONE]
        if strange.size:
            raise ValueError(f"{path}: {self._strange(strange)}")
        return labels

    def _table(self, values):
        """The function from values to labels, -NONE for those in no class."""
        known = np.array(sorted(self.labels))
        labels = np.array([self.labels[value] for value in known.tolist()])
        if values.dtype.itemsize <= 2:
            table = np.full(1 << 8 * values.dtype.itemsize, -NONE)
            fits = known < len(table)
            table[known[fits]] = labels[fits]
            return table.__getitem__

        def find(band):
            index = np.minimum(np.searchsorted(known, band), len(known) - 1)
            return np.where(known[index] == band, labels[index], -NONE)

        return find

    def _strange(self, values):
        """What is wrong with the values, the most frequent named, and what to do."""
        which, pixels = np.unique(values, return_counts=True)
        order = np.argsort(-pixels, kind="stable")[:3]
        shown = ", ".join(f"{self.shown(which[i].item())} ({pixels[i]} pixels)" for i in order)
        kind, more = ("colour", "colours") if self.colours else ("value", "values")
        known = ", ".join(f"{name} {self.shown(value)}" for value, name in list(self._named())[:12])
        return (
            f"{len(which)} {kind if len(which) == 1 else more} outside the class list: {shown}; the list has {known}"
            f"{', ...' if len(self.labels) > 12 else ''}; add what is missing, or name it {IGNORED[0]} to leave it out"
        )

    def _named(self):
        return ((value, IGNORED[0] if label < 0 else self.classes[label]) for value, label in self.labels.items())

    def shown(self, value: int) -> str:
        """A value as it stands in a class list."""
        return f"{value >> 16} {value >> 8 & 255} {value & 255}" if self.colours else str(value)

    def renumbered(self, classes: Sequence[str] | None) -> "LabelMap":
        """The same with labels in the order of `classes`, which may hold more.

        Raises ValueError if one is not among them, or one of them comes twice.
        """
        if not classes:
            return self
        _check_once(classes)
        if unknown := [name for name in self.classes if name not in classes]:
            raise ValueError(f"the class list has {unknown[0]!r}, which is not among the classes {', '.join(classes)}")
        labels = {value: -1 if k < 0 else classes.index(self.classes[k]) for value, k in self.labels.items()}
        return LabelMap(tuple(classes), labels, self.colours)


def numbered(classes: Iterable[str], ignore: Iterable[int] = ()) -> LabelMap:
    """The k-th class has the value k; those of `ignore` do not count. ValueError for a name that comes twice."""
    classes = tuple(classes)
    _check_once(classes)
    return LabelMap(classes, {k: k for k in range(len(classes))} | dict.fromkeys(ignore, -1))


def _check_once(classes):
    if twice := [name for i, name in enumerate(classes) if name in classes[:i]]:
        raise ValueError(f"the classes {', '.join(classes)} have {twice[0]!r} twice; give each name once")


def read_label_map(path: str | PathLike) -> LabelMap:
    """The class list in a file, text or JSON. ValueError naming the file, and what is wrong."""
    path = Path(path)
    text = read_text(path)
    try:
        return _joined(list(_from_json(text) if path.suffix.lower() == ".json" else _from_text(text)))
    except RecursionError as error:
        raise ValueError(f"{path}: is nested too deeply for a class list") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _from_text(text):
    """(name, [values]) of each line: none, one, or three for a colour."""
    for line in filter(str.strip, lines_of(text)):
        words, values = line.split(), []
        if "," in line or words[0].isdecimal():
            raise ValueError(f"{line.strip()!r} must be a name, then its value or colour if there is one, no commas")
        while len(words) > 1 and len(values) < 3 and words[-1].isdecimal():
            values.insert(0, int(words.pop()))
        yield " ".join(words), values


def _from_json(text):
    """(name, [values]) of each value of an object."""
    content = json.loads(text, object_pairs_hook=_without_repetition)
    if not isinstance(content, dict):
        raise ValueError('must hold an object, {"name": value or [red, green, blue], ...}')
    for name, value in content.items():
        several = isinstance(value, list) and value and isinstance(value[0], list)
        for each in value if several else [value]:
            yield composed(name), each if isinstance(each, list) else [each]


def _without_repetition(items):
    """The dict of the items of a JSON object; ValueError for a name that comes twice, of which json keeps the last."""
    names = [name for name, _ in items]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]!r} comes twice; give one name a list of values")
    return dict(items)


def _joined(entries):
    """The LabelMap of (name, [values]), each with no value, with one, or with three."""
    if not entries:
        raise ValueError("the class list is empty; write a class per line")
    lengths = {len(values) for _, values in entries}
    if len(lengths) > 1 or not lengths <= {0, 1, 3}:
        raise ValueError("all classes need a value, or all a colour of three values, or none has any")
    colours, classes, labels = lengths == {3}, [], {}
    for line, (name, values) in enumerate(entries):
        if not all(type(n) is int and 0 <= n <= (255 if colours else 65535) for n in values):
            raise ValueError(f"{name}: {values} must be whole numbers, a colour's from 0 to 255")
        value = values[0] * 65536 + values[1] * 256 + values[2] if colours else (values or [line])[0]
        if value in labels:
            raise ValueError(f"{name}: its value {' '.join(map(str, values))} is another class's already")
        if name.lower() not in IGNORED and name not in classes:
            classes.append(name)
        labels[value] = -1 if name.lower() in IGNORED else classes.index(name)
    if not classes:
        raise ValueError(f"names no class that counts, only {', '.join(sorted({name for name, _ in entries}))}")
    if len(classes) == 1 and list(labels.values()).count(0) > 1:
        name = f"{classes[0]!r}, as digits at the end are a value: write {classes[0]}_1"
        raise ValueError(f"all lines are one class, {name}, {classes[0]}_2 and so on if they are several")
    return LabelMap(tuple(classes), labels, colours)
