"""Files and folders: what counts as hidden, what a folder holds, and the near matches of a file that is missing.

Names are compared in NFC, the composed Unicode form: macOS writes "é" as two code points, other systems as one.
"""

import difflib
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")  # in any case
UNREAD = (".heic", ".heif", ".avif", ".jfif", ".jp2", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw", ".npy")
HIDDEN = {"thumbs.db", "desktop.ini", "__macosx"}  # beside all names that begin with a dot
ENDINGS = re.compile(
    r"(\.(jpe?g|png|bmp|tiff?|webp|gif|txt|xml|json|csv|tsv|ya?ml|names|gz|zip|npz))+$", re.IGNORECASE
)  # several at once, as in train.txt.txt
MOST_SEARCHED = 20_000  # entries that a search for near matches looks at
MOST_NAMED = 3  # near matches in a message
ALIKE = 0.8  # share of the letters that a misspelt name has in common with what is there


def composed(text: str) -> str:
    """The text in NFC: "e" and a combining accent become "é"."""
    return unicodedata.normalize("NFC", text)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's own: .DS_Store, ._a.jpg (of a Mac's archive), Thumbs.db, __MACOSX."""
    return name.startswith(".") or name.lower() in HIDDEN


def files_below(folder: str | PathLike, suffixes: Sequence[str] | None = None) -> Iterator[tuple[str, Path]]:
    """(relative name in NFC with forward slashes, path) of each file below a folder, in order of the names.

    suffixes: endings in lower case that are wanted, in any case in the files; None: all. Hidden ones are left out.
    """
    return ((name, Path(path)) for name, path in names_below(folder, suffixes))


def names_below(folder: str | PathLike, suffixes: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """The same with paths as text, which take a quarter of the time to make: for millions of files."""
    found, folder, endings = [], str(folder), tuple(suffixes or ("",))
    for inner, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not is_hidden(name)]
        if os.path.islink(inner) and os.path.realpath(os.path.dirname(inner)).startswith(os.path.realpath(inner)):
            folders[:] = []  # a link to a folder around it has no end
            continue
        relative = os.path.relpath(inner, folder).replace(os.sep, "/")
        prefix, above = "" if relative == "." else f"{relative}/", os.path.join(inner, "")
        wanted = [name for name in names if name.lower().endswith(endings) and not is_hidden(name)]
        found += [(composed(f"{prefix}{name}"), f"{above}{name}") for name in wanted]
    return sorted(found)


def files_in(folder: str | PathLike, suffixes: Sequence[str]) -> list[Path]:
    """The files directly in a folder with one of the endings (lower case; any case in the files), in order."""
    inside = sorted(Path(folder).iterdir(), key=lambda path: composed(path.name))
    return [path for path in inside if path.suffix.lower() in suffixes and not is_hidden(path.name)]


def is_there(path: Path) -> bool:
    """Whether the path is a file; a name that the system cannot hold is none."""
    return os.path.isfile(path)  # Path.is_file raises for a name that is too long


def relative_parts(name: str, root: Path) -> tuple[str, ...]:
    """The folders and the name in a relative or absolute path, as they follow below root.

    Backslashes part folders as slashes do. Raises ValueError where the path leads out of root.
    """
    text = name.replace("\\", "/")
    if is_absolute(text):
        for base in (root.absolute(), root.resolve()):
            if text.startswith(f"{base.as_posix().rstrip('/')}/"):
                text = text[len(base.as_posix().rstrip("/")) + 1 :]
                break
        else:
            raise ValueError(f"{name!r} is an absolute path outside {root}; write the names as they are inside it")
    text = posixpath.normpath(text)
    if text == ".." or text.startswith("../"):
        raise ValueError(f"{name!r} leads out of {root}; move the file into this folder, and write its name")
    return tuple(part for part in text.split("/") if part not in ("", "."))


def is_absolute(text: str) -> bool:
    """Whether a path with forward slashes is absolute, here or on Windows."""
    return text.startswith("/") or re.match(r"[A-Za-z]:/", text) is not None


class Folder:
    """A folder whose files are found by their relative names. Names are compared in NFC.

    what: what it holds, for the message. Raises ValueError where there is no such folder.
    """

    def __init__(self, path: str | PathLike, what: str = "the images"):
        self.path, self._by_name = Path(path), None
        if not self.path.is_dir():
            raise missing(self.path, "folder", f"give the one that holds {what}")

    def get(self, name: str) -> Path | None:
        """The path of a file, None where there is none. ValueError for a name that leads out of the folder.

        Of an absolute path on another machine the end is looked up, and of "images/a.jpg" in the folder images "a.jpg".
        """
        text = name.replace("\\", "/")
        moved = is_absolute(text) and not is_there(Path(text))
        parts = tuple(part for part in text.split("/") if part) if moved else relative_parts(name, self.path)
        path = self.path.joinpath(*parts)
        if not moved and is_there(path):
            return path
        if self._by_name is None:
            self._by_name = dict(files_below(self.path))
        ends = range(len(parts) if moved else 1 + (parts[:1] == (self.path.name,)))
        tails = (composed("/".join(parts[i:])) for i in ends)
        return next((self._by_name[tail] for tail in tails if tail in self._by_name), None)

    def find(self, name: str, what: str = "image file") -> Path:
        """The path of a file. ValueError where it is missing, with its near matches, and as `get`."""
        found = self.get(name)
        if found is None:
            raise missing(self.path.joinpath(*relative_parts(name, self.path)), what, "check the name", self.path)
        return found


def missing(path: str | PathLike, what: str = "file", advice: str = "check the path", root: Path | None = None):
    """The ValueError for a file or folder that is not there: it names the near matches, or gives the advice."""
    if os.path.exists(path):
        kind = "folder" if os.path.isdir(path) else "file" if os.path.isfile(path) else "pipe or device"
        return ValueError(f"{path}: is a {kind}, no {what}; {advice}")
    if os.path.islink(path):
        return ValueError(f"{path}: is a link to {os.readlink(path)}, which is not there; copy the {what} itself")
    path = Path(path)
    if not path.parent.is_dir():
        above = next(each for each in reversed(path.parents) if not each.is_dir())
        advice = f"{advice}; there is no folder {above} either"
    elif what == "folder" and (beside := sorted(each.name for each in _entries(path.parent) if each.is_dir())):
        advice = f"{advice}; folders in {path.parent}: {shorten(beside, 8)}"
    return ValueError(f"{path}: there is no such {what}; {meant(path, advice, root)}")


def is_empty(folder: Path, suffixes: Sequence[str]) -> bool:
    """Whether a folder is there, and holds no file with one of the endings."""
    return folder.is_dir() and next(files_below(folder, suffixes), None) is None


def meant(path: str | PathLike, advice: str, root: Path | None = None, picture: bool | None = None) -> str:
    """The question whether a near match of the path is meant, or the advice where there is none."""
    near = [f"{found} ({difference(Path(path), found)})" for found in near_matches(path, root, picture)]
    return f"did you mean {' or '.join(near)}?" if near else advice


def near_matches(path: str | PathLike, root: Path | None = None, picture: bool | None = None) -> list[Path]:
    """What the user may have meant by a path that is not there: the same name with another ending, in another case or
    Unicode form, with other separators, or in another folder below root (default: the nearest folder that is there);
    where there is none, a name beside it that is a letter or two away.

    picture: whether pictures are wanted, or other files (default: what the ending says).
    """
    path = Path(path)
    above = next((each for each in path.parents if os.path.isdir(each)), None)
    if above is None or path.name in ("", ".", ".."):
        return []
    if picture is None and ENDINGS.search(path.name):
        picture = path.suffix.lower() in PICTURES

    def matches(each):
        kind = picture is None or (each.suffix.lower() in PICTURES) == picture
        return kind and each != path and _key(each.name) == _key(path.name)

    found = list(filter(matches, _entries(path.parent)))
    base = root if root and root.is_dir() else above
    if not found and base not in (Path(base.anchor), Path.home()):  # not the whole disk
        found = list(filter(matches, _walk(base)))
    if not found:
        kinds = [
            each for each in _entries(path.parent) if picture is None or (each.suffix.lower() in PICTURES) == picture
        ]
        found = [each for each in kinds if each != path and _is_misspelt(_key(each.name), _key(path.name))]
    return sorted(found)[:MOST_NAMED]


def difference(wanted: Path, found: Path) -> str:
    """In what the two paths differ, in words."""
    if wanted.parent != found.parent:
        return "in another folder"
    (name, ending), (other, other_ending) = (_parts(composed(path.name)) for path in (wanted, found))
    if (name, ending) == (other, other_ending):
        return "in another Unicode form"
    if ending and ending.lower() != other_ending.lower():
        return "with another ending"
    return "in another case" if name.casefold() == other.casefold() else "in another spelling"


def shorten(names: Sequence[str], most: int = 20) -> str:
    """The names with commas between them, `most` of them."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _parts(name: str) -> tuple[str, str]:
    """The name without its endings, and these."""
    stem = ENDINGS.sub("", name)
    return stem, name[len(stem) :]


def _key(name: str) -> str:
    """What near matches have in common: the name without endings, case, Unicode form and separators."""
    return re.sub(r"[\s_.\-]+", " ", _parts(composed(name).casefold())[0]).strip()


def _is_misspelt(name: str, other: str) -> bool:
    """Whether the letters of two names nearly agree, and the digits do: a1 is not meant by a2."""
    same_digits = re.findall(r"\d+", name) == re.findall(r"\d+", other)
    transposed = len(name) > 3 and sorted(name) == sorted(other)
    return same_digits and (transposed or difflib.SequenceMatcher(None, name, other).ratio() >= ALIKE)


def _entries(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.iterdir() if not is_hidden(each.name)]
    except OSError:
        return []


def _walk(base: Path) -> Iterator[Path]:
    """Files and folders below base, the nearest first, MOST_SEARCHED at most."""
    waiting, count = [base], 0
    while waiting and count < MOST_SEARCHED:
        entries = _entries(waiting.pop(0))
        count += len(entries)
        yield from entries
        waiting += [each for each in entries if each.is_dir() and not each.is_symlink()]
