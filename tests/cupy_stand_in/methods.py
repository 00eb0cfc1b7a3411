"""The methods of device arrays that compute, with the signatures of CuPy 14."""

import numpy as np

from . import functions
from .array import ndarray, wrap
from .signatures import by_method

METHODS = by_method(
    """
    all(self, axis=None, out=None, keepdims=False)
    any(self, axis=None, out=None, keepdims=False)
    argmax(self, axis=None, out=None, dtype=None, keepdims=False)
    argmin(self, axis=None, out=None, dtype=None, keepdims=False)
    argsort(self, axis=-1, kind=None)
    clip(self, min=None, max=None, out=None)
    conj(self)
    copy(self, order='C')
    cumsum(self, axis=None, dtype=None, out=None)
    diagonal(self, offset=0, axis1=0, axis2=1)
    dot(self, b, out=None)
    flatten(self, order='C')
    max(self, axis=None, out=None, keepdims=False)
    mean(self, axis=None, dtype=None, out=None, keepdims=False)
    min(self, axis=None, out=None, keepdims=False)
    prod(self, axis=None, dtype=None, out=None, keepdims=None)
    ravel(self, order='C')
    repeat(self, repeats, axis=None)
    round(self, decimals=0, out=None)
    sum(self, axis=None, dtype=None, out=None, keepdims=False)
    swapaxes(self, axis1, axis2)
    take(self, indices, axis=None, out=None)
    """
)


def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
    """The values as another dtype."""
    with np.errstate(all="ignore"):
        return wrap(self._values.astype(dtype, order, casting or "unsafe", copy=copy))


def fill(self, value):
    """Set every element to one value."""
    if isinstance(value, np.ndarray) and value.shape:
        raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
    self[...] = value


def nonzero(self):
    """The indices of elements that are not 0, one array per axis."""
    return functions.nonzero(self)


def reshape(self, *shape, order="C", copy=None):
    """Another shape: a view where one is possible."""
    return wrap(self._values.reshape(*shape, order=order))


def sort(self, axis=-1, kind=None):
    """Sort in place."""
    self._values.sort(axis, kind)


def transpose(self, *axes):
    """A view with the axes in another order."""
    return wrap(self._values.transpose(*axes))


def view(self, dtype=None, type=None):
    """The same memory, under another dtype if one is given."""
    return wrap(self._values.view() if dtype is None else self._values.view(dtype))


METHODS |= {f.__name__: f for f in (astype, fill, nonzero, reshape, sort, transpose, view)}
for _name, _method in METHODS.items():
    setattr(ndarray, _name, _method)
