"""The convolution theorem, plain: a convolution is a product, frequency by frequency.

The discrete Fourier transform writes T values as a sum of T waves:

    X[f] = sum_r x[r] exp(-2 pi i f r / T)          x[r] = 1/T sum_f X[f] exp(2 pi i f r / T)

A wave that is moved by s is the same wave times a number, exp(-2 pi i f s / T). A correlation with a kernel w adds up
moved copies of x, each times a weight; so it multiplies each wave by one number, which is conj(W[f]):

    y[r] = sum_j w[j] x[r + j]    <=>    Y[f] = conj(W[f]) X[f]                    r + j counted modulo T

In two dimensions rows are transformed, then columns. Counting modulo T means that what leaves at the end comes in
again at the beginning: of T outputs only V = T - k + 1 are those of a kernel of k taps, the others are spoilt.
Overlap-save: tiles of T pixels begin every V pixels, of each the first V outputs are kept. Then T stays small, and the
cost of an output does not depend on k.

nn/cpu/conv_dft.py computes the same fast, and is what large kernels use. These functions explain it; tests compare both
with nn/layers/conv.py. They are for stride 1, dilation 1 and one group.

Reference: Oppenheim and Schafer, Discrete-time signal processing, 3rd ed., sec. 8.7; Mathieu, Henaff and LeCun 2014,
Fast training of convolutional networks through FFTs, arXiv:1312.5851.
"""

import numpy as np

from nn.layers.windows import Geometry, pad


def dft_matrix(t: int) -> np.ndarray:
    """(T, T) complex: exp(-2 pi i f r / T), of which row f takes out wave f."""
    f, r = np.ogrid[:t, :t]
    return np.exp(-2j * np.pi * f * r / t)


def dft2(x: np.ndarray, t: int) -> np.ndarray:
    """(..., T, T) complex of x (..., h, w) with h, w <= T, zeros behind it: the columns' and the rows' waves."""
    h, w = x.shape[-2:]
    waves = dft_matrix(t)
    return waves[:, :h] @ x @ waves[:, :w].T


def inverse_dft2(x: np.ndarray) -> np.ndarray:
    """(..., T, T) complex of the waves x (..., T, T)."""
    t = x.shape[-1]
    waves = dft_matrix(t).conj() / t
    return waves @ x @ waves.T


def correlate(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(N, O, T, T), modulo T, of x (N, C, T, T) and weight (O, C, kh, kw): the convolution theorem."""
    x_waves, w_waves = dft2(x, x.shape[-1]), dft2(weight, x.shape[-1])
    y_waves = np.einsum("ncuv,ocuv->nouv", x_waves, w_waves.conj())  # for each wave (u, v) a product of matrices
    return inverse_dft2(y_waves).real


def conv2d(x: np.ndarray, weight: np.ndarray, g: Geometry, tile: int = 16) -> np.ndarray:
    """y (N, O, oh, ow), as in nn/layers/conv.py without a bias, by overlap-save on tiles of tile x tile pixels."""
    (kh, kw), (oh, ow) = weight.shape[2:], g.output_size("conv2d", *x.shape[2:])
    vh, vw = tile - kh + 1, tile - kw + 1  # outputs of a tile
    x, y = pad(x, g.padding), np.zeros((len(x), len(weight), oh, ow), x.dtype)
    for top in range(0, oh, vh):
        for left in range(0, ow, vw):
            seen = np.zeros((*x.shape[:2], tile, tile), x.dtype)  # zeros behind the last pixels
            part = x[:, :, top : top + tile, left : left + tile]
            seen[:, :, : part.shape[2], : part.shape[3]] = part
            into = y[:, :, top : top + vh, left : left + vw]
            into[...] = correlate(seen, weight)[:, :, : into.shape[2], : into.shape[3]]
    return y
