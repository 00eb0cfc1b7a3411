"""What PyTorch's state dicts are pickled as: storages, tensors that are views of them, and the names for these."""

from typing import NamedTuple

import numpy as np

from nn.io.raw_bytes import from_bytes, item_size
from nn.io.unpickle import KEYS, Name

STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.ComplexFloatStorage": "complex64",
    "torch.storage.UntypedStorage": "uint8",  # bytes; the tensor has the dtype
}
DTYPES = {f"torch.{name}": name for name in (*STORAGES.values(), "uint16", "uint32", "uint64")}
FOREIGN = ("complex32", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")


class Storage(NamedTuple):
    """`length` elements that the file holds under `key`; tensors count from element `start` on."""

    key: str
    dtype: str
    length: int
    start: int


class Tensor(NamedTuple):
    """Where in a storage the elements of a tensor are: offset and strides count elements of `dtype`."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    def elements(self, data: bytes, order: str) -> np.ndarray:
        """The whole storage as a flat array, from its bytes, which are little-endian ("<") or big-endian (">")."""
        key, dtype, length, _ = self.storage
        if len(data) != length * item_size(dtype):
            raise ValueError(f"its storage {key[:100]} has {len(data)} bytes, wanted {length} elements of {dtype}")
        return from_bytes(data, self.dtype, order)

    def array(self, elements: np.ndarray) -> np.ndarray:
        """The tensor, in the memory of its storage's elements; NumPy refuses one that would reach beyond them."""
        if 0 in self.size:
            return np.empty(self.size, elements.dtype)
        item = elements.itemsize
        strides = [stride * item for stride in self.strides]
        return np.ndarray(self.size, elements.dtype, elements, (self.storage.start + self.offset) * item, strides)


def storage(identifier) -> Storage:
    """A persistent id: ("storage", type, key, device, length), in the legacy format also which part of it, or None."""
    if type(identifier) is not tuple or len(identifier) not in (5, 6) or identifier[0] != "storage":
        raise ValueError("it refers to something that is no storage: refused")
    _, kind, key, _, length, *part = identifier
    dtype = STORAGES.get(kind.text) if type(kind) is Name else None
    _, start, _ = part[0] if part and part[0] is not None else (None, 0, None)  # key of the part, first number, length
    if dtype is None or type(key) is not str or not _are_sizes(length, start):
        raise ValueError("it refers to a storage without a type, key and length: damaged")
    return Storage(key, dtype, length, start)


def _tensor(storage, offset, size, strides, requires_grad=False, hooks=None, metadata=None):
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2."""
    return _checked(storage, offset, size, strides, getattr(storage, "dtype", None), metadata)


def _tensor_v3(storage, offset, size, strides, requires_grad, hooks, dtype, metadata=None):
    """torch._utils._rebuild_tensor_v3: of a dtype that has no storage type of its own."""
    name = dtype.text if type(dtype) is Name else None
    if name not in DTYPES:
        raise ValueError(f"it holds a tensor of dtype {name}, which NumPy does not have: convert it with PyTorch")
    return _checked(storage, offset, size, strides, DTYPES[name], metadata)


def _checked(storage, offset, size, strides, dtype, metadata):
    if metadata:
        raise ValueError("it holds a tensor yet to be conjugated or negated: save tensor.resolve_conj().resolve_neg()")
    if type(storage) is not Storage or not (type(size) is type(strides) is tuple) or len(size) != len(strides):
        raise ValueError("it holds a tensor without storage, size and strides: damaged")
    if not _are_sizes(offset, *size, *strides):
        raise ValueError("it holds a tensor whose offset, size or strides are not integers from 0 on: damaged")
    return Tensor(storage, offset, size, strides, dtype)


def _are_sizes(*values):
    return all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _parameter(tensor, requires_grad=False, hooks=None):
    """torch._utils._rebuild_parameter."""
    if type(tensor) is not Tensor:
        raise ValueError(f"it holds a parameter made of a {type(tensor).__name__}: damaged")
    return tensor


def _ordered_dict(items=()):
    """collections.OrderedDict; a plain dict keeps the order too."""
    if type(items) not in (tuple, list) or any(len(item) != 2 or type(item[0]) not in KEYS for item in items):
        raise ValueError("it holds an OrderedDict that is not made of keys and values: damaged")
    return dict(items)


def _size(values=()):
    """torch.Size."""
    return tuple(values)


KNOWN = {  # all that a file may name, and the function to call for it: see unpickle
    **dict.fromkeys([*STORAGES, *DTYPES, *(f"torch.{name}" for name in FOREIGN)]),
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
}
