"""Large arrays in pieces that stay in the cache, shared among threads; on a GPU in one piece."""

import math

import numpy as np

from nn.backend import array_module, parallel_for

PIECE = 1 << 17  # numbers that one task works on: 512 KiB of float32, which stay in its core's cache


def in_pieces(function, *arrays):
    """function(*arrays, out=...) for an elementwise function of arrays of one shape; out has the first one's dtype."""
    first, xp = arrays[0], array_module(arrays[0])
    out = xp.empty(first.shape, first.dtype)
    if first.ndim and (xp is not np or first.size <= PIECE):
        function(*arrays, out=out)
        return out
    flat, flat_out = [a.reshape(-1) for a in arrays], out.reshape(-1)  # reshape copies what is not contiguous
    in_slices(lambda s: function(*(a[s] for a in flat), out=flat_out[s]), first.size, first.size, xp)
    return out


def in_slices(task, length: int, size: int, xp=np, piece: int = PIECE) -> list:
    """[task(slice), ...] for slices that make up range(length), each of about `piece` of the size numbers of an array.

    Each task works on a part of its own of one axis of that array. What the tasks return comes in the order of the
    slices, which do not depend on the number of threads: so sums over it do not either. No task where size is 0.
    """
    if size == 0:
        return []
    if xp is not np:
        return [task(slice(0, length))]
    step = max(1, piece * length // size)
    results = [None] * -(-length // step)

    def run(i):
        results[i] = task(slice(i * step, (i + 1) * step))

    parallel_for(run, len(results))
    return results


def as_rows(x, axes: int):
    """x as a matrix (rows, D) with its last `axes` axes together as D: a view where x is contiguous."""
    lead = x.ndim - axes
    return x.reshape(math.prod(x.shape[:lead]), math.prod(x.shape[lead:]))


def empty_output(shape, x, *own):
    """An uninitialised array of the dtype of x, or complex where one of the layer's own Parameters and buffers is.

    They are complex where a complex step is taken in the parameters of a model whose images are real. None stands for
    no array.
    """
    dtypes = [getattr(a, "value", a).dtype for a in own if a is not None]
    return array_module(x).empty(shape, next((dtype for dtype in dtypes if dtype.kind == "c"), x.dtype))
