"""Checkpoints: named arrays and a JSON-able dict in one .npz file, written whole or not at all.

No pickle, so reading a stranger's checkpoint runs no code; `np.load` opens the file too.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nn.gpu.device import to_device

META = "__meta__"  # the entry that holds the dict: its JSON text as bytes
MOST_BYTES = 1 << 27  # of the entries of a compressed .npz after unpacking, beyond MOST_RATIO times the file's size
MOST_META = 1 << 25  # of the JSON text
MOST_RATIO = 20  # weights are compressed to half of their size at best; zeros a thousandfold
TEMPORARY = re.compile(r"\..+\.\d+\.tmp")  # what `replacing` writes to: .NAME.PID.tmp


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
    import zipfile  # imported here: it would be a fifth of `import nn`

    if not Path(path).is_file():
        raise ValueError(f"{path}: no such checkpoint file; give the path of a .npz that training wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked_size(archive)
            arrays = {info.filename.removesuffix(".npy"): read_array(archive, info) for info in archive.infolist()}
    except Exception as error:  # damaged files bring up a dozen types in zipfile, zlib and NumPy
        what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: truncated, damaged or not a checkpoint ({what}); take another copy") from error
    if META not in arrays:
        raise ValueError(f"{path}: an .npz, but not a checkpoint of this library (no entry {META})")
    try:
        meta = metadata_of(arrays.pop(META))
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}: damaged, its entry {META} is no JSON ({error}); take another copy") from error
    if not isinstance(meta, dict):
        raise ValueError(f"{path}: damaged, its entry {META} is {type(meta).__name__}, not a dict; take another copy")
    return arrays, meta


def check_unpacked_size(archive) -> None:
    """ValueError where a ZipFile would unpack to more than MOST_BYTES and more than MOST_RATIO times its size."""
    packed, unpacked = (
        sum(getattr(info, size) for info in archive.infolist()) for size in ("compress_size", "file_size")
    )
    if unpacked > max(MOST_BYTES, MOST_RATIO * packed):
        raise ValueError(
            f"its {packed:,} bytes would unpack to {unpacked:,}, more than {MOST_BYTES:,} "
            f"and {MOST_RATIO} times as many"
        )


def metadata_of(array: np.ndarray):
    """The value whose JSON text is the entry META. ValueError for other text, or more than MOST_META bytes of it."""
    if array.nbytes > MOST_META:
        raise ValueError(f"{array.nbytes:,} bytes, {MOST_META:,} are read")
    return json.loads(array.tobytes())


def read_array(archive, info) -> np.ndarray:
    """The array of an entry of a ZipFile, read in chunks into its own memory. ValueError for a shape that cannot be."""
    with archive.open(info) as entry:
        version = np.lib.format.read_magic(entry)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its entry {info.filename[:100]} has version {version} of the .npy format")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(entry)
        announced = math.prod(shape) * dtype.itemsize
        fits = min(shape, default=0) >= 0 and entry.tell() + announced == info.file_size
        if not fits and not dtype.hasobject:  # objects are refused below
            held = info.file_size - entry.tell()
            raise ValueError(f"its entry {info.filename[:100]} announces {dtype} {shape}, and holds {held:,} bytes")
    with archive.open(info) as entry:
        array = np.lib.format.read_array(entry, allow_pickle=False)
        if entry.read(1):  # at the end the CRC is compared
            raise ValueError(f"its entry {info.filename[:100]} is longer than its array")
    return array


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as np.load reads them. Unlike np.savez it takes any names, and equal content gives equal bytes."""
    import zipfile  # imported here: it would be a fifth of `import nn`

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the time of writing would make equal content differ
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


@contextlib.contextmanager
def replacing(path: str | os.PathLike):
    """A binary file to write that becomes `path` when the block ends well, and vanishes when it does not.

    An OSError while writing, such as a full disk, names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # same folder: os.replace is atomic within a disk
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):  # of another file, which the block has read
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


def remove_temporaries(folder: str | os.PathLike) -> None:
    """Remove what processes that were killed while they wrote have left in a folder. No other may be writing there."""
    for path in Path(folder).glob(".*.tmp"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


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


def _check_array(path, name, array):
    if not isinstance(array, np.ndarray | np.generic) or array.dtype.hasobject:
        raise ValueError(f"write_checkpoint: {name!r} of {path} must be a numeric NumPy array, got {array!r:.60}")
    if name == META:
        raise ValueError(f"write_checkpoint: no array of {path} may be called {META!r}, the name of its meta entry")
