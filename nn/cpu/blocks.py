"""Elementwise work on large arrays in blocks that stay in the cache."""

from collections.abc import Iterator

import numpy as np

SIZE = 1 << 15  # elements: of larger temporaries malloc gives the memory back each time, and the system clears it anew


def blocks(*arrays: np.ndarray, size: int = SIZE) -> Iterator[tuple[np.ndarray, ...]]:
    """Walk through arrays of one shape side by side, in views of whole rows, about `size` elements each.

    A formula with temporaries then needs small ones, which stay in the cache. None is an array that is not there.
    """
    first = arrays[0]
    if first.size <= size:
        yield tuple(a if a is None else a[...] for a in arrays)
        return
    rows = max(1, size * len(first) // first.size)
    for start in range(0, len(first), rows):
        yield tuple(a if a is None else a[start : start + rows] for a in arrays)
