"""Convolution with 3x3 kernels by Winograd's minimal filtering: a quarter of the multiplications.

A tile of 4x4 outputs needs 6x6 inputs. In a transformed domain it takes 36 multiplications for each pair of input and
output channel, where the direct sum takes 144:

    y = A.T [sum over channels of (G w G.T) * (B.T x B)] A        for each tile; * is elementwise

A two-sided product B.T x B is one matrix (36, 36) = kron(B.T, B.T) applied to the 36 elements of a tile. So each step
is a matrix product over all tiles of a chunk, and the sum over channels is 36 of them, one per transformed element.
Channels are the last axis inside a chunk: the pixels of a tile are then gathered and put back in contiguous runs.

Rounding grows: float32 results differ from exact ones by some 1e-5 of the largest, where direct sums differ by 5e-7
(tests/nn/cpu/test_winograd.py measures both). An infinite or NaN pixel makes NaN of all outputs of its tiles, not only
of those that see it. `nn.config.winograd = False` does without. The chunks depend on the shapes alone and the sums have
a fixed order: the number of threads changes no bit.

Reference: Lavin and Gray 2016, Fast algorithms for convolutional neural networks, arXiv:1509.09308, sec. 4.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.overlapping_tiles import gather
from nn.cpu.parallel import parallel_for, workspace
from nn.layers.windows import Geometry

TILE, REACH = 4, 6  # outputs along a side of a tile, and the inputs that they need

# sec. 4.3: the transforms of F(4x4, 3x3), from polynomial interpolation at 0, 1, -1, 2, -2 and infinity
BT = np.array([
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
])  # fmt: skip
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
OF_INPUT, OF_WEIGHT, OF_OUTPUT = (np.kron(m, m).astype(np.float64) for m in (BT, G, AT))

BAND = 1 << 17  # elements of the gathered input that are transformed at a time
CHUNK = 1 << 18  # elements of the transformed input of a chunk
MIN_TILES = 64  # but at least so many tiles, which makes matrix products fast
PART = 1 << 23  # elements of transformed kernels that are in memory at a time
SUMS = 10 << 20  # elements in the partial sums of the weight gradient
LANES = 8, 4, 1  # possible numbers of partial sums
LEAST = 48  # channels, in and out; with fewer, nn/cpu/conv_tiled.py is faster
WASTE = 1.6  # the tiles have at most so many times the positions of the output


class Band(NamedTuple):
    """Whole rows of tiles, of several images or of one; `start` is the index of the first tile in its chunk."""

    images: slice
    rows: slice
    start: int
    tiles: int


def chunks(n, out_size, channels, least):
    """The batch in chunks, lists of bands with their number of tiles; and the number of tiles in a row of tiles.

    The chunks are about equal, and at least `least` where there are as many bands.
    """
    height, columns = (-(-size // TILE) for size in out_size)
    rows = max(1, BAND // (REACH * REACH * channels * columns))  # of tiles, in a band
    images, rows = max(1, rows // height), -(-height // -(-height // rows))
    bands = [
        (slice(i, min(i + images, n)), slice(top, min(top + rows, height)))
        for i in range(0, n, images)
        for top in range(0, height, rows)
    ]
    tiles = max(CHUNK // (REACH * REACH * channels), MIN_TILES)
    count = max(1, min(len(bands), max(least, n * height * columns // tiles)))  # 1 for a batch of no images
    ends = [len(bands) * k // count for k in range(count + 1)]
    return [_chunk(bands[low:high], columns) for low, high in pairwise(ends)], columns


def _chunk(bands, columns):
    chunk, start = [], 0
    for images, rows in bands:
        tiles = (images.stop - images.start) * (rows.stop - rows.start) * columns
        chunk.append(Band(images, rows, start, tiles))
        start += tiles
    return chunk, start


def gather_tiles(x, chunk, tiles, columns, padding, side, matrix, slot):
    """(36, tiles, C): matrix (36, side * side) applied to the side x side pixels of every tile of the chunk.

    Tile (r, c) of an image x (C, H, W) begins at pixel (4 r - padding, 4 c - padding); outside x there are zeros.
    """
    channels = x.shape[1]
    out = workspace((len(matrix), tiles * channels), x.dtype, slot)
    for images, rows, start, count in chunk:
        gathered = gather(x, (images, rows), columns, padding, TILE, side)
        of_band = slice(start * channels, (start + count) * channels)
        np.matmul(matrix, gathered.reshape(side * side, -1), out=out[:, of_band])
    return out.reshape(len(matrix), tiles, channels)


def put_tiles(y, m, chunk, columns, matrix, bias):
    """y (N, O, oh, ow) of the chunk's tiles = A.T m A + bias, for m (36, tiles, O)."""
    o = m.shape[2]
    flat = m.reshape(36, -1)
    for images, rows, start, count in chunk:
        n, r = images.stop - images.start, rows.stop - rows.start
        out = workspace((TILE * TILE, count * o), m.dtype, 0)
        np.matmul(matrix, flat[:, start * o : (start + count) * o], out=out)
        out = out.reshape(TILE, TILE, n, r, columns, o)
        # 16 more than O: at distances of a power of two, pixels would share few sets of the cache
        part = workspace((n, r, TILE, columns, TILE, o + 16), m.dtype, 1)[..., :o]
        if bias is None:
            np.copyto(part.transpose(2, 4, 0, 1, 3, 5), out)
        else:
            np.add(out, bias, out=part.transpose(2, 4, 0, 1, 3, 5))
        into = y[images, :, TILE * rows.start : TILE * rows.stop]
        whole = np.lib.stride_tricks.as_strided(
            part, (n, r * TILE, columns * TILE, o), [part.strides[k] for k in (0, 2, 4, 5)]
        )
        into[...] = whole[:, : into.shape[2], : into.shape[3]].transpose(0, 3, 1, 2)


def takes(dtype, weight_shape, g: Geometry, out_size) -> bool:
    """Whether this is the fast way for a convolution: 3x3, stride 1, many channels in and out, sizes that tiles fit."""
    if g.kernel != (3, 3) or g.stride != (1, 1) or g.groups != 1 or min(weight_shape[:2]) < LEAST:
        return False
    grids = [-(-size // d) for size, d in zip(out_size, g.dilation)]  # the largest of the interleaved grids
    covered = math.prod(-(-size // TILE) * TILE for size in grids)
    exact_enough = dtype in (np.float32, np.float64)
    return exact_enough and covered <= WASTE * math.prod(grids) and max(g.dilation) <= 4


def grids(x, y, g: Geometry):
    """With dilation d, d * d ordinary convolutions are interleaved: of each its part of x, part of y, and padding."""
    (dh, dw), (ph, pw) = g.dilation, g.padding
    for a in range(min(dh, y.shape[2])):
        for b in range(min(dw, y.shape[3])):
            (top, row), (left, column) = divmod(a - ph, dh), divmod(b - pw, dw)
            yield x[:, :, row::dh, column::dw], y[:, :, a::dh, b::dw], (-top, -left)


def transformed_weight(kernels, dtype, rotated=False):
    """u (36, A, B) = G w G.T for kernels (A, B, 3, 3), or for the kernels rotated by 180 degrees."""
    a, b = kernels.shape[:2]
    matrix = OF_WEIGHT[:, :: -1 if rotated else 1].astype(dtype)
    u = workspace((36, a * b), dtype, 5)

    def transform(s):
        np.matmul(matrix, kernels[s].reshape(-1, 9).T, out=u[:, s.start * b : s.stop * b])

    in_slices(transform, a, u.size)
    return u.reshape(36, a, b)


def outputs_in_parts(outputs, inputs):
    """Slices of the output channels whose transformed kernels have at most PART elements."""
    count = -(-36 * outputs * inputs // PART)
    step = -(-outputs // count)
    return [slice(start, start + step) for start in range(0, outputs, step)]


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow), as in nn/layers/conv.py, for 3x3 kernels with stride 1 and without groups."""
    y = np.empty((len(x), len(weight), *out_size), np.result_type(x, weight))
    for o in outputs_in_parts(*weight.shape[:2]):
        u = transformed_weight(weight[o].swapaxes(0, 1), y.dtype)
        for part, into, padding in grids(x, y[:, o], g):
            apply(part, u, padding, into, None if bias is None else bias[o])
    return y


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias: a convolution of dy with the kernels rotated by 180 degrees, in and out swapped."""
    outputs, inputs = weight.shape[:2]
    dx = np.empty((len(dy), inputs, *in_size), np.result_type(dy, weight))
    rotated = g._replace(padding=tuple(2 * d - p for d, p in zip(g.dilation, g.padding)))
    for c in outputs_in_parts(inputs, outputs):
        u = transformed_weight(weight[:, c], dx.dtype, rotated=True)
        for part, into, padding in grids(dy, dx[:, c], rotated):
            apply(part, u, padding, into, None if bias is None else bias[c])
    return dx


def apply(x, u, padding, y, bias):
    """Fill y (N, O, oh, ow) for x (N, C, H, W) and transformed kernels u (36, C, O)."""
    (n, o, *out_size), dtype = y.shape, u.dtype
    of_input, of_output = OF_INPUT.astype(dtype), OF_OUTPUT.astype(dtype)
    work, columns = chunks(n, out_size, max(u.shape[1:]), least=2)

    def run(i):
        chunk, tiles = work[i]
        v = gather_tiles(x, chunk, tiles, columns, padding, REACH, of_input, 2)
        m = workspace((36, tiles, o), dtype, 3)
        np.matmul(v, u, out=m)
        put_tiles(y, m, chunk, columns, of_output, bias)

    parallel_for(run, len(work))


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C, 3, 3): the adjoint of `conv2d`: G.T [sum over tiles of (A dy A.T) * (B.T x B)] G."""
    dw = np.zeros(weight_shape, np.result_type(dy, x))
    for o in outputs_in_parts(*weight_shape[:2]):
        for part, dy_part, padding in grids(x, dy[:, o], g):
            _add_weight_gradient(dw[o].reshape(-1, 9), transformed_gradient(dy_part, part, padding, dw.dtype))
    return dw


def _add_weight_gradient(dw, du):
    """dw (O * C, 9) += G.T du G for du (lanes, 36, O * C)."""
    of_weight = OF_WEIGHT.astype(dw.dtype)

    def back(s):
        total = du[0, :, s] if len(du) == 1 else du[:, :, s].sum(axis=0)
        dw[s] += (of_weight.T @ total).T

    in_slices(back, len(dw), du.size)


def transformed_gradient(dy, x, padding, dtype):
    """du (lanes, 36, O * C), partial sums of the gradient of the transformed kernels.

    Threads share the chunks, each with sums of its own, or, where those would be too large, the 36 matrices.
    """
    (n, o, *out_size), c = dy.shape, x.shape[1]
    of_input, of_output = OF_INPUT.astype(dtype), OF_OUTPUT.T.astype(dtype)
    lanes = next(lanes for lanes in LANES if lanes * 36 * c * o <= SUMS or lanes == 1)
    parts = 1 if lanes > 1 else 4
    work, columns = chunks(n, out_size, max(c, o), least=lanes)
    lanes, step = min(lanes, len(work)), 36 // parts
    du = workspace((lanes, 36, o, c), dtype, 5)

    def run(i):
        lane, elements = i // parts, slice(i % parts * step, (i % parts + 1) * step)
        for k, (chunk, tiles) in enumerate(work[lane::lanes]):
            v = gather_tiles(x, chunk, tiles, columns, padding, REACH, of_input[elements], 2)
            dm = gather_tiles(dy, chunk, tiles, columns, (0, 0), TILE, of_output[elements], 3)
            product = workspace((step, o, c), dtype, 4) if k else du[lane, elements]
            np.matmul(dm.swapaxes(1, 2), v, out=product)
            if k:
                du[lane, elements] += product

    parallel_for(run, lanes * parts)
    return du.reshape(lanes, 36, o * c)
