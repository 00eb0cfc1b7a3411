"""Files inside tar files, read where they lie: a TarMember stands wherever readers of pictures take a path.

What tar files hold is kept beside them, see kept_arrays.py, in FOLDER/.shards.npz: of S tar files with M members

  shards  (bytes,) uint8: their names            files   (S, 3) int64: bytes, time of modification in ns, members
  names   (bytes,) uint8: the members' names     places  (M, 2) int64: offset and bytes of each
"""

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from .files import is_absolute, is_hidden
from .kept_arrays import KeptArrays, packed, unpacked
from .progress import reading

NAME, KIND = ".shards.npz", "members of tar files, version 1"
BLOCK = 512  # bytes: a member begins at a multiple of them, and two of zeros end a tar file


class TarMember(NamedTuple):
    """A file in a tar file."""

    shard: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}: {self.name}"

    @property
    def parent(self) -> Path:
        """The folder of the tar file."""
        return self.shard.parent

    def read_bytes(self) -> bytes:
        """The content. ValueError where the tar file has become shorter."""
        with open(self.shard, "rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ValueError(f"{self}: the tar file was longer when it was opened; do not change it during a run")
        return content


def open_binary(path: os.PathLike | str | TarMember) -> BinaryIO:
    """A file or a member, to be read."""
    return io.BytesIO(path.read_bytes()) if isinstance(path, TarMember) else open(path, "rb")


def members_of(folder: Path, shards: Sequence[Path]) -> tuple[list[TarMember], list[str]]:
    """The members of tar files of a folder, in order, and what was wrong with the file that keeps them.

    Only tar files that are new or have another size or time than the last time are gone through. Raises ValueError for
    one that is damaged, cut off or compressed, and for a member that is a link or whose name leads out of the folder.
    """
    kept = KeptArrays(folder, NAME, KIND, ("shards", "files", "names", "places"))
    known, found, fresh = _known(kept.read()), {}, False
    for path in reading(shards, len(shards), "tar files"):
        name, held = os.path.relpath(path, folder), os.stat(path)
        entry = known.get((name, held.st_size, held.st_mtime_ns))
        fresh |= entry is None
        found[name, held.st_size, held.st_mtime_ns] = _scanned(path) if entry is None else entry
    if fresh:
        now = {name for name, _, _ in found}
        others = {key: entry for key, entry in known.items() if key[0] not in now and (folder / key[0]).is_file()}
        kept.write(_arrays(found | others))
    of_shards = zip(shards, found.values())
    return [TarMember(path, *each) for path, entries in of_shards for each in entries], kept.notes


def _known(arrays) -> dict[tuple[str, int, int], list[tuple[str, int, int]]]:
    """{(tar file, bytes, time): its members (name, offset, bytes)}."""
    if not arrays:
        return {}
    rows, places, start = zip(unpacked(arrays["names"]), *arrays["places"].T.tolist()), {}, 0
    rows = list(rows)
    for name, (size, time, count) in zip(unpacked(arrays["shards"]), arrays["files"].tolist()):
        places[name, size, time] = rows[start : start + count]
        start += count
    return places


def _arrays(found) -> dict[str, np.ndarray]:
    rows = [row for entries in found.values() for row in entries]
    return {
        "shards": packed([name for name, _, _ in found]),
        "files": np.array([(size, time, len(entries)) for (_, size, time), entries in found.items()], np.int64),
        "names": packed([name for name, _, _ in rows]),
        "places": np.array([place for _, *place in rows], np.int64).reshape(-1, 2),
    }


def _scanned(path: Path) -> list[tuple[str, int, int]]:
    """(name, offset, bytes) of each file in a tar file, which is checked; hidden ones are left out."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
    except (tarfile.TarError, OSError, ValueError) as error:
        what = f"is damaged, compressed or no tar file ({error})"
        raise ValueError(f"{path}: {what}; write it again, uncompressed") from error
    _check_end(path, members)
    found = []
    for member in members:
        name = member.name.removeprefix("./")
        if not (member.isdir() or member.isreg()) or member.issparse():
            raise ValueError(f"{path}: {name} is a link or no plain file; write the file itself into the tar")
        if is_absolute(name) or ".." in name.replace("\\", "/").split("/"):
            raise ValueError(f"{path}: {name} leads out of the tar file; write names as they are inside it")
        if member.isreg() and not any(map(is_hidden, name.split("/"))):
            found.append((name, member.offset_data, member.size))
    return found


def _check_end(path: Path, members: list[tarfile.TarInfo]):
    """ValueError unless two blocks of zeros follow the last member: tarfile ends in silence at a damaged one."""
    last = members[-1] if members else None
    end = last.offset_data + (last.size if last.isreg() else 0) if last else 0
    with open(path, "rb") as file:
        file.seek(-(-end // BLOCK) * BLOCK)
        marks = file.read(2 * BLOCK)
    if len(marks) < 2 * BLOCK or any(marks):
        after = f"after {last.name}" if last else "at its beginning"
        raise ValueError(f"{path}: is cut off or damaged {after}; copy or write it again")
