"""The safetensors format: a JSON header with name, dtype, shape and position of each tensor, then their bytes.

    8 bytes        length of the header, little-endian
    header         {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {...}}
    data           the tensors, row by row, little-endian; offsets count from here

No tensor may overlap another, and no byte be left over: every byte of the data belongs to one.

Reference: https://github.com/huggingface/safetensors, section Format of its README.
"""

import io
import json
import math
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from nn.io.raw_bytes import from_bytes, item_size

METADATA = "__metadata__"  # the entry of the header that is no tensor: a dict of text to text
LONGEST_HEADER = 100_000_000
MOST_AXES = 64  # NumPy's limit
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64",
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_safetensors(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays by name, and a dict of text. ValueError for a dtype that the format does not have."""
    header, end = {METADATA: dict(metadata)} if metadata else {}, 0
    for name, array in arrays.items():
        if array.dtype.name not in NAMES:
            known = ", ".join(dtype for dtype in NAMES if dtype != "bfloat16")
            raise ValueError(f"{name} is {array.dtype}, which .safetensors does not have (it has {known}): take .npz")
        header[name] = {"dtype": NAMES[array.dtype.name], "shape": list(array.shape)}
    by_size = sorted(arrays, key=lambda name: -arrays[name].itemsize)  # so that every tensor is aligned to its items
    for name in by_size:
        header[name]["data_offsets"] = [end, end + arrays[name].nbytes]
        end += arrays[name].nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in by_size:
        file.write(arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False).tobytes())


def read_safetensors(file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays by name, metadata); bfloat16 becomes float32. ValueError for whatever is not just as the format says."""
    tensors, metadata, start, size = _read_header(file)
    _check_positions(tensors, size)
    arrays = {}
    for name, (dtype, shape, (begin, end)) in tensors.items():
        file.seek(start + begin)
        arrays[name] = from_bytes(file.read(end - begin), dtype).reshape(shape)
    return arrays, metadata


def _read_header(file):
    """({name: (dtype, shape, offsets)}, metadata, where the data start, their size)."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(size - 8, LONGEST_HEADER):
        raise ValueError(f"its first 8 bytes announce a header of {length} bytes, the file has {size}")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError("its header does not begin with {")
    header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    metadata = header.pop(METADATA, {})
    if type(metadata) is not dict or any(type(value) is not str for value in metadata.values()):
        raise ValueError(f"its {METADATA} must be a dict of text to text")
    return {name: _entry(name, entry) for name, entry in header.items()}, metadata, 8 + length, size - 8 - length


def _without_duplicates(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name is twice in its header")
    return dict(pairs)


def _entry(name, entry):
    """(dtype, shape, offsets) of one tensor in the header, checked by itself."""
    if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name[:100]} must have a dtype, a shape and data_offsets, and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str or dtype not in DTYPES:
        shown = dtype[:100] if type(dtype) is str else type(dtype).__name__
        raise ValueError(f"{name[:100]} has the dtype {shown}; read are {', '.join(DTYPES)}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{name[:100]} must have a shape and two data_offsets, integers from 0 on")
    begin, end = offsets
    size = math.prod(shape) * item_size(DTYPES[dtype])
    if end - begin != size:
        raise ValueError(f"{name[:100]} has {size} bytes by its dtype and shape, {end - begin} by its data_offsets")
    return DTYPES[dtype], tuple(shape), (begin, end)


def _are_sizes(values):
    few = type(values) is list and len(values) <= MOST_AXES
    return few and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _check_positions(tensors, size):
    """ValueError unless the tensors, in the order of their positions, fill the data from the first byte to the last."""
    at = 0
    for name, (_, _, (begin, end)) in sorted(tensors.items(), key=lambda item: item[1][2]):
        if begin != at:
            what = "overlaps the tensor before it" if begin < at else f"leaves {begin - at} bytes unused before it"
            raise ValueError(f"{name[:100]} begins at byte {begin} of the data, wanted {at}: it {what}")
        at = end
    if at != size:
        raise ValueError(f"its tensors take {at} bytes, and there are {size}")
