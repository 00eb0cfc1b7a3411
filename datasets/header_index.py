"""The headers of many pictures, kept in a file beside them, so that a large folder opens in seconds the second time.

FOLDER/.picture-headers.npz, see kept_arrays.py, holds of N pictures:

  names    (bytes,) uint8: their paths below FOLDER as the system spells them, a zero byte between two
  rows     (N, 7) int64: bytes, time of modification in nanoseconds since 1970, and height, width, turned, dim and more
           of pictures.Header

A picture with another size or time than here is read again.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np

from .headers import Header, read_header
from .kept_arrays import KeptArrays, packed, unpacked
from .pictures import unless_left_out
from .progress import reading
from .tar_members import TarMember

NAME, KIND = ".picture-headers.npz", "headers of pictures, version 1"
LEAST = 2000  # pictures; fewer are read in a fraction of a second, and their folder stays as it is
CHUNK, THREADS = 64, 4  # pictures that a thread reads in one go
PORTION = 100_000  # pictures after whose headers the file is written
NO_FILE, NO_ROW, NO_HEADER = (-2, 0), np.full((1, 7), -1), (-1,) * 5


class HeaderIndex:
    """The headers of the pictures of a folder.    notes: what was wrong with the file that keeps them."""

    def __init__(self, folder: str | os.PathLike):
        self.folder, self.kept = os.fspath(folder), KeptArrays(folder, NAME, KIND, ("names", "rows"))
        self.notes = self.kept.notes

    def read(self, paths: Sequence[Path | TarMember]) -> list[Header | None]:
        """The header of each picture; None for a damaged one that is left out, see pictures.leaving_out.

        Of pictures that did not change since the last time only size and time are asked for. Raises ValueError for the
        first damaged picture; what was read before is kept, also after a kill (but for the last PORTION).
        """
        if len(paths) < LEAST:
            return list(_headers(paths))
        names, stored = self._names(paths), self._stored()
        rows = _rows_of(names, *stored)
        files = np.array([_size_and_time(path) for path in paths])
        stale = np.flatnonzero((rows[:, :2] != files).any(axis=1)).tolist()
        rows[stale] = NO_ROW
        headers = _headers_of(rows[:, 2:])
        for start in range(0, len(stale), PORTION):
            portion = stale[start : start + PORTION]
            try:
                for i, header in zip(portion, _headers([paths[i] for i in portion])):
                    headers[i] = header
                    rows[i] = NO_ROW if header is None else (*files[i], *header)
            finally:
                if any(headers[i] for i in portion):
                    self._store(names, rows, stored)
        return headers

    def _names(self, paths: Sequence[Path]) -> list[str]:
        """The paths below the folder, and absolute ones of pictures that lie elsewhere."""
        above = os.path.join(self.folder, "")
        return [t.removeprefix(above) if t.startswith(above) else os.path.abspath(t) for t in map(str, paths)]

    def _stored(self) -> tuple[list[str], np.ndarray]:
        """The names and rows of the file."""
        arrays = self.kept.read()
        return unpacked(arrays["names"]) if arrays else [], arrays.get("rows", NO_ROW[:0])

    def _store(self, names: list[str], rows: np.ndarray, stored: tuple[list[str], np.ndarray]):
        """Write the file, with the rows that it has of other pictures that are still there."""
        read, asked = np.flatnonzero(rows[:, 0] >= 0), set(names)
        others = [i for i, name in enumerate(stored[0]) if name not in asked and self._exists(name)]
        names = [names[i] for i in read.tolist()] + [stored[0][i] for i in others]
        self.kept.write({"names": packed(names), "rows": np.concatenate([rows[read], stored[1][others]])})

    def _exists(self, name: str) -> bool:
        """Whether a picture is there, or the tar file that held it."""
        stem, tar, _ = name.partition(".tar: ")
        return os.path.exists(os.path.join(self.folder, stem + tar.removesuffix(": ")))


def _rows_of(names: list[str], known: list[str], rows: np.ndarray) -> np.ndarray:
    """The row of each name, NO_ROW where it has none."""
    index = {name: i for i, name in enumerate(known)}
    return np.concatenate([rows, NO_ROW])[[index.get(name, -1) for name in names]]


def _headers_of(rows: np.ndarray) -> list[Header | None]:
    """Equal rows give one Header: of a million pictures most have one of a few sizes."""
    seen: dict[tuple, Header | None] = {NO_HEADER: None}
    found = []
    for row in zip(*rows.T.tolist()):
        if row not in seen:
            seen[row] = Header(*row)
        found.append(seen[row])
    return found


def _headers(paths: Sequence[Path]) -> Iterator[Header | None]:
    """read_header of each, on threads."""
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    pool = ThreadPoolExecutor(THREADS)
    try:
        yield from reading(chain.from_iterable(pool.map(_chunk, chunks)), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)


def _chunk(paths: Sequence[Path]) -> list[Header | None]:
    return [unless_left_out(read_header, path) for path in paths]


def _size_and_time(path: Path | TarMember) -> tuple[int, int]:
    try:
        if isinstance(path, TarMember):
            return path.size, os.stat(path.shard).st_mtime_ns
        found = os.stat(path)
    except OSError:
        return NO_FILE
    return found.st_size, found.st_mtime_ns
