"""Max unpooling for NumPy: images shared among threads, a few planes at a time, which stay in the cache."""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import parallel_for, workspace

TOGETHER = 1 << 15  # elements of the planes that are taken together
RANGE = 1 << 16  # indices of which the least and the largest are found at a time


def takes(x) -> bool:
    """Whether these functions are for x: always."""
    return True


def max_unpool(x, indices, out_size):
    """As in nn.layers.max_unpool."""
    y = np.empty((*x.shape[:2], out_size[0] * out_size[1]), x.dtype)

    def image(i):
        for planes in _planes(indices):
            part = y[i, planes].reshape(-1)
            part[...] = 0
            part[_positions(indices[i, planes], y.shape[2])] = x[i, planes].reshape(-1)

    parallel_for(image, len(x))
    return y.reshape(*x.shape[:2], *out_size)


def max_unpool_backward(dy, indices):
    """As in nn.layers.max_unpool."""
    dx = np.empty(indices.shape, dy.dtype)

    def image(i):
        for planes in _planes(indices):
            position, part = _positions(indices[i, planes], dy[0, 0].size), dy[i, planes].reshape(-1)
            into = dx[i, planes].reshape(-1)
            np.take(part, position, out=into, mode="clip")  # y[position] = x; mode="raise" would copy once more
            filled = workspace(part.shape, bool)
            filled[...] = False
            filled[position] = True
            if np.count_nonzero(filled) < position.size:  # of equal positions the last is kept, the others get nothing
                number = np.arange(position.size, dtype=np.int32)
                kept = np.empty(part.size, number.dtype)
                kept[position] = number
                into *= kept[position] == number

    parallel_for(image, len(dx))
    return dx


def index_range(indices) -> tuple[int, int]:
    """As in nn.layers.max_unpool."""
    flat = indices.reshape(-1)
    ends = in_slices(lambda part: (int(flat[part].min()), int(flat[part].max())), flat.size, flat.size, RANGE)
    return min((end[0] for end in ends), default=0), max((end[1] for end in ends), default=0)


def _planes(indices):
    """Slices of the channels of indices (N, C, H, W), a few planes each."""
    c, step = indices.shape[1], max(1, TOGETHER // max(1, indices[0, 0].size))
    return [slice(k, k + step) for k in range(0, c, step)]


def _positions(indices, plane: int):
    """Flat positions in planes (C, plane) of the indices (C, H, W) into each of them, in reading order."""
    own = indices.astype(np.intp, copy=False)
    return (own if len(own) == 1 else own + np.arange(0, len(own) * plane, plane)[:, None, None]).reshape(-1)
