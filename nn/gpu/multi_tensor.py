"""One kernel launch for the arrays of all parameters on a GPU ("multi-tensor apply"), instead of some for each.

A kernel of nn/gpu/multi_tensor.cu finds the arrays by a table of their addresses, made at the first step and used
again as long as the arrays stay where they are: parameters need no special memory, may be frozen, tied or replaced.
"""

import math
from functools import lru_cache

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels

CHUNK = 4096  # elements that one block works on: as in nn/gpu/multi_tensor.cu
THREADS = 256


def for_kernels(*arrays) -> bool:
    """Whether the kernels take a row of arrays: CuPy's, contiguous, of one size and dtype, float32 or float64.

    None is an array that is not there.
    """
    first = arrays[0]
    if isinstance(first, np.ndarray) or not use_kernels(first) or first.dtype.name not in TYPES:
        return False
    return all(
        a is None or (use_kernels(a) and a.dtype == first.dtype and a.size == first.size and a.flags.c_contiguous)
        for a in arrays
    )


def launch_all(kernel: str, rows: list[tuple], *options):
    """Run a kernel on each row of arrays, one launch for each dtype; an array that is None is a null pointer.

    All rows are `for_kernels`. options: the kernel's arguments behind the tables.
    """
    by_dtype = {}
    for row in rows:
        by_dtype.setdefault(row[0].dtype, []).append(row)
    for dtype, several in by_dtype.items():
        table, chunks = _tables(several)
        launch("multi_tensor", kernel, len(chunks) * THREADS, dtype, table, chunks, table.shape[1], *options)


def norm(arrays: list) -> float:
    """sqrt of the sum of all squares, in float64; it is the only transfer."""
    partial = []
    for dtype in dict.fromkeys(a.dtype for a in arrays):
        table, chunks = _tables([(a,) for a in arrays if a.dtype == dtype])
        partial.append(array_module(table).empty(len(chunks), np.float64))
        arguments = table, chunks, table.shape[1], partial[-1], dtype == np.float32
        launch("multi_tensor", "sum_of_squares", len(chunks) * THREADS, np.float64, *arguments)
    return math.sqrt(sum(p.sum() for p in partial).item()) if partial else 0.0


def _tables(rows):
    """The table (rows, arrays + 1) and the chunks (blocks, 2) of some rows."""
    pointers = tuple((*(0 if a is None else a.data.ptr for a in row), row[0].size) for row in rows)
    return _tables_of(pointers, array_module(rows[0][0]))


@lru_cache(maxsize=64)
def _tables_of(rows, xp):
    """The same for addresses and sizes, which are all that the tables hold: they go to the GPU once."""
    chunks = [(i, start) for i, row in enumerate(rows) for start in range(0, row[-1], CHUNK)]
    both = xp.asarray(np.array([n for pair in (*rows, *chunks) for n in pair], np.int64))
    end = len(rows) * len(rows[0])
    return both[:end].reshape(len(rows), -1), both[end:].reshape(-1, 2)
