"""Max unpooling for NumPy: images shared among threads."""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import parallel_for


def takes(x) -> bool:
    """Whether these functions are for x: always."""
    return True


def max_unpool(x, indices, out_size):
    """As in nn.layers.max_unpool."""
    y = np.empty((*x.shape[:2], out_size[0] * out_size[1]), x.dtype)

    def image(i):
        y[i] = 0
        y[i].reshape(-1)[_positions(indices[i], y.shape[2])] = x[i].ravel()

    parallel_for(image, len(x))
    return y.reshape(*x.shape[:2], *out_size)


def max_unpool_backward(dy, indices):
    """As in nn.layers.max_unpool."""
    dx = np.empty(indices.shape, dy.dtype)

    def image(i):
        position = _positions(indices[i], dy.shape[2] * dy.shape[3])
        dx[i] = dy[i].reshape(-1)[position].reshape(dx[i].shape)  # y[position] = x
        filled = np.zeros(dy[i].size, bool)
        filled[position] = True
        if np.count_nonzero(filled) < position.size:  # of equal positions the last is kept, the others get nothing
            number = np.arange(position.size, dtype=np.int32)
            kept = np.empty(dy[i].size, number.dtype)
            kept[position] = number
            dx[i] *= (kept[position] == number).reshape(dx[i].shape)

    parallel_for(image, len(dx))
    return dx


def index_range(indices) -> tuple[int, int]:
    """As in nn.layers.max_unpool."""
    ends = in_slices(lambda n: (int(indices[n].min()), int(indices[n].max())), len(indices), indices.size)
    return min((end[0] for end in ends), default=0), max((end[1] for end in ends), default=0)


def _positions(indices, plane: int):
    """Flat positions in an image (C, plane) of the indices (C, H, W) into its planes, in reading order."""
    return (np.arange(len(indices))[:, None, None] * plane + indices).ravel()
