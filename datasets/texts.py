"""Plain texts from files."""

import os
from pathlib import Path


def read_text(path: str | os.PathLike) -> str:
    """The text of a UTF-8 file, lines ended by newlines alone, without a byte order mark.

    Raises ValueError naming the file, and the place, where it is missing or no UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a text file")
    try:
        return path.read_text(encoding="utf-8-sig")  # universal newlines: \r\n becomes \n
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(f"{path}: no UTF-8 text (byte {byte:#04x} at {error.start}); convert it to UTF-8") from error


def read_texts(root: str | os.PathLike) -> str:
    """The text of a file, or of all .txt files of a folder in the order of their names, one after another.

    Raises ValueError naming what is missing, no UTF-8, or empty.
    """
    root = Path(root)
    if not root.exists():
        raise ValueError(f"{root}: no such file or folder; give a text file, or a folder of .txt files")
    files = sorted(root.glob("*.txt")) if root.is_dir() else [root]
    if not files:
        raise ValueError(f"{root}: this folder holds no .txt files; give another, or a text file")
    text = "\n".join(read_text(file) for file in files)
    if not text.strip():
        raise ValueError(f"{root}: holds no text; give a file that is not empty")
    return text


def read_pairs(path: str | os.PathLike) -> list[dict]:
    """[{"text", "target"}] of a file with a pair a line, source and target parted by one tab; empty lines are left out.

    Raises ValueError naming the file and the line that is no pair, or where there is none.
    """
    pairs = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            parts = [part.strip() for part in line.split("\t")]
            if len(parts) != 2 or not all(parts):
                raise ValueError(f"{path}, line {number}: wanted a source, a tab and a target, got {line!r:.60}")
            pairs.append({"text": parts[0], "target": parts[1]})
    if not pairs:
        raise ValueError(f"{path}: holds no pairs; give lines of a source, a tab and a target")
    return pairs
