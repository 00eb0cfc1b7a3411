"""Arrays that are kept in a hidden file beside data, so that they need not be computed at each opening.

The file is an .npz without pickles (nn.io.checkpoint writes it, np.load reads it), replaced in one step. Where the
folder cannot be written to, it lies in ~/.cache/handwritten-vision (or XDG_CACHE_HOME), under a hash of the folder.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nn.io.checkpoint import read_checkpoint, write_checkpoint


class KeptArrays:
    """The file `name` of a folder.    kind: what it holds, with its version; arrays: their names.

    notes: what was wrong with the file.
    """

    def __init__(self, folder: str | os.PathLike, name: str, kind: str, arrays: Sequence[str]):
        self.kind, self.arrays, self.notes = kind, set(arrays), []
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        digest = hashlib.sha256(os.fsencode(os.path.abspath(folder))).hexdigest()[:16]
        self.files = Path(folder, name), Path(cache, "handwritten-vision", f"{digest}{name}")

    def read(self) -> dict[str, np.ndarray]:
        """The arrays of the newest file; none where there is no file, or it is damaged, which is noted."""
        file = max((file for file in self.files if file.is_file()), key=os.path.getmtime, default=None)
        if file is not None:
            try:
                arrays, meta = read_checkpoint(file)
                if meta == {"kind": self.kind} and set(arrays) == self.arrays:
                    return arrays
                self.notes.append(f"{file}: is damaged, or of another kind or version; it is written anew")
            except ValueError as error:
                self.notes.append(f"{error.args[0].rsplit(';', 1)[0]}; it is written anew")
        return {}

    def write(self, arrays: Mapping[str, np.ndarray]):
        """Replace the file. Where nothing can be written, this is noted."""
        for file in self.files:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                return write_checkpoint(file, arrays, {"kind": self.kind})
            except OSError as error:
                failed = error
        self.notes.append(f"{self.kind} cannot be kept for the next time ({failed})")


def packed(texts: Sequence[str]) -> np.ndarray:
    """Texts without zero characters as one array of bytes, a zero byte between two; names of files as the system has
    them.
    """
    return np.frombuffer(os.fsencode("\0".join(texts)), np.uint8)


def unpacked(array: np.ndarray) -> list[str]:
    """The texts of `packed`; no text at all for an empty array."""
    return os.fsdecode(array.tobytes()).split("\0") if array.size else []
