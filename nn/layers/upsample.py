"""Larger images: nearest and bilinear interpolation, bed of nails.

nn/cpu/upsample.py and nn/gpu/upsample.py hold the same functions for the two interpolations, faster.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair
from nn.layers.avg_pool import check_pixels

# A scale_factor that comes to exactly this many times the input's size is taken as that, as PyTorch does.
TAKEN_AS = {"nearest": (1, 2), "bilinear": (1,), "bed_of_nails": ()}
MODES = "nearest", "bilinear", "bed_of_nails"


def upsample(x, out_size, scales, mode, align_corners=False):
    """y (N, C, oh, ow) for x (N, C, H, W), as Upsample2d defines it; scales: those of the rows and of the columns."""
    xp, in_size = array_module(x), x.shape[2:]
    if mode == "bed_of_nails":
        y, (sh, sw) = xp.zeros((*x.shape[:2], *out_size), x.dtype), map(int, scales)
        y[:, :, ::sh, ::sw] = x
        return y
    if mode == "nearest":
        rows, cols = (xp.asarray(nearest(*axis)) for axis in zip(in_size, out_size, scales))
        return x.take(rows, axis=2).take(cols, axis=3)
    rows, cols = (xp.asarray(m, x.dtype) for m in matrices(in_size, out_size, scales, mode, align_corners))
    return rows @ x @ cols.T


def upsample_backward(dy, in_size, scales, mode, align_corners=False):
    """dx (N, C, H, W) for dy (N, C, oh, ow)."""
    xp, out_size = array_module(dy), dy.shape[2:]
    if mode == "bed_of_nails":
        sh, sw = map(int, scales)
        return dy[:, :, ::sh, ::sw].copy()  # y[:, :, ::sh, ::sw] = x
    rows, cols = (xp.asarray(m, dy.dtype) for m in matrices(in_size, out_size, scales, mode, align_corners))
    return rows.T @ dy @ cols  # y = rows @ x @ cols.T


def matrices(in_size, out_size, scales, mode, align_corners):
    """rows (oh, H) and cols (ow, W): the weight of each row (column) of x in each one of y: y = rows @ x @ cols.T."""
    axes = zip(in_size, out_size, scales)
    if mode == "nearest":
        return [nearest(n, count, scale)[:, None] == np.arange(n) for n, count, scale in axes]
    return [linear_matrix(*axis, align_corners) for axis in axes]


def nearest(n: int, count: int, scale: float):
    """(count,): which of the n rows (columns) of x each one of y is."""
    r = np.arange(count)
    if scale == count / n:  # a ratio of integers: so is the division, without rounding
        return r * n // count
    return (r / scale).astype(np.int64)


def linear_matrix(n: int, count: int, scale: float, align_corners: bool):
    """(count, n): linear interpolation between n points at the `count` positions that Upsample2d names."""
    r = np.arange(count)
    position = r * (n - 1) / max(count - 1, 1) if align_corners else (r + 0.5) / scale - 0.5
    distance = abs(np.clip(position, 0, n - 1)[:, None] - np.arange(n))
    return np.maximum(1 - distance, 0)  # the hat function: the two neighbours share the weight, the others have none


class Upsample2d(Layer):
    """y = x resampled to another size.    x (N, C, H, W), y (N, C, oh, ow).

    Either size, an integer or a (vertical, horizontal) pair, or scale_factor, a positive number or a pair: then
    oh = floor(H scale). With scale = oh / H for a given size, row r of y is, by `mode`:

    - "nearest": row floor(r / scale) of x;
    - "bilinear": x at the height (r + 0.5) / scale - 0.5: pixels are squares whose centres stay where they are in the
      picture; with align_corners=True at r (H - 1) / (oh - 1): the centres of the corner pixels stay. Linear
      between two rows; above the first and below the last row x is as there. y = rows @ x @ cols.T, two small matrices;
    - "bed_of_nails": row r / scale where that is whole, else zeros; whole-numbered scales only.

    Columns likewise. As in PyTorch a scale_factor such as 1.2 that leaves the size as it was is taken as 1, in mode
    "nearest" one that doubles it as 2.

    Raises ValueError unless exactly one of size and scale_factor is given, for an unknown mode, align_corners=True in
    another mode than bilinear, an output without pixels, bed of nails by a fraction.

    Reference: Long et al. 2015, Fully convolutional networks, arXiv:1411.4038, sec. 3.3; Dumoulin and Visin 2016,
    arXiv:1603.07285, sec. 4.4 (zeros between the pixels).
    """

    def __init__(self, size=None, scale_factor=None, mode: str = "nearest", align_corners: bool | None = None):
        if (size is None) == (scale_factor is None):
            got = f"size={size}, scale_factor={scale_factor}"
            raise ValueError(f"Upsample2d: exactly one of size and scale_factor must be given, got {got}")
        if mode not in MODES:
            raise ValueError(f"Upsample2d: mode must be 'nearest', 'bilinear' or 'bed_of_nails', got {mode!r}")
        if align_corners and mode != "bilinear":
            raise ValueError(f"Upsample2d: align_corners=True is for mode 'bilinear', got mode {mode!r}")
        self.size = None if size is None else pair(self, "size", size, 1)
        self.scale_factor = None if scale_factor is None else positive_pair(scale_factor)
        self.mode, self.align_corners = mode, bool(align_corners)

    def forward(self, x, training=True):
        check_pixels(self, x)
        in_size, out_size = x.shape[2:], self._output_size(x.shape[2:])
        ops, scales = functions(__name__, x, mode=self.mode), self._scales(in_size, out_size)
        return ops.upsample(x, out_size, scales, self.mode, self.align_corners), x.shape

    def backward(self, dy, cache):
        n, c, *in_size = cache
        out_size = self._output_size(in_size)
        check_shape(self, dy=(dy, (n, c, *out_size)))
        ops, scales = functions(__name__, dy, mode=self.mode), self._scales(in_size, out_size)
        return ops.upsample_backward(dy, in_size, scales, self.mode, self.align_corners)

    def _output_size(self, in_size):
        size = self.size or tuple(int(n * scale) for n, scale in zip(in_size, self.scale_factor))
        if min(size) < 1:
            raise ValueError(
                f"Upsample2d: output size {size} for input {tuple(in_size)}, scale_factor {self.scale_factor}"
            )
        if self.mode == "bed_of_nails" and any(scale % 1 for scale in self._scales(in_size, size)):
            raise ValueError(
                f"Upsample2d: bed of nails takes whole-numbered scales, got input {tuple(in_size)}, output {size}"
            )
        return size

    def _scales(self, in_size, out_size):
        """The scale of each axis: the given one, or what the sizes come to."""
        ratios = [o / n for n, o in zip(in_size, out_size)]
        if self.size:
            return ratios
        return [r if r in TAKEN_AS[self.mode] else given for r, given in zip(ratios, self.scale_factor)]


def positive_pair(value) -> tuple[float, float]:
    """(v, v) for a number v > 0, (a, b) for a pair of them: Upsample2d's scale_factor."""
    both = tuple(value) if np.ndim(value) else (value, value)
    real = len(both) == 2 and all(isinstance(v, (int, float, np.number)) for v in both)
    if not real or not all(0 < v < np.inf for v in both):
        raise ValueError(f"Upsample2d: scale_factor must be a number > 0 or a pair of them, got {value!r}")
    return float(both[0]), float(both[1])
