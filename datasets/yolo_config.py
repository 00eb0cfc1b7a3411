"""What a YOLO folder says of itself: data.yaml, or a list of class names. The reader of the data set is yolo.py.

Of YAML the part is read that such files use: keys at the left, each with a text, a list ([a, b] or lines "- a") or a
mapping ({0: a, 1: b} or lines "0: a"), quotes and comments. Other keys may hold anything.
"""

import re
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from .files import files_in, shorten
from .splits import names_of_split
from .text import lines_of, read_lines, read_text

KEY = re.compile(r"""(?P<key>"[^"]*"|'[^']*'|[^\s"'\[{#:][^:]*?)\s*:(?:\s+(?P<value>.*)|)$""")
NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")


class Config(NamedTuple):
    """names: {class index: name}; splits: {split: folders, lists or pictures as written}; base: `path` of the YAML;
    joints, dimensions: of `kpt_shape`, 0 without key points; source: the file, None where there is none.
    """

    names: dict[int, str]
    splits: dict[str, list[str]]
    base: str = ""
    joints: int = 0
    dimensions: int = 0
    mirror: tuple[int, ...] = ()
    source: Path | None = None


def find_config(root: Path) -> Config:
    """The configuration of a folder: of its only .yaml file (or data.yaml, dataset.yaml), or its list of names.

    Raises ValueError where there is none, and for a file of another form.
    """
    files = files_in(root, (".yaml", ".yml"))
    if len(files) > 1:
        files = [path for path in files if path.stem.lower() in ("data", "dataset")][:1]
    if files:
        return read_config(files[0])
    named = [root / name for name in NAME_FILES if (root / name).is_file()] + files_in(root, (".names",))
    if not named:
        there = shorten([path.name for path in files_in(root, (".txt", ".yaml", ".yml"))])
        deeper = sorted((root / "labels").rglob("classes.txt"))
        advice = "write the class names into classes.txt, one a line, in the order of their indices (files there: "
        advice = f"copy {deeper[0]} there" if deeper else f"{advice}{there or 'none'})"
        raise ValueError(f"{root}: has no data.yaml and no classes.txt; {advice}")
    names = [line.strip() for line in read_lines(named[0])]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise ValueError(f"{named[0]}: must hold a class name in every line, the first for the index 0")
    return Config(dict(enumerate(names)), {}, source=named[0])


def read_config(path: str | PathLike) -> Config:
    """The configuration in a .yaml file. ValueError where it has no names, or what it needs is written otherwise."""
    path = Path(path)
    entries = read_yaml(path)
    names = _value(path, entries, "names")
    if isinstance(names, str) or not names:
        raise ValueError(f"{path}: must have the class names, as in names: [cat, dog]")
    names = names if isinstance(names, dict) else {str(i): name for i, name in enumerate(names)}
    if empty := [number for number, name in names.items() if not name.strip()]:
        raise ValueError(f"{path}: names: the class {empty[0]} has an empty name")
    if not all(number.isdecimal() for number in names):
        raise ValueError(f"{path}: names must be a list, or indices with names, got {shorten(list(names))}")
    splits = {}
    for split in ("train", "val", "test"):
        value = next((v for v in (_value(path, entries, name) for name in names_of_split(split)) if v), None)
        if isinstance(value, dict):
            raise ValueError(f"{path}: {split} must be a folder, a list of pictures, or several of them")
        splits |= {split: [value] if isinstance(value, str) else value} if value else {}
    count = _value(path, entries, "nc")
    if isinstance(count, str) and count != str(len(names)):
        raise ValueError(f"{path}: nc is {count}, but there are {len(names)} names ({shorten(list(names.values()))})")
    joints, dimensions = _whole(path, entries, "kpt_shape") or (0, 0)
    base, mirror = _value(path, entries, "path"), _whole(path, entries, "flip_idx")
    return Config(
        {int(number): name for number, name in names.items()},
        splits,
        base if isinstance(base, str) else "",
        joints,
        dimensions,
        tuple(mirror) if len(mirror) == joints else (),
        path,
    )


def read_yaml(path: Path) -> dict[str, tuple[int, str, list[tuple[int, str]]]]:
    """{key: (line number, what follows the colon, the lines below it)} of the keys at the left of a YAML file."""
    entries, last = {}, None
    for number, raw in enumerate(lines_of(read_text(path)), 1):
        line = _without_comment(raw)
        if not line.strip() or line.strip() in ("---", "..."):
            continue
        match = None if line[0] in " \t-]}" else KEY.match(line)
        if match:
            last = _unquoted(match["key"])
            entries[last] = (number, (match["value"] or "").strip(), [])
        elif last is None:
            raise ValueError(
                f"{path}, line {number}: must be a key and a value, as in names: [cat, dog]; got {raw!r:.60}"
            )
        else:
            entries[last][2].append((number, line.strip()))
    return entries


def _value(path, entries, key) -> str | list[str] | dict[str, str] | None:
    """The text, list or mapping under a key; None where it is missing or empty."""
    if key not in entries:
        return None
    number, text, below = entries[key]
    if text[:1] in ("[", "{"):
        flow = " ".join([text, *(line for _, line in below)])
        if flow[-1] != {"[": "]", "{": "}"}[flow[0]]:
            raise ValueError(f"{path}, line {number}: the list of {key!r} has no end")
        parts = _split_commas(flow[1:-1])
        return [_unquoted(part) for part in parts] if flow[0] == "[" else _mapping(path, number, parts)
    if text:
        return None if text in ("~", "null") else _unquoted(text)
    if below and all(line.startswith("-") for _, line in below):
        return [_unquoted(line[1:].strip()) for _, line in below]
    return dict(pair for n, line in below for pair in _mapping(path, n, [line]).items()) or None


def _mapping(path, number, parts) -> dict[str, str]:
    matches = [KEY.match(part) for part in parts]
    if not all(matches):
        raise ValueError(f"{path}, line {number}: must be indices and names, as in 0: cat")
    return {_unquoted(match["key"]): _unquoted((match["value"] or "").strip()) for match in matches}


def _whole(path, entries, key) -> list[int]:
    value = _value(path, entries, key) or []
    if not isinstance(value, list) or not all(part.isdecimal() for part in value):
        raise ValueError(f"{path}: {key} must be a list of whole numbers, got {value!r}")
    return [int(part) for part in value]


def _without_comment(line: str) -> str:
    """The line without what follows a # outside quotes."""
    quote = ""
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (i == 0 or line[i - 1] in " [{,:-\t"):
            quote = character
        elif character == "#" and (i == 0 or line[i - 1] in " \t"):
            return line[:i].rstrip()
    return line.rstrip()


def _split_commas(text: str) -> list[str]:
    """The parts between commas outside quotes; a quote opens at the beginning of a part (not in Rubik's cube)."""
    parts, quote = [""], ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not parts[-1].strip():
            quote = character
        if character == "," and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1].replace('\\"', '"')
    return text
