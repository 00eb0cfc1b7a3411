"""The device array: NumPy values in another class, which only works with device arrays and scalars.

As with CuPy, `np.exp(x)` and `np.stack([x])` of device arrays are CuPy's functions of the same name, and everything
else that would turn a device array into a NumPy array is a TypeError. Results are always arrays: a sum is 0-d.
"""

import operator
from functools import reduce
from typing import NamedTuple

import numpy as np

from . import transfers

COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
SCALARS = (bool, int, float, complex, np.generic)


class Memory(NamedTuple):
    """The type of `ndarray.data`."""

    ptr: int


class Flags:
    """The type of `ndarray.flags`: CuPy has these two, and no `writeable`."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous


class ndarray:  # noqa: N801  (CuPy's name)
    """An array on the device; made by the functions of the namespace, not by its class."""

    __slots__ = ("__weakref__", "_values")
    __hash__ = None
    __array_priority__ = 100

    def __new__(cls, *args, **kwargs):
        raise TypeError("the stand-in makes arrays by empty, zeros, asarray and so on, not by ndarray(...)")

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from .namespace import cupy

        own = getattr(cupy, ufunc.__name__, None)
        if (
            ufunc.__name__ in COMPARISONS
        ):  # for np.float64(2) > x NumPy makes a 0-d array of the scalar, and CuPy a scalar of that
            inputs = [x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs]
        return own(*inputs, **kwargs) if own and method == "__call__" else NotImplemented

    def __array_function__(self, func, types, args, kwargs):
        from .namespace import cupy

        try:
            own = reduce(getattr, [*func.__module__.split(".")[1:], func.__name__], cupy)
        except AttributeError:
            return NotImplemented
        return own(*args, **kwargs) if set(types) == {ndarray} else NotImplemented

    # attributes

    dtype = property(lambda self: self._values.dtype)
    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    nbytes = property(lambda self: self._values.nbytes)
    itemsize = property(lambda self: self._values.itemsize)
    strides = property(lambda self: self._values.strides)
    flags = property(lambda self: Flags(self._values.flags))
    data = property(lambda self: Memory(self._values.ctypes.data))
    T = property(lambda self: wrap(self._values.T))
    real = property(lambda self: wrap(self._values.real), lambda self, value: _assign(self.real, value))
    imag = property(lambda self: wrap(self._values.imag), lambda self, value: _assign(self.imag, value))

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return (wrap(value) for value in self._values)

    # copies to the CPU

    def get(self, stream=None, order="C", out=None, blocking=True):
        """A NumPy copy."""
        transfers.record("out")
        if out is None:
            return self._values.copy(order)
        out[...] = self._values
        return out

    def set(self, arr, stream=None):
        """Overwrite with a NumPy array of the same shape and dtype."""
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError(f"set wants a NumPy array {self.shape} {self.dtype}")
        transfers.record("in")
        self._values[...] = arr

    def item(self):
        """The one element as a Python number."""
        transfers.record("out")
        return self._values.item()

    def tolist(self):
        """Nested lists of Python numbers."""
        transfers.record("out")
        return self._values.tolist()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __complex__(self):
        return complex(self.item())

    def __bool__(self):
        return bool(self.item())

    def __repr__(self):
        transfers.record("out")
        return repr(self._values)

    def __format__(self, specification):
        transfers.record("out")
        return format(self._values if self.ndim else self._values[()], specification)

    # indexing

    def __getitem__(self, slices):
        return wrap(self._values[_key(slices)])

    def __setitem__(self, slices, value):
        key = _key(slices)
        if isinstance(value, ndarray) and value.size > 1:
            _refuse_duplicates(self._values, key)
        with np.errstate(all="ignore"):
            self._values[key] = unwrap(value)

    # copies

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        from .namespace import cupy

        return cupy.array, (self.get(),)


def wrap(values):
    """A device array of NumPy values (an array or a scalar), or a tuple or list of them."""
    if isinstance(values, (tuple, list)):
        return type(values)(wrap(value) for value in values)
    array = object.__new__(ndarray)
    array._values = np.asarray(values)
    return array


def unwrap(value):
    """The NumPy values of an operand: a device array or a scalar. TypeError for everything else, also NumPy arrays."""
    if isinstance(value, ndarray):
        return value._values
    if value is None or isinstance(value, SCALARS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _assign(view, value):
    view[...] = value


def _key(slices):
    """An index for NumPy. Masks synchronise, for the number of their True elements."""
    parts = slices if isinstance(slices, tuple) else (slices,)
    for part in parts:
        if isinstance(part, (list, tuple, np.ndarray)):
            raise TypeError("an index of host values is a hidden transfer: move it to the device first, by asarray")
        if isinstance(part, slice) and any(isinstance(end, ndarray) for end in (part.start, part.stop, part.step)):
            raise TypeError("a slice that starts or stops at a device value: CuPy has no __index__")
        if isinstance(part, ndarray) and part.dtype == bool:
            transfers.record("wait")
    key = tuple(part._values if isinstance(part, ndarray) else part for part in parts)
    return key if isinstance(slices, tuple) else key[0]


def _refuse_duplicates(values, key):
    """ValueError where several values are assigned to one position: the result is undefined on a GPU."""
    if any(isinstance(part, np.ndarray) and part.dtype != bool for part in (key if isinstance(key, tuple) else (key,))):
        positions = np.arange(values.size).reshape(values.shape)[key].ravel()
        if len(np.unique(positions)) < len(positions):
            raise ValueError("several values for the same position: on a GPU the last one is any of them. See add.at")


def _operator(name):
    """The method __name__ of ndarray, computed by NumPy's."""

    def operate(self, *others):
        with np.errstate(all="ignore"):
            return wrap(getattr(operator, name)(self._values, *map(unwrap, others)))

    return operate


def _reflected(name):
    def operate(self, other):
        with np.errstate(all="ignore"):
            return wrap(getattr(operator, name)(unwrap(other), self._values))

    return operate


def _in_place(name):
    def operate(self, other):
        with np.errstate(all="ignore"):
            getattr(operator, name)(self._values, unwrap(other))
        return self

    return operate


for _name in "add sub mul matmul truediv floordiv mod pow lshift rshift and or xor".split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(ndarray, f"__r{_name}__", _reflected(f"__{_name}__"))
    if _name != "matmul":  # CuPy has no @=
        setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in "eq ne lt le gt ge neg pos abs invert".split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
