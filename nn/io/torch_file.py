"""PyTorch's .pth and .pt files, read without PyTorch, and without a call of anything they name: see nn.io.unpickle.

torch.save pickles the object with each storage (flat array) left out, under a key. Two containers:

    zip, since 1.6     NAME/data.pkl, NAME/byteorder, and each storage as NAME/data/KEY, nothing compressed
    legacy, before     four pickles: a magic number, the protocol (1001), the writer's sizes of C types, the object;
                       then the pickled list of keys; then each storage: its length (int64), its little-endian bytes

Reference: torch/serialization.py, torch/_utils.py and torch/storage.py of PyTorch 2.13.
"""

import io
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from nn.io.raw_bytes import item_size
from nn.io.torch_objects import KNOWN, Tensor, storage
from nn.io.unpickle import unpickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Saved(NamedTuple):
    """What torch.save was given, with Tensors in it; the bytes of a storage by its key; their order, "<" or ">"."""

    content: Any
    storage_bytes: Callable[[str], bytes]
    order: str


def read_pth(file: BinaryIO, key: str | tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """{name: array} of the state dict in the file or, where it holds several things, of the one under `key`: see
    nn.io.state.read_state.

    bfloat16 becomes float32. Arrays share memory where the tensors shared a storage.
    Raises ValueError for anything but tensors by name, naming what it is; other errors too on damaged files.
    """
    magic = file.read(4)
    file.seek(0)
    saved = _open_zip(file) if magic == b"PK\x03\x04" else _open_legacy(file)
    arrays, storages = {}, {}
    for name, tensor in _state_dict(saved.content, key).items():
        which = tensor.storage.key, tensor.dtype
        if which not in storages:
            storages[which] = tensor.elements(saved.storage_bytes(tensor.storage.key), saved.order)
        arrays[name] = tensor.array(storages[which])
    return arrays


def _state_dict(content, key):
    """The dict of Tensors: the content itself, or its entry `key`."""
    inside = [name for name, value in content.items() if _has_tensors(value)] if type(content) is dict else []
    if isinstance(key, tuple):
        key = next((name for name in key if name in inside), inside[0] if len(inside) == 1 else None)
    if key is not None:
        if key not in inside:
            raise ValueError(f"it has no state dict under key={key!r}; there is one under: {_listed(inside)}")
        content = content[key]
    elif inside:
        raise ValueError(f"it holds {_listed(content)}: choose a state dict with key={inside[0]!r:.100}")
    if type(content) is not dict:
        raise ValueError(
            f"it holds a value of type {type(content).__name__}, wanted a dict of tensors as model.state_dict() is"
        )
    for name, value in content.items():
        if type(name) is not str or type(value) is not Tensor:
            shown = name[:100] if type(name) is str else f"of type {type(name).__name__}"
            raise ValueError(f"its entry {shown} is of type {type(value).__name__}, wanted tensors under their names")
    return content


def _has_tensors(value):
    return type(value) is dict and any(type(item) is Tensor for item in value.values())


def _listed(names):
    shown = [str(name)[:100] for name in list(names)[:20]]
    return ", ".join(shown + ["..."] * (len(names) > 20)) or "none"


def _open_zip(file):
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    prefixes = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(prefixes) != 1 or len(set(names)) != len(names):
        raise ValueError("a zip archive that torch.save has not written: it must have one data.pkl, and no name twice")
    if f"{prefixes[0]}constants.pkl" in names:
        raise ValueError("a TorchScript program, not weights: save its state_dict() with torch.save")

    def entry(name):
        info = archive.getinfo(prefixes[0] + name)
        if info.compress_type != zipfile.ZIP_STORED:  # what is stored cannot be larger than the file
            raise ValueError(f"its entry {name[:100]} is compressed, which torch.save never does: refused")
        return archive.read(info)  # and compares the CRC

    order = entry("byteorder").strip() if f"{prefixes[0]}byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"its byteorder is {order[:20]!r}, wanted little or big")
    content = unpickle(io.BytesIO(entry("data.pkl")), KNOWN, storage)
    return Saved(content, lambda key: entry(f"data/{key}"), ">" if order == b"big" else "<")


def _open_legacy(file):
    if file.read(512)[257:262] == b"ustar":
        raise ValueError("the tar format of PyTorch before 0.1.10, which is not read here: save it anew with PyTorch")
    file.seek(0)
    if unpickle(file, {}, storage) != MAGIC:
        raise ValueError("a pickle that torch.save has not written: it does not begin with the magic number")
    if unpickle(file, {}, storage) != PROTOCOL:
        raise ValueError(f"written by another protocol of torch.save than {PROTOCOL}")
    unpickle(file, {}, storage)  # sizes of the writer's C types: of no use
    storages = {}

    def noted(identifier):
        found = storage(identifier)
        if storages.setdefault(found.key, found)[:3] != found[:3]:
            raise ValueError("two of its tensors disagree about the storage they share: damaged")
        return found

    content = unpickle(file, KNOWN, noted)
    positions = _legacy_positions(file, unpickle(file, {}, storage), storages)

    def storage_bytes(key):
        start, size = positions[key]
        file.seek(start)
        return file.read(size)

    return Saved(content, storage_bytes, "<")


def _legacy_positions(file, keys, storages):
    """{key: (first byte, count of bytes)} of the storages, which follow one another from here on."""
    start = file.tell()
    positions, end = {}, file.seek(0, io.SEEK_END)
    are_text = type(keys) is list and all(type(key) is str for key in keys)  # shared tuples take for ever to sort
    if not are_text or sorted(keys) != sorted(storages):
        raise ValueError("its list of storages does not name those of its tensors: damaged")
    for key in keys:
        file.seek(start)
        length = int.from_bytes(file.read(8), "little", signed=True)
        size = storages[key].length * item_size(storages[key].dtype)
        if length != storages[key].length or start + 8 + size > end:
            raise ValueError(f"its storage {key[:100]} should have {size} bytes from byte {start + 8} on: cut short")
        positions[key] = start + 8, size
        start += 8 + size
    return positions
