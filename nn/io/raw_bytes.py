"""Elements as files hold them: the bytes of an array, and PyTorch's bfloat16, which NumPy does not have."""

import numpy as np


def item_size(dtype: str) -> int:
    """Bytes of one element: of any of NumPy's dtypes by name, or of bfloat16."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def from_bytes(data: bytes, dtype: str, order: str = "<") -> np.ndarray:
    """A new flat array of the elements in `data`; order: "<" little-endian, ">" big-endian.

    bfloat16, the upper half of a float32, becomes float32; of a bool any byte but 0 is True.
    Raises ValueError for bytes that end within an element.
    """
    if dtype == "bfloat16":
        return (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    if dtype == "bool":
        return np.frombuffer(data, np.uint8) != 0
    return np.frombuffer(data, np.dtype(dtype).newbyteorder(order)).astype(dtype)
