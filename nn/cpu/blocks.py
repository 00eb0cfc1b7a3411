"""Elementwise work on large arrays in blocks that stay in the cache."""

from collections.abc import Iterator

import numpy as np

from nn.cpu.chunks import in_slices

SIZE = 1 << 16  # elements: with half of that threads wait for each other, and of more the cache does not hold all
TOGETHER = 1 << 19  # elements that a thread takes at a time


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


def in_blocks_of_all(task, rows, size: int = SIZE) -> list:
    """[task(*block), ...] for the blocks of all rows of arrays in turn, shared among threads."""
    parts = [block for row in rows for block in blocks(*row, size=size)]
    total = sum(first.size for first, *_ in parts)
    results = in_slices(lambda s: [task(*part) for part in parts[s]], len(parts), total, TOGETHER)
    return [result for several in results for result in several]
