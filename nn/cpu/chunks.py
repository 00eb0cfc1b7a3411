"""Large arrays in pieces that stay in the cache, shared among threads; on a GPU in one piece."""

import math

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels

# Numbers that one task works on: 1 MiB of float32. Half of that fits the cache of a core better, but each operation
# ends with a wait for Python's lock, and these waits take longer than what the cache would save.
PIECE = 1 << 18
KINDS = ("ReLU", "LeakyReLU", "ELU", "Sigmoid", "Tanh", "SiLU", "Softplus")  # of nn/gpu/activation.cu


def in_pieces(function, *arrays, kernel=None):
    """function(*arrays, out=...) for an elementwise function of arrays of one shape; out has the first one's dtype.

    kernel: (kind, options ...) of nn/gpu/activation.cu, which on a GPU computes the same in one launch: `function` of
    one array is its forward, of two, (dy, what the layer kept), its backward.
    """
    first, xp = arrays[0], array_module(arrays[0])
    out = xp.empty(first.shape, first.dtype)
    if kernel and use_kernels(first) and all(a.dtype.name in TYPES and a.dtype == first.dtype for a in arrays):
        kind, a, b = (*kernel, 0.0, 0.0)[:3]
        name = "activation_forward" if len(arrays) == 1 else "activation_backward"
        arrays = [xp.ascontiguousarray(array) for array in arrays]
        launch("activation", name, out.size, out.dtype, *arrays, out, float(a), float(b), out.size, KINDS.index(kind))
        return out
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


def in_blocks(task, shape, xp=np, piece: int = PIECE) -> list:
    """[task(block), ...] for blocks, index triples, that make up an array of this shape (N, K, M).

    Axis 1 is whole in each. As in in_slices, the blocks and their order do not depend on the number of threads.
    """
    n, k, m = shape
    if xp is np and k * m > piece:  # parts of one n
        width = max(1, piece // k)
        blocks = [np.s_[i : i + 1, :, j : j + width] for i in range(n) for j in range(0, m, width)]
        return in_slices(lambda s: task(blocks[s.start]), len(blocks), len(blocks), piece=1)
    return in_slices(lambda s: task(np.s_[s, :, :]), n, n * k * m, xp, piece)


def add_product(total, a, b):
    """total += a @ b for matrices: rows of the total shared among threads, no second array of its size."""
    xp, piece = array_module(total), max(1, min(4 * PIECE, total.size // 8))
    in_slices(lambda s: xp.add(total[s], a[s] @ b, out=total[s]), len(total), total.size, xp, piece)


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
