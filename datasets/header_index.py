"""The headers of many pictures, kept in a file beside them, so that a large folder opens in seconds the second time.

FOLDER/.picture-headers.npz, see row_index.py; a row has height, width, turned, dim and more of headers.Header.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .headers import Header, read_header
from .row_index import RowIndex
from .tar_members import TarMember

NAME, KIND = ".picture-headers.npz", "headers of pictures, version 1"
LEAST = 2000  # pictures; fewer are read in a fraction of a second, and their folder stays as it is
NO_HEADER = (-1,) * 5


class HeaderIndex:
    """The headers of the pictures of a folder.    notes: what was wrong with the file that keeps them."""

    def __init__(self, folder: str | os.PathLike):
        self.rows = RowIndex(folder, NAME, KIND, len(NO_HEADER), LEAST)
        self.notes = self.rows.notes

    def read(self, paths: Sequence[Path | TarMember]) -> list[Header | None]:
        """The header of each picture; None for a damaged one that is left out, see pictures.leaving_out.

        Raises ValueError for the first damaged picture; what was read before is kept.
        """
        return _headers_of(self.rows.read(paths, read_header))


def _headers_of(rows: np.ndarray) -> list[Header | None]:
    """Equal rows give one Header: of a million pictures most have one of a few sizes."""
    seen: dict[tuple, Header | None] = {NO_HEADER: None}
    found = []
    for row in zip(*rows.T.tolist()):
        if row not in seen:
            seen[row] = Header(*row)
        found.append(seen[row])
    return found
