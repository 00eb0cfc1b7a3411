"""CuPy's functions on arrays that the project uses, with the signatures of CuPy 14."""

import numpy as np

from . import transfers
from .array import ndarray, unwrap, wrap
from .signatures import by_numpy

FUNCTIONS = by_numpy(
    """
    allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
    append(arr, values, axis=None)
    argmax(a, axis=None, dtype=None, out=None, keepdims=False)
    argsort(a, axis=-1, kind=None)
    broadcast_arrays(*args)
    broadcast_to(array, shape)
    clip(a, a_min, a_max, out=None)
    concatenate(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
    copyto(dst, src, casting='same_kind', where=None)
    count_nonzero(a, axis=None)
    cumsum(a, axis=None, dtype=None, out=None)
    diff(a, n=1, axis=-1, prepend=None, append=None)
    einsum(*operands, **kwargs)
    matmul(*args, axes=None, axis=None, keepdims=False, casting='same_kind', dtype=None, signature=None, \
order='K', out=None)
    max(a, axis=None, out=None, keepdims=False)
    mean(a, axis=None, dtype=None, out=None, keepdims=False)
    meshgrid(*xi, **kwargs)
    moveaxis(a, source, destination)
    pad(array, pad_width, mode='constant', **kwargs)
    prod(a, axis=None, dtype=None, out=None, keepdims=False)
    put_along_axis(arr, indices, values, axis)
    repeat(a, repeats, axis=None)
    searchsorted(a, v, side='left', sorter=None)
    split(ary, indices_or_sections, axis=0)
    stack(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
    sum(a, axis=None, dtype=None, out=None, keepdims=False)
    take(a, indices, axis=None, out=None)
    take_along_axis(a, indices, axis)
    triu(m, k=0)
    """
)


def array_equal(a1, a2, equal_nan=False):
    """Whether shapes and values agree: a 0-d array on the device."""
    if equal_nan and a1.shape == a2.shape:
        transfers.record("wait")
    return wrap(np.array_equal(a1._values, a2._values, equal_nan))


def as_strided(x, shape=None, strides=None):
    """A view of the same memory under other strides."""
    return wrap(np.lib.stride_tricks.as_strided(x._values, shape, strides))


def bincount(x, weights=None, minlength=None):
    """The count of each integer. Synchronises for the largest one, and to check that none is negative."""
    transfers.record("wait")
    return wrap(np.bincount(x._values, unwrap(weights), minlength or 0))


def flatnonzero(a):
    """The flat indices of elements that are not 0. Synchronises for their number."""
    return nonzero(a.ravel())[0]


def ndim(a):
    """The number of axes."""
    return a.ndim


def nonzero(a):
    """The indices of elements that are not 0, one array per axis. Synchronises for their number."""
    transfers.record("wait")
    return wrap(np.nonzero(a._values))


def result_type(*arrays_and_dtypes):
    """The dtype of arithmetic with these."""
    return np.result_type(*(x.dtype if isinstance(x, ndarray) else x for x in arrays_and_dtypes))


def shape(a):
    """The shape."""
    return a.shape


def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True):
    """The sorted values without repetition. Synchronises for their number."""
    transfers.record("wait")
    return wrap(np.unique(ar._values, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan))


def where(condition, x=None, y=None):
    """x where the condition holds, else y. Without the two: nonzero(condition)."""
    if x is None and y is None:
        return nonzero(condition)
    return wrap(np.where(condition._values, unwrap(x), unwrap(y)))
