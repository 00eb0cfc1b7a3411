"""Larger images: nearest and bilinear interpolation, bed of nails.

Interpolation on a GPU is by the kernels of nn/gpu/upsample.cu.
"""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape, pair
from nn.layers.avg_pool import check_pixels
from nn.layers.separable import resample, window_sums
from nn.layers.windows import Geometry

# A scale_factor that comes to exactly this many times the input's size is taken as that, as PyTorch does.
TAKEN_AS = {"nearest": (1, 2), "bilinear": (1,), "bed_of_nails": ()}
MODES = "nearest", "bilinear", "bed_of_nails"


class Upsample2d(Layer):
    """y = x resampled to another size.    x (N, C, H, W), y (N, C, oh, ow).

    Either size, a whole number or a (vertical, horizontal) pair, or scale_factor, a positive number or a pair: then
    oh = floor(H scale). With scale = oh / H for a given size, row r of y is, by `mode`:

    - "nearest": row floor(r / scale) of x;
    - "bilinear": x at the height (r + 0.5) / scale - 0.5: pixels are squares whose centres keep their place in the
      picture; with align_corners=True at r (H - 1) / (oh - 1): the centres of the corner pixels keep theirs. Linear
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
        in_size, xp = x.shape[2:], array_module(x)
        out_size = self._output_size(in_size)
        if self.mode != "bed_of_nails" and use_kernels(x):
            y = xp.empty((*x.shape[:2], *out_size), x.dtype)
            low, fraction, _ = self._axes(x, in_size, out_size)
            arrays, sizes = (y, xp.ascontiguousarray(x), low, fraction), (y.size, *in_size, *out_size)
            launch("upsample", "upsample_forward", y.size, y.dtype, *arrays, *sizes)
        elif self.mode == "bilinear":
            y = resample(x, *self._matrices(in_size, out_size))
        elif self.mode == "nearest":
            rows, cols = (xp.asarray(source) for source in self._sources(in_size, out_size))
            y = xp.take(xp.take(x, rows, axis=2), cols, axis=3)
        else:
            (sh, sw), y = self._factors(in_size, out_size), xp.zeros((*x.shape[:2], *out_size), x.dtype)
            y[:, :, ::sh, ::sw] = x
        return y, x.shape

    def backward(self, dy, cache):
        n, c, *in_size = cache
        out_size = self._output_size(in_size)
        check_shape(self, dy=(dy, (n, c, *out_size)))
        if self.mode != "bed_of_nails" and use_kernels(dy):
            xp = array_module(dy)
            dx, dy = xp.empty((n, c, *in_size), dy.dtype), xp.ascontiguousarray(dy)
            axes, sizes = self._axes(dy, in_size, out_size), (dx.size, *in_size, *out_size, self.mode == "nearest")
            launch("upsample", "upsample_backward", dx.size, dx.dtype, dx, dy, *axes, *sizes)
            return dx
        factors = self._factors(in_size, out_size)
        if self.mode == "bed_of_nails":
            return dy[:, :, :: factors[0], :: factors[1]].copy()  # y[::s, ::s] = x
        if self.mode == "nearest" and factors:
            return window_sums(dy, Geometry(factors, factors), in_size)  # each pixel of x has become a block of y
        rows, cols = self._matrices(in_size, out_size)
        return resample(dy, rows.T, cols.T)  # y = rows @ x @ cols.T

    def _axes(self, x, in_size, out_size):
        """What upsample_axes finds out about both axes; places are computed in double, as on the CPU."""
        xp, mode, count = array_module(x), MODES.index(self.mode) + self.align_corners, sum(out_size)
        low, starts = xp.empty(count, np.int32), xp.empty(sum(in_size) + 2, np.int32)
        fraction, scales = xp.empty(count, np.float64), map(float, self._scales(in_size, out_size))
        arrays, sizes = (low, fraction, starts), (count, *in_size, *out_size)
        launch("upsample", "upsample_axes", count, np.float64, *arrays, *sizes, *scales, mode)
        return low, fraction.astype(x.dtype, copy=False), starts

    def _output_size(self, in_size):
        size = self.size or tuple(int(n * scale) for n, scale in zip(in_size, self.scale_factor))
        if min(size) < 1:
            raise ValueError(
                f"Upsample2d: output size {size} for input {tuple(in_size)}, scale_factor {self.scale_factor}"
            )
        if self.mode == "bed_of_nails" and not self._factors(in_size, size):
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

    def _factors(self, in_size, out_size):
        """The two scales where both are whole numbers, else None."""
        scales = self._scales(in_size, out_size)
        return tuple(int(s) for s in scales) if all(s == int(s) for s in scales) else None

    def _matrices(self, in_size, out_size):
        """rows (oh, H) and cols (ow, W): the weight of each row (column) of x in each one of y."""
        if self.mode == "nearest":
            return [s[:, None] == np.arange(n) for s, n in zip(self._sources(in_size, out_size), in_size)]
        scales = self._scales(in_size, out_size)
        return [linear_matrix(n, o, s, self.align_corners) for n, o, s in zip(in_size, out_size, scales)]

    def _sources(self, in_size, out_size):
        """Which row (column) of x each one of y is, in mode "nearest"."""
        axes = zip(in_size, out_size, self._scales(in_size, out_size))
        return [  # in whole numbers where the scale is a ratio of such
            np.arange(o) * n // o if scale == o / n else (np.arange(o) / scale).astype(np.int64) for n, o, scale in axes
        ]


def linear_matrix(n: int, count: int, scale: float, align_corners: bool):
    """(count, n): linear interpolation between n points at the `count` places that Upsample2d names."""
    r = np.arange(count)
    place = r * (n - 1) / max(count - 1, 1) if align_corners else (r + 0.5) / scale - 0.5
    distance = abs(np.clip(place, 0, n - 1)[:, None] - np.arange(n))
    return np.maximum(1 - distance, 0)  # the hat function: the two neighbours share the weight, the others have none


def positive_pair(value) -> tuple[float, float]:
    """(v, v) for a number v > 0, (a, b) for a pair of them: Upsample2d's scale_factor."""
    both = tuple(value) if np.ndim(value) else (value, value)
    numbers = len(both) == 2 and all(isinstance(v, (int, float, np.number)) for v in both)
    if not numbers or not all(0 < v < np.inf for v in both):
        raise ValueError(f"Upsample2d: scale_factor must be a number > 0 or a pair of them, got {value!r}")
    return float(both[0]), float(both[1])
