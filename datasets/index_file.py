"""index.csv: a line for each photograph, with the columns name and split, and others as a data set has them."""

import csv
import io
from pathlib import Path

from .files import missing
from .splits import every_fifth
from .text import read_text


def read_index(path: Path, *columns: str) -> dict[str, dict[str, str]]:
    """{name: its line by column}. The columns name, split and the given ones must be there.

    ValueError naming the file, and the line where there is one.
    """
    if not path.is_file():
        raise missing(path, "file", "--root is the folder that holds it")
    lines, file, wanted = {}, io.StringIO(read_text(path), newline="\n"), ("name", "split", *columns)
    needed = f"{path}: must have the columns {', '.join(wanted[:-1])} and {wanted[-1]}, and a line for each photograph"
    try:
        rows = csv.DictReader(file, strict=True)
        if not set(wanted) <= set(rows.fieldnames or ()):
            raise ValueError(needed)
        for row in rows:
            if None in row or None in row.values():
                count = f"{len(rows.fieldnames)} columns, as the first line has"
                raise ValueError(f"{path}, line {rows.line_num}: must have {count}")
            if row["name"] in lines:
                raise ValueError(f"{path}, line {rows.line_num}: {row['name']} has a line already; remove one")
            lines[row["name"]] = row
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV file ({error}); save it as one") from error
    if not lines:
        raise ValueError(needed)
    return lines


def names_in(index: dict[str, dict[str, str]], split: str, path: Path) -> list[str]:
    """The names of a split of the index; trainval: all but test's.

    Where no line is of val, train and val are trainval's: every fifth of them, by name, is val.
    """
    splits = {name: row["split"] for name, row in index.items()}
    trainval = [name for name in splits if splits[name] != "test"]
    if split == "trainval":
        names = trainval
    elif split in ("train", "val") and "val" not in splits.values():
        names = every_fifth(sorted(trainval), split, path)
    else:
        names = [name for name in splits if splits[name] == split]
    if not names:
        known = ", ".join(sorted({each or "(none)" for each in splits.values()}))
        raise ValueError(f"{path}: has no photographs of the split {split!r}, only of {known}")
    return names
