"""Checkpoints: named arrays and a JSON-able dict in one .npz file, written whole or not at all.

No pickle, so reading a stranger's checkpoint runs no code; `np.load` opens the file too.
"""

import contextlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nn.gpu.device import to_device

META = "__meta__"  # the entry that holds the dict: its JSON text as bytes
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError)  # what damage raises


def write_checkpoint(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], meta: dict) -> None:
    """Write `arrays` and `meta` to `path`, replacing what was there in one step.

    A process killed at any moment, kill -9 and power failure included, leaves the old file or the new one.
    Equal content gives equal bytes; arrays on the GPU are written as those on the CPU are, and can be read without one.
    Raises ValueError for a value that is no plain array or not JSON-able.
    """
    arrays = to_device(dict(arrays), "cpu")
    for name, array in arrays.items():
        _check_array(path, name, array)
    text = np.frombuffer(_json_text(path, meta).encode(), np.uint8)
    with replacing(path) as file:
        write_npz(file, {**arrays, META: text})


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
    """Read `(arrays, meta)`. ValueError naming `path` when it is missing, cut short, altered or no checkpoint."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such checkpoint file; give the path of a .npz that training wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name.removesuffix(".npy"): _parse(archive.read(name)) for name in archive.namelist()}
    except DAMAGE as error:
        raise ValueError(f"{path}: truncated, damaged or not a checkpoint ({error}); take another copy") from error
    if META not in arrays:
        raise ValueError(f"{path}: an .npz, but not a checkpoint of this library (no entry {META})")
    try:
        return arrays, json.loads(arrays.pop(META).tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, its entry {META} is no JSON ({error}); take another copy") from error


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as np.load reads them. Unlike np.savez it takes any names, and equal content gives equal bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the time of writing would make equal content differ
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


@contextlib.contextmanager
def replacing(path: str | os.PathLike):
    """A binary file to write that becomes `path` when the block ends well, and vanishes when it does not."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # same folder: os.replace is atomic within a disk
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder):
    """Ask the disk to keep the new directory entry (a no-op where folders cannot be opened, as on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _json_text(path, meta):
    try:
        return json.dumps(meta)
    except (TypeError, ValueError) as error:
        raise ValueError(f"write_checkpoint: meta of {path} must be JSON-able: {error}") from error


def _parse(data):
    """The array in the bytes of one entry, whose CRC has been compared: a damaged shape cannot eat all memory."""
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


def _check_array(path, name, array):
    if not isinstance(array, np.ndarray | np.generic) or array.dtype.hasobject:
        raise ValueError(f"write_checkpoint: {name!r} of {path} must be a numeric NumPy array, got {array!r:.60}")
    if name == META:
        raise ValueError(f"write_checkpoint: no array of {path} may be called {META!r}, the name of its meta entry")
