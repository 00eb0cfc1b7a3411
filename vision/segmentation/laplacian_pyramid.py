"""The input of a multi-scale network: bands of a Laplacian pyramid, each pixel normalised by those around it."""

import numpy as np

from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from nn.layers.separable import resample
from vision.segmentation.enlarge import Enlarge


class LaplacianPyramid(Layer):
    """[band 0, band 1, ...]: each level of a Gaussian pyramid minus the next one enlarged; the last band is its top.

    x (N, C, H, W), band s (N, C, ceil(H / 2^s), ceil(W / 2^s)). g_0 = x, g_{s+1} = every second pixel of g_s blurred by
    (1, 3, 3, 1) / 8 along both axes, band s = g_s - enlarged(g_{s+1}). The kernel is even, so a pixel of g_{s+1} lies
    in the middle of 2 x 2 of g_s, as behind a 2x2 pooling. backward takes the list of the bands' gradients.

    Reference: Burt and Adelson 1983, The Laplacian pyramid as a compact image code.
    """

    def __init__(self, levels: int = 3):
        positive(self, levels=levels)
        self.levels, self.enlarge = levels, Enlarge(2)

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")))
        bands, cache = [], []
        for _ in range(self.levels - 1):
            rows, cols = (halving(n) for n in x.shape[2:])
            below = resample(x, rows, cols)
            smooth, c = self.enlarge.forward(below, x.shape[2:], training)
            bands.append(x - smooth)
            cache.append((rows, cols, c))
            x = below
        return [*bands, x], cache

    def backward(self, dy, cache):
        *dbands, dx = dy
        for dband, (rows, cols, c) in zip(reversed(dbands), reversed(cache)):
            dbelow = dx - self.enlarge.backward(dband, c)  # band = x - enlarged(below)
            dx = dband + resample(dbelow, rows.T, cols.T)  # below = rows @ x @ cols.T
        return dx


def halving(n: int) -> np.ndarray:
    """(ceil(n / 2), n): row i has 1/8, 3/8, 3/8, 1/8 at 2i - 1 .. 2i + 2, divided by their sum at the ends."""
    distance = abs(2 * np.arange(-(-n // 2))[:, None] + 0.5 - np.arange(n))
    matrix = np.where(distance < 1, 3.0, np.where(distance < 2, 1.0, 0.0))
    return matrix / matrix.sum(axis=1, keepdims=True)


class LocalContrastNorm(Layer):
    """y = (x - m) / sqrt(v + eps), m and v the mean and the variance of x around each pixel.    x, y (N, C, H, W).

    Both are over the size x size pixels around, as many as lie inside, in each channel by itself.

    Reference: Farabet et al. 2013, sec. 5 (zero mean and unit standard deviation in 15 x 15 patches).
    """

    def __init__(self, size: int = 15, eps: float = 1e-2):
        positive(self, size=size)
        if eps <= 0:
            raise ValueError(f"LocalContrastNorm: eps must be > 0, got {eps}")
        self.size, self.eps = size, eps

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")))
        rows, cols = (self._means(n) for n in x.shape[2:])
        m = resample(x, rows, cols)
        v = resample(x * x, rows, cols) - m * m
        scale = (array_module(x).maximum(v, 0) + self.eps) ** -0.5  # rounding may leave v a little below 0
        return (x - m) * scale, (x, m, scale)

    def backward(self, dy, cache):
        x, m, scale = cache
        check_shape(self, dy=(dy, x.shape))
        rows, cols = (self._means(n).T for n in x.shape[2:])
        dv = dy * (x - m) * scale**3 / -2  # y = (x - m) scale, scale = (v + eps)^-1/2
        dm = -dy * scale - 2 * m * dv  # v = mean of x^2 - m^2
        return dy * scale + resample(dm, rows, cols) + 2 * x * resample(dv, rows, cols)

    def _means(self, n):
        """(n, n): row i takes the mean of the positions around i."""
        near = abs(np.arange(n)[:, None] - np.arange(n)) <= self.size // 2
        return near / near.sum(axis=1, keepdims=True)
