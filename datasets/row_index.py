"""What reading found out about many files, a row of integers for each, kept in a file beside them.

FOLDER/NAME, see kept_arrays.py, holds of N files:

  names    (bytes,) uint8: their paths below FOLDER as the system spells them, a zero byte between two
  rows     (N, 2 + columns) int64: bytes, time of modification in nanoseconds since 1970, and what was found out

A file with another size or time than here is read again.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np

from .kept_arrays import KeptArrays, packed, unpacked
from .pictures import unless_left_out
from .progress import reading
from .tar_members import TarMember

CHUNK, THREADS = 64, 4  # files that a thread reads in one go
PORTION = 100_000  # files after which the rows are written
NO_FILE = (-2, 0)

Read = Callable[[Path], Sequence[int]]


class RowIndex:
    """Rows about the files of a folder.    notes: what was wrong with the file that keeps them.

    kind: what a row holds, with its version. columns: how many integers it has. least: fewer files are read in a moment
    each time, and their folder stays as it is.
    """

    def __init__(self, folder: str | os.PathLike, name: str, kind: str, columns: int, least: int):
        self.folder, self.kept = os.fspath(folder), KeptArrays(folder, name, kind, ("names", "rows"))
        self.notes, self.least, self.no_row = self.kept.notes, least, np.full((1, 2 + columns), -1)

    def read(self, paths: Sequence[Path | TarMember], read: Read) -> np.ndarray:
        """(N, columns) int64: read(path) of each file; -1 for a damaged one that is left out, see pictures.leaving_out.

        Of files that did not change since the last time only size and time are asked for. Raises ValueError for the
        first damaged one; what was read before is kept, also after a kill (but for the last PORTION).
        """
        keep, names = len(paths) >= self.least, self._names(paths)
        stored = self._stored() if keep else ([], self.no_row[:0])
        rows = _rows_of(names, stored[0], np.concatenate([stored[1], self.no_row]))
        files = np.array([_size_and_time(path) for path in paths]).reshape(-1, 2)
        stale = np.flatnonzero((rows[:, :2] != files).any(axis=1)).tolist()
        rows[stale] = self.no_row
        for start in range(0, len(stale), PORTION):
            portion = stale[start : start + PORTION]
            try:
                for i, found in zip(portion, read_all(read, [paths[i] for i in portion])):
                    if found is not None:
                        rows[i] = (*files[i], *found)
            finally:
                if keep and (rows[portion, 0] >= 0).any():
                    self._store(names, rows, stored)
        return rows[:, 2:]

    def _names(self, paths: Sequence[Path]) -> list[str]:
        """The paths below the folder, and absolute ones of files that lie elsewhere."""
        above = os.path.join(self.folder, "")
        return [t.removeprefix(above) if t.startswith(above) else os.path.abspath(t) for t in map(str, paths)]

    def _stored(self) -> tuple[list[str], np.ndarray]:
        """The names and rows of the file."""
        arrays = self.kept.read()
        return unpacked(arrays["names"]) if arrays else [], arrays.get("rows", self.no_row[:0])

    def _store(self, names: list[str], rows: np.ndarray, stored: tuple[list[str], np.ndarray]):
        """Write the file, with the rows that it has of other files that are still there."""
        read, asked = np.flatnonzero(rows[:, 0] >= 0), set(names)
        others = [i for i, name in enumerate(stored[0]) if name not in asked and self._exists(name)]
        names = [names[i] for i in read.tolist()] + [stored[0][i] for i in others]
        self.kept.write({"names": packed(names), "rows": np.concatenate([rows[read], stored[1][others]])})

    def _exists(self, name: str) -> bool:
        """Whether a file is there, or the tar file that held it."""
        stem, tar, _ = name.partition(".tar: ")
        return os.path.exists(os.path.join(self.folder, stem + tar.removesuffix(": ")))


def _rows_of(names: list[str], known: list[str], rows: np.ndarray) -> np.ndarray:
    """The row of each name, the last one where it has none."""
    index = {name: i for i, name in enumerate(known)}
    return rows[[index.get(name, -1) for name in names]]


def read_all(read: Read, paths: Sequence[Path]) -> Iterator[Sequence[int] | None]:
    """read(path) of each, on threads; None for a damaged one that is left out."""

    def read_chunk(chunk):
        return [unless_left_out(read, path) for path in chunk]

    pool = ThreadPoolExecutor(THREADS)
    try:
        chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
        yield from reading(chain.from_iterable(pool.map(read_chunk, chunks)), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)


def _size_and_time(path: Path | TarMember) -> tuple[int, int]:
    try:
        if isinstance(path, TarMember):
            return path.size, os.stat(path.shard).st_mtime_ns
        found = os.stat(path)
    except OSError:
        return NO_FILE
    return found.st_size, found.st_mtime_ns
