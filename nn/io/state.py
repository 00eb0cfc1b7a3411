"""Weights come and go: arrays by name in the files that others read and write too.

    nn.save_state(model, "model.safetensors")
    nn.load_state(model, "resnet20.pth")

    .npz                NumPy's, read and written
    .safetensors        read and written
    .pth  .pt  .th      PyTorch's, read only, both formats: see nn.io.torch_file

No file gets to run code: arrays with pickled objects are refused, and PyTorch's files are read by nn.io.unpickle.
"""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nn.gpu.device import to_device
from nn.io.checkpoint import META, check_unpacked_size, metadata_of, read_array, replacing, write_npz
from nn.io.safetensors import METADATA, read_safetensors, write_safetensors
from nn.layer import Layer

PTH = (".pth", ".pt", ".th")
COUNTER = "num_batches_tracked"  # of batch normalisation
SHOWN = 20  # names of a kind in one message


def save_state(
    state: Layer | Mapping[str, np.ndarray], path: str | os.PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the parameters and buffers of a layer, or arrays by name, to a .npz or .safetensors file.

    metadata: text by name to keep in the file, see read_metadata. The file is replaced in one step: a process killed at
    any moment leaves the old one or the new one. Equal content gives equal bytes.

    Raises ValueError for another ending, a name or a dtype that the format cannot hold, and metadata that is not text.
    """
    path, metadata = Path(path), dict(metadata or {})
    arrays = to_device(dict(_state_of(state)), "cpu")
    _check_writable(path, arrays, metadata)
    with replacing(path) as file:
        if path.suffix.lower() == ".npz":
            text = {META: np.frombuffer(json.dumps(metadata).encode(), np.uint8)} if metadata else {}
            write_npz(file, arrays | text)
        else:
            write_safetensors(file, arrays, metadata)


def load_state(layer: Layer, path: str | os.PathLike, strict: bool = True, key: str | None = None) -> list[str]:
    """Copy the arrays of a file into the parameters and buffers of the same names, keeping the layer's dtype.

    Returns the list of what did not fit: names missing from the file, unexpected in it, arrays of another shape. With
    strict=True (default) such a list is a ValueError, and nothing is loaded; with False all that fits is loaded.
    key: which part of a file that holds more, see read_state. A file without any num_batches_tracked, as PyTorch wrote
    them before 0.4.1, does not miss them: nothing is computed from these counters.

    Raises ValueError as read_state does, too.
    """
    state, own = read_state(path, key), layer.state_dict()
    if not any(name.split(".")[-1] == COUNTER for name in state):
        state |= {name: array for name, array in own.items() if name.split(".")[-1] == COUNTER}
    problems = layer.compare_state(state)
    if strict and problems:
        raise ValueError(f"{path}: does not fit {type(layer).__name__}: {_in_short(problems)}")
    return layer.load_state_dict(state, strict=False)


def read_state(path: str | os.PathLike, key: str | tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """{name: array} of a file in any of the formats; bfloat16 becomes float32, big-endian elements native ones.

    key: in a PyTorch file that holds several things, such as {"epoch": 3, "state_dict": {...}}, the one to take. Of a
    tuple of keys the first that is there is taken, else the only state dict in the file; a file that is a state dict
    itself is taken whole. In the other formats, this library's checkpoints among them, key="model" takes the names that
    begin with "model/" or "model.", without that beginning; a tuple has no effect.

    Raises ValueError naming the file, and what is wrong, for a file that is missing, damaged, cut short, of another
    kind than its ending says, or holds anything but numeric arrays: a name outside the few that PyTorch's tensors
    need (os.system, say) is refused before anything has been done with it.
    """
    arrays, _ = _read(path, key)
    if key is None or isinstance(key, tuple) or Path(path).suffix.lower() in PTH:
        return arrays
    chosen = {name[len(key) + 1 :]: array for name, array in arrays.items() if name.startswith((f"{key}/", f"{key}."))}
    if not chosen:
        raise ValueError(f"{path}: has no names that begin with {key}/ or {key}.")
    return chosen


def read_metadata(path: str | os.PathLike) -> dict:
    """The metadata of a .npz or .safetensors file, {} where it has none; arrays of a .npz stay unread.

    Raises ValueError as read_state does.
    """
    return _read(path, None, npz=partial(_read_npz, only=META))[1]


def _read(path, key, npz=None):
    """(arrays, metadata) of a file. Here, and only here, any error that a file causes becomes a ValueError."""
    readers = {".npz": npz or _read_npz, ".safetensors": read_safetensors}
    readers |= dict.fromkeys(PTH, lambda file: (_read_pth(file, key), {}))
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        raise ValueError(f"{path}: must end in one of {', '.join(readers)}, which says what format it has")
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    with open(path, "rb") as file:
        try:
            return readers[suffix](file)
        except Exception as error:  # damaged files bring up a dozen types in zipfile, json, NumPy and our own code
            what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}, damaged or cut short"
            raise ValueError(f"{path}: not readable as {suffix}: {what}") from error


def _read_pth(file: BinaryIO, key):
    from nn.io.torch_file import read_pth  # imported here: it would be a twentieth of `import nn`

    return read_pth(file, key)


def _read_npz(file: BinaryIO, only: str | None = None):
    import zipfile  # imported here: it would be a fifth of `import nn`

    arrays = {}
    with zipfile.ZipFile(file) as archive:
        check_unpacked_size(archive)
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in arrays or name == info.filename:
                raise ValueError(f"its entry {name[:100]} is there twice, or does not end in .npy")
            if only not in (None, name):
                continue
            array = read_array(archive, info)
            if array.dtype.kind not in "biufc":
                raise ValueError(f"its entry {name[:100]} is {array.dtype}, wanted a numeric array")
            arrays[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return arrays, metadata_of(arrays.pop(META)) if META in arrays else {}


def _state_of(state):
    if isinstance(state, Layer):
        return state.state_dict()
    if not isinstance(state, Mapping):
        raise TypeError(f"save_state: state must be a Layer or arrays by name, got {type(state).__name__}")
    return state


def _check_writable(path, arrays, metadata):
    """ValueError unless the format is one that is written, and all that is to be written fits into it."""
    if path.suffix.lower() not in (".npz", ".safetensors"):
        advice = "PyTorch's files are only read here; " if path.suffix.lower() in PTH else ""
        raise ValueError(f"save_state: {path}: {advice}give a name that ends in .npz or .safetensors")
    for name, array in arrays.items():
        if not isinstance(name, str) or name in (META, METADATA):
            raise ValueError(f"save_state: {path}: {name!r} cannot be the name of an array")
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.kind not in "biufc":
            raise ValueError(f"save_state: {path}: {name} must be a numeric array, got {array!r:.60}")
    if any(not isinstance(text, str) for item in metadata.items() for text in item):
        raise ValueError(f"save_state: {path}: metadata must be text by name, got {metadata!r:.100}")


def _in_short(problems):
    """The problems in one line: at most SHOWN of a kind."""
    kinds = {"missing": [], "unexpected": [], "other": []}
    for problem in problems:
        kinds.get(problem.split(" ")[0], kinds["other"]).append(problem)
    parts = [p for kind in kinds.values() for p in kind[:SHOWN] + [f"{len(kind) - SHOWN} more"] * (len(kind) > SHOWN)]
    return "; ".join(parts)
