"""Texts for models of language and of translation: from a file, or all of a folder."""

import os
from pathlib import Path

from .files import files_in, missing
from .text import lines_of, read_text

SOURCES = {"source", "src", "input", "from", "question", "text", "sentence"}  # what heads the columns of tables
TARGETS = {"target", "tgt", "output", "to", "answer", "translation", "summary", "label"}


def read_texts(root: str | os.PathLike) -> str:
    """The text of a file, or of all .txt files of a folder in the order of their names, one after another.

    Hidden files are left out. Raises ValueError naming what is missing, no text, or empty.
    """
    root = Path(root)
    if not root.exists():
        raise missing(root, "file or folder", "give a text file, or a folder of .txt files")
    files = files_in(root, (".txt",)) if root.is_dir() else [root]
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
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        if line.strip():
            parts = [part.strip() for part in line.split("\t")]
            if len(parts) != 2 or not all(parts):
                raise ValueError(f"{path}, line {number}: wanted a source, a tab and a target, got {line!r:.60}")
            if not all(any(map(str.isalnum, part)) for part in parts):
                raise ValueError(f"{path}, line {number}: wanted words on both sides of the tab, got {line!r:.60}")
            if number == 1 and parts[0].casefold() in SOURCES and parts[1].casefold() in TARGETS:
                raise ValueError(f"{path}, line 1: {line.strip()!r} names the columns; remove this line")
            pairs.append({"text": parts[0], "target": parts[1]})
    if not pairs:
        raise ValueError(f"{path}: holds no pairs; give lines of a source, a tab and a target")
    return pairs
