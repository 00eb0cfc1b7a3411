"""Convolution with kernels of 5x5 to 9x9 by the discrete Fourier transform of tiles, every step a matrix product.

nn/layers/convolution_theorem.py explains the theorem and overlap-save. Here T x T pixels of a tile become F x T waves,
F = T/2 + 1, since the waves of real values come in conjugate pairs. A complex value is two real ones:

    rows      (2F, T) @ tile                     re and im of the F waves of each column
    columns   (2T, 2T) @ those, for each f       re and im of the T waves of each of them
    product   P[b, a] = X_a W_b                  for each of the F T waves, with a, b re or im: (2 tiles, C) @ (C, O)
    back      (2V, 4T) @ P, then (V, 2F)         what of Y = X conj(W) is re and im is in this matrix, too

An output takes 4 F T / V^2 multiply-adds for each pair of channels, whatever the kernel: 5.8 for 7x7 with T = 16, where
the direct sum takes 49. An infinite or NaN pixel makes NaN of all outputs of its tiles, not only of those that see it.
The chunks depend on the shapes alone and the sums have a fixed order: the number of threads changes no bit.

Reference: Mathieu, Henaff and LeCun 2014, Fast training of convolutional networks through FFTs, arXiv:1312.5851.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.overlapping_tiles import gather
from nn.cpu.parallel import parallel_for, workspace
from nn.layers.convolution_theorem import dft_matrix
from nn.layers.windows import Geometry

TILES = {5: 16, 6: 16, 7: 16, 8: 20, 9: 20}  # pixels along a side of a tile, T, by the size of the kernel
CHUNK = 1 << 18  # elements of the tiles of a chunk
GRADIENT_TILES = 64  # of a chunk at least for the weight gradient, where the sum over tiles should be long
LANES = 2  # partial sums of the weight gradient
LEAST, MOST = 16, 1 << 14  # channels in and out at least, and their product at most, for the memory of these sums
POSITIONS = 4000  # of the output in the batch at least; with fewer, nn/cpu/conv_tiled.py is faster
WASTE = 1.6  # the tiles have at most so many times the positions of the output


class Transform(NamedTuple):
    """Matrices of tiles of T pixels, real and in one dtype. rows (2F, T), columns (2T, 2T); back_columns (2T, 4T) and
    back_rows (T, 2F), of which a caller takes the rows of the outputs that it keeps.
    """

    rows: np.ndarray
    columns: np.ndarray
    back_columns: np.ndarray
    back_rows: np.ndarray


@cache
def transform(t: int, dtype) -> Transform:
    """Of both directions. Rows are ordered (wave, re or im), those of back_columns (re or im, pixel)."""
    waves, f = dft_matrix(t), t // 2 + 1
    rows = np.stack([waves[:f].real, waves[:f].imag], axis=1)  # (F, 2, T)
    columns = np.stack(  # (re + i im) of (a + i b) waves
        [np.stack([waves.real, -waves.imag], axis=1), np.stack([waves.imag, waves.real], axis=1)], axis=1
    )  # (T, re or im, a or b, T)
    back = waves.conj() / t  # (pixel, wave)
    # Y = X conj(W) = (P[re, re] + P[im, im]) + i (P[re, im] - P[im, re]), P[b, a]
    of_products = back[:, :, None, None] * np.array([[1, 1j], [-1j, 1]])  # (pixel, wave, b, a)
    back_columns = np.stack([of_products.real, of_products.imag])  # (2, pixel, wave, b, a)
    twice = np.where(np.isin(np.arange(f), (0, t / 2)), 1, 2)  # a wave stands for its conjugate, too
    back_rows = np.stack([(twice * back[:, :f]).real, -(twice * back[:, :f]).imag], axis=2)  # (pixel, wave, 2)
    shapes = (2 * f, t), (2 * t, 2 * t), (2 * t, 4 * t), (t, 2 * f)
    made = (rows, columns, back_columns, back_rows)
    return Transform(*(np.ascontiguousarray(m.reshape(s), dtype) for m, s in zip(made, shapes)))


def kept_columns(matrices: Transform, t: int, pixels: int) -> np.ndarray:
    """(2 pixels, 4T): of back_columns the rows of the first pixels, re and im."""
    return np.ascontiguousarray(matrices.back_columns.reshape(2, t, 4 * t)[:, :pixels].reshape(2 * pixels, 4 * t))


def seen_columns(matrices: Transform, t: int, pixels: int) -> np.ndarray:
    """(2T, 2 pixels): of columns what the first pixels need, the others being 0."""
    return np.ascontiguousarray(matrices.columns.reshape(2 * t, 2, t)[:, :, :pixels].reshape(2 * t, 2 * pixels))


def takes(dtype, weight_shape, g: Geometry, images, out_size) -> bool:
    """Whether this is the fast way for a convolution: a large kernel, stride 1, channels and sizes that pay."""
    (kh, kw), (oh, ow) = g.kernel, out_size
    if kh != kw or kh not in TILES or g.stride != (1, 1) or g.dilation != (1, 1) or g.groups != 1:
        return False
    v = TILES[kh] - kh + 1
    covered = -(-oh // v) * -(-ow // v) * v * v
    (o, c), outputs = weight_shape[:2], oh * ow
    pays = min(o, c) >= LEAST and o * c <= MOST and images * outputs >= POSITIONS and covered <= WASTE * outputs
    return pays and dtype in (np.float32, np.float64) and max(g.padding) < kh


def chunks(images: int, rows: int, columns: int, pixels: int, least: int = 1) -> list[tuple[slice, slice]]:
    """Images and rows of tiles that are computed together. pixels: elements of a tile, all channels; least: tiles."""
    many = max(1, CHUNK // (pixels * columns), -(-least // columns))  # rows of tiles
    if many >= rows:
        several = max(1, min(many // rows, -(-images // 2)))
        return [(slice(i, min(i + several, images)), slice(0, rows)) for i in range(0, images, several)]
    height = -(-rows // -(-rows // many))
    parts = [slice(top, min(top + height, rows)) for top in range(0, rows, height)]
    return [(slice(i, i + 1), part) for i in range(images) for part in parts]


def to_waves(tiles, rows, columns, slot):
    """(F T, 2, M), re and im of the waves of tiles (side, side, M)."""
    side, _, m = tiles.shape
    waves, t = len(rows) // 2, len(columns) // 2
    half = workspace((2 * waves, side * m), tiles.dtype, 2)
    np.matmul(rows, tiles.reshape(side, side * m), out=half)
    out = workspace((waves, 2 * t, m), tiles.dtype, slot)
    np.matmul(columns, half.reshape(waves, 2 * side, m), out=out)
    return out.reshape(waves * t, 2, m)


def from_waves(products, columns, rows):
    """(V, V, M) of products (F T, b, a, M): the first V x V pixels of tiles."""
    m, v = products.shape[-1], len(rows)
    waves, t4 = rows.shape[1] // 2, columns.shape[1]
    half = workspace((waves, 2 * v, m), products.dtype, 2)
    np.matmul(columns, products.reshape(waves, t4, m), out=half)
    out = workspace((v, v * m), products.dtype, 1)
    np.matmul(rows, half.reshape(2 * waves, v * m), out=out)
    return out.reshape(v, v, m)


def weight_waves(kernels, t, dtype):
    """(F T, 2, C, O), re and im of the waves of kernels (C, O, k, k)."""
    c, o, k, _ = kernels.shape
    matrices = transform(t, dtype)
    rows, columns = np.ascontiguousarray(matrices.rows[:, :k]), seen_columns(matrices, t, k)
    out = np.empty((len(rows) // 2 * t, 2, c, o), dtype)

    def run(part):
        pixels = np.ascontiguousarray(kernels[part].transpose(2, 3, 0, 1), dtype).reshape(k, k, -1)
        out[:, :, part] = to_waves(pixels, rows, columns, 3).reshape(len(out), 2, -1, o)

    in_slices(run, c, out.size)
    return out


def apply(x, kernels, padding, out_size, bias):
    """y (N, O, oh, ow) of x (N, C, H, W) and kernels (C, O, k, k)."""
    (_, o, k, _), dtype = kernels.shape, np.result_type(x, kernels)
    t, c = TILES[k], x.shape[1]
    v = t - k + 1
    matrices, w = transform(t, dtype), weight_waves(kernels, t, dtype)
    back_columns, back_rows = kept_columns(matrices, t, v), np.ascontiguousarray(matrices.back_rows[:v])
    rows, columns = (-(-size // v) for size in out_size)
    work, y = chunks(len(x), rows, columns, t * t * max(c, o)), np.empty((len(x), o, *out_size), dtype)
    x = x.astype(dtype, copy=False)

    def run(i):
        waves = to_waves(gather(x, work[i], columns, padding, v, t), matrices.rows, matrices.columns, 3)
        tiles = waves.shape[2] // c
        products = workspace((len(waves), 2, 2 * tiles, o), dtype, 4)
        np.matmul(waves.reshape(len(waves), 1, 2 * tiles, c), w, out=products)
        pixels = from_waves(products.reshape(len(waves), 2, 2, tiles * o), back_columns, back_rows)
        put(y, pixels.reshape(v, v, tiles, o), work[i], columns, bias)

    parallel_for(run, len(work))
    return y


def put(y, pixels, chunk, columns, bias):
    """Write the pixels (V, V, tiles, O) of a chunk's tiles, + bias, into y (N, O, oh, ow)."""
    (images, rows), (v, _, _, o) = chunk, pixels.shape
    n, r = images.stop - images.start, rows.stop - rows.start
    pixels = pixels.reshape(v, v, n, r, columns, o)
    # 16 more than O: at distances of a power of two, pixels would share few sets of the cache
    part = workspace((n, r, v, columns, v, o + 16), y.dtype, 0)[..., :o]
    np.add(pixels, 0 if bias is None else bias, out=part.transpose(2, 4, 0, 1, 3, 5))
    into = y[images, :, v * rows.start : v * rows.stop]
    shape, strides = (n, r * v, columns * v, o), [part.strides[axis] for axis in (0, 2, 4, 5)]
    whole = np.lib.stride_tricks.as_strided(part, shape, strides)
    into[...] = whole[:, : into.shape[2], : into.shape[3]].transpose(0, 3, 1, 2)


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow), as in nn/layers/conv.py."""
    return apply(x, weight.swapaxes(0, 1), g.padding, out_size, bias)


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias: a convolution of dy with the kernels rotated by 180 degrees, in and out swapped."""
    padding = tuple(k - 1 - p for k, p in zip(g.kernel, g.padding))
    return apply(dy, weight[:, :, ::-1, ::-1], padding, in_size, bias)


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C, k, k): a correlation of x with dy, the waves of all tiles added up before they are turned back."""
    (o, c, k, _), dtype = weight_shape, np.result_type(dy, x)
    t, (n, _, *out_size) = TILES[k], dy.shape
    v, matrices = t - k + 1, transform(t, dtype)
    of_dy = np.ascontiguousarray(matrices.rows[:, :v]), seen_columns(matrices, t, v)
    rows, columns = (-(-size // v) for size in out_size)
    work, count = chunks(n, rows, columns, t * t * max(c, o), GRADIENT_TILES), (t // 2 + 1) * t
    lanes = max(1, min(LANES, len(work)))
    sums = np.zeros((lanes, count, 2, 2, c, o), dtype)  # b, of dy, and a, of x
    x, dy = (array.astype(dtype, copy=False) for array in (x, dy))

    def run(lane):
        products = workspace(sums.shape[1:], dtype, 5)
        for chunk in work[lane::lanes]:
            of_x = to_waves(gather(x, chunk, columns, g.padding, v, t), matrices.rows, matrices.columns, 3)
            ours = to_waves(gather(dy, chunk, columns, (0, 0), v, v), *of_dy, 4)
            tiles = ours.shape[2] // o
            np.matmul(
                of_x.reshape(count, 1, 2, tiles, c).swapaxes(3, 4), ours.reshape(count, 2, 1, tiles, o), out=products
            )
            sums[lane] += products

    parallel_for(run, lanes)
    pixels = from_waves(sums.sum(axis=0).reshape(count, 2, 2, c * o), *_back_to(matrices, t, k))
    return np.ascontiguousarray(pixels.reshape(k, k, c, o).transpose(3, 2, 0, 1))


def _back_to(matrices, t, k):
    return kept_columns(matrices, t, k), np.ascontiguousarray(matrices.back_rows[:k])
