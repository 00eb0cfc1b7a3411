"""Square tiles of images that begin every few pixels and overlap, as fast convolutions read them."""

import numpy as np

from nn.cpu.parallel import workspace


def gather(x, chunk, columns, padding, step, side):
    """(side, side, tiles * C) of x (N, C, H, W): the tiles begin every `step` pixels, before x by the padding."""
    images, rows = chunk
    n, r, channels = images.stop - images.start, rows.stop - rows.start, x.shape[1]
    y0, x0 = step * rows.start - padding[0], -padding[1]
    height, width = step * (r - 1) + side, step * (columns - 1) + side
    inside = x[images, :, max(y0, 0) : max(y0 + height, 0), max(x0, 0) : max(x0 + width, 0)].transpose(0, 2, 3, 1)
    part = workspace((n, height, width, channels), x.dtype, 0)
    if inside.shape != part.shape:
        part[...] = 0
    y1, x1 = max(-y0, 0), max(-x0, 0)
    part[:, y1 : y1 + inside.shape[1], x1 : x1 + inside.shape[2]] = inside
    sn, sh, sw, sc = part.strides
    shape, strides = (side, side, n, r, columns, channels), (sh, sw, sn, step * sh, step * sw, sc)
    tiles = workspace(shape, x.dtype, 1)
    np.copyto(tiles, np.lib.stride_tricks.as_strided(part, shape, strides))
    return tiles.reshape(side, side, -1)
