"""Large arrays in chunks that stay in the cache, shared among threads."""

import numpy as np

from nn.cpu.parallel import parallel_for

# Elements that one task works on: 1 MiB of float32. Half of that fits the cache of a core better, but each operation
# ends with a wait for Python's lock, and these waits take longer than what the cache would save.
CHUNK = 1 << 18
LEAST = 1 << 16  # but of elementwise functions no array of more than this is left to one thread


def real(*arrays, **options) -> bool:
    """Whether all arrays (None is none) are real: the `takes` of modules that leave complex ones to the textbook."""
    return all(a is None or a.dtype.kind == "f" for a in arrays)


def in_chunks(function, *arrays):
    """function(*chunks, out=chunk), elementwise, for arrays of one shape; the result has the first one's dtype."""
    first = arrays[0]
    out = np.empty(first.shape, first.dtype)
    if first.ndim and first.size <= LEAST:
        function(*arrays, out=out)
        return out
    chunk = min(CHUNK, max(LEAST, -(-first.size // 2)))
    flat, flat_out = [a.reshape(-1) for a in arrays], out.reshape(-1)  # reshape copies what is not contiguous
    in_slices(lambda s: function(*(a[s] for a in flat), out=flat_out[s]), first.size, first.size, chunk)
    return out


def in_slices(task, length: int, size: int, chunk: int = CHUNK) -> list:
    """[task(slice), ...] for slices that make up range(length), each of about `chunk` of the elements of an array.

    size is the number of its elements. Each task works on a part of its own of one axis of that array. The results come
    in the order of the slices, which do not depend on the number of threads: so sums over them do not either. There is
    no task where size is 0.
    """
    if size == 0:
        return []
    step = max(1, chunk * length // size)
    count = -(-length // step)
    step = -(-length // (count + count % 2 if 1 < count < length else count))  # an even number of about equal slices
    results = [None] * -(-length // step)

    def run(i):
        results[i] = task(slice(i * step, (i + 1) * step))

    parallel_for(run, len(results))
    return results


def in_blocks(task, shape, chunk: int = CHUNK) -> list:
    """[task(block), ...] for blocks, index triples, that make up an array of this shape (N, K, M).

    Axis 1 is whole in each. As in in_slices, the blocks and their order do not depend on the number of threads.
    """
    n, k, m = shape
    if k * m > chunk:  # parts of one n
        width = max(1, chunk // k)
        blocks = [np.s_[i : i + 1, :, j : j + width] for i in range(n) for j in range(0, m, width)]
        return in_slices(lambda s: task(blocks[s.start]), len(blocks), len(blocks), chunk=1)
    return in_slices(lambda s: task(np.s_[s, :, :]), n, n * k * m, chunk)


def add_up(parts: list, like):
    """The sum of the arrays in their order, or zeros like `like` of no arrays."""
    return sum(parts[1:], parts[0]) if parts else np.zeros_like(like)


def add_product(total, a, b):
    """total += a @ b for matrices: rows of the total shared among threads, no second array of its size."""
    chunk = max(1, min(4 * CHUNK, total.size // 8))
    in_slices(lambda s: np.add(total[s], a[s] @ b, out=total[s]), len(total), total.size, chunk)
