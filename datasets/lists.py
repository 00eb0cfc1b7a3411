"""Lists of pictures: text files with a line for each, as all readers take them.

    street 1                                     a name, with spaces, dots and folders if it has any
    street 1.jpg, images/street 1.jpg            the file, with its folder if wanted
    images/street 1.jpg labels/street 1.png      the picture and its label picture, whatever their names
    000012 -1                                    VOC's lists of a class: the flag is left out
    0--Parade/a, 0--Parade\\a                     folders, parted by slashes of either kind
    /SegNet/CamVid/train/a.png                   as the folder lay on another machine

A line is looked up among the files that a folder holds and never followed: what leads out of the folder is refused.
"""

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from .files import PICTURES, is_absolute, is_empty, is_there, meant, missing, relative_parts, shorten
from .pictures import without_ending
from .text import read_lines

_ENDING = "|".join(re.escape(suffix) for suffix in PICTURES)
FILE = re.compile(rf"\s*(.+?(?:{_ENDING}))(?=\s|$)", re.IGNORECASE)
FLAG = re.compile(r"(.*\S)\s+[-+]?[01]")  # of VOC's lists of a class, in every line of them

Line = tuple[str, str]  # (where it stands, for messages; its text)
Found = tuple[Path, Mapping[str, Path]]  # a folder and {name: file} of what it holds, see pictures.pictures


def read_list(path: str | PathLike, root: Path | None = None) -> list[Line]:
    """The lines of a list that are not empty, each text once: [("PATH, line 3", "street 1.jpg")].

    root: where near matches are looked for. Raises ValueError naming the list where it is missing, empty or no text.
    """
    path = Path(path)
    if not path.is_file():
        there = sorted(each.name for each in path.parent.glob("*.txt"))
        raise missing(path, "list", f"text files in this folder: {shorten(there) or 'none'}", root)
    lines = {}
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            lines.setdefault(line.strip(), f"{path}, line {number}")
    if not lines:
        raise ValueError(f"{path}: the list is empty; write a name a line, without ending")
    return [(where, line) for line, where in lines.items()]


def split_line(line: str) -> tuple[str, ...]:
    """The files in a line. A file ends where the ending of a picture does, so names may hold spaces."""
    files, at = [], 0
    while match := FILE.match(line, at):
        files.append(match[1])
        at = match.end()
    rest = line[at:].strip()
    return (*files, rest) if rest else tuple(files)


def look_up(text: str, folder: Path, found: Mapping[str, Path]) -> str | None:
    """The name in `found`, the files of a folder, that a list means by a name or a file; None where there is none.

    Of a path that begins outside the folder (images/a.jpg, for the folder images) the rest is looked up. Raises
    ValueError for what leads out of the folder.
    """
    text = text.replace("\\", "/")
    moved = is_absolute(text) and not is_there(Path(text))
    parts = [part for part in text.split("/") if part] if moved else relative_parts(text, folder)
    for i in range(len(parts)):
        tail = "/".join(parts[i:])
        name = next((name for name in (tail, without_ending(tail)) if name in found), None)
        if name and (i == 0 or moved or parts[i - 1].lower() == folder.name.lower()):
            return name
    return None


def names_of(line: str, *folders: Found, flagged: bool = False) -> list[tuple[str, str | None]]:
    """(text, name) for each folder: what the line has for it, the same for all or a file for each, and the name that
    this is among the files of the folder, None where it is none of them. flagged: the line ends in a flag.
    """
    (folder, found), *others = folders
    for text in (line, FLAG.fullmatch(line)[1]) if flagged else (line,):
        if (name := look_up(text, folder, found)) is not None:
            return [(name, name), *((name, name if name in each else None) for _, each in others)]
    files = split_line(line)
    if len(files) < len(folders) or len(files) == 1:
        return [(line, None)] * len(folders)
    return [(file, look_up(file, *each)) for file, each in zip(files, folders)]


def find_all(lines: Sequence[Line], *folders: Found) -> list[tuple[str, ...]]:
    """The names that each line of a list gives for each folder.

    Raises ValueError for the first that is not there, with its near matches, and for what leads out of a folder.
    """
    names, lost, flagged = {}, [[] for _ in folders], all(FLAG.fullmatch(line) for _, line in lines)
    for where, line in lines:
        try:
            given = names_of(line, *folders, flagged=flagged)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        names.setdefault(tuple(name for _, name in given))
        for each, (text, name) in zip(lost, given):
            each += [(where, text)] if name is None else []
    for (folder, _), each in zip(folders, lost):
        if each:
            raise not_held(folder, each, alone=len(folders) == 1)
    return list(names)


def not_held(folder: Path, lost: Sequence[Line], alone: bool = False, remedy: str = "remove the line") -> ValueError:
    """The error for names (where, name) that a list has and the folder has not.

    alone: pictures of that name elsewhere are no other folder's half of a pair, so they may be meant.
    """
    (where, name), more = lost[0], f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    empty = "; the folder is empty" if is_empty(folder, PICTURES) else ""
    advice = f"add the picture, or {remedy}{empty}"
    advice = meant(folder / name, advice, folder.parent if alone else folder, picture=True)
    return ValueError(f"{folder}: holds no picture {name}{more}, named by {where}; {advice}")
