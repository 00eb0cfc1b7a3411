"""Making arrays: on the device, or from CPU data, which counts as a transfer. `empty` gives unusable values."""

import numpy as np

from . import transfers
from .array import SCALARS, ndarray, unwrap, wrap


def empty(shape, dtype=float, order="C"):
    """Uninitialised memory: here NaN, True, or the largest integer."""
    return full(shape, _rubbish(dtype), dtype, order)


def zeros(shape, dtype=float, order="C"):
    """All 0."""
    return wrap(np.zeros(shape, dtype, order))


def ones(shape, dtype=float, order="C"):
    """All 1."""
    return wrap(np.ones(shape, dtype, order))


def full(shape, fill_value, dtype=None, order="C"):
    """All fill_value."""
    return wrap(np.full(shape, unwrap(fill_value), dtype, order))


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    """empty in shape and dtype of another array."""
    return full_like(prototype, _rubbish(dtype or prototype.dtype), dtype, order, subok, shape)


def zeros_like(a, dtype=None, order="K", subok=None, shape=None):
    """All 0, in shape and dtype of another array."""
    return full_like(a, 0, dtype, order, subok, shape)


def full_like(a, fill_value, dtype=None, order="K", subok=None, shape=None):
    """All fill_value, in shape and dtype of another array."""
    return wrap(np.full_like(a._values, unwrap(fill_value), dtype, order, shape=shape))


def arange(start, stop=None, step=1, dtype=None):
    """start, start + step, ... below stop."""
    return wrap(np.arange(0 if stop is None else start, start if stop is None else stop, step, dtype))


def eye(N, M=None, k=0, dtype=float, order="C"):
    """The matrix with 1 on a diagonal."""
    return wrap(np.eye(N, M, k, dtype, order))


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """A new device array from CPU data, from a device array, or from nested lists of device arrays."""
    values = np.array(_values(obj), dtype, copy=copy or None, order=order, ndmin=ndmin)
    if values.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {values.dtype}")
    return wrap(values)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """The same, but a device array that already has the dtype and order is not copied."""
    if isinstance(a, ndarray) and not copy and (dtype is None or a.dtype == dtype) and order is None:
        return a
    return array(a, dtype, True, order or "K")


def ascontiguousarray(a, dtype=None):
    """The same in C order; not copied if it is already."""
    if isinstance(a, ndarray) and a.flags.c_contiguous and (dtype is None or a.dtype == dtype):
        return a
    return array(a, dtype, True, "C")


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """A NumPy array of device or CPU data."""
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a)


def _values(obj):
    """Device values without a transfer; CPU data with one, except for a scalar."""
    if isinstance(obj, ndarray):
        return obj._values
    if isinstance(obj, (list, tuple)) and any(isinstance(item, ndarray) for item in obj):
        return np.stack([item._values for item in obj])
    if not isinstance(obj, SCALARS):
        transfers.record("in")
    return obj


def _rubbish(dtype):
    dtype = np.dtype(dtype)
    return {"b": True, "f": np.nan, "c": np.nan}.get(dtype.kind) or np.iinfo(dtype).max
