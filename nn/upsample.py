"""Larger images: unpooling to remembered places, nearest and bilinear interpolation, bed of nails."""

import numpy as np

from nn.avg_pool import check_pixels
from nn.backend import array_module, parallel_for
from nn.layer import Layer, check_shape, pair
from nn.pieces import in_slices
from nn.separable import resample, window_sums
from nn.windows import Geometry


class MaxUnpool2d(Layer):
    """y[indices] = x, zero elsewhere.    x, indices (N, C, H, W), y (N, C, oh, ow): a partial inverse of MaxPool2d.

    indices are MaxPool2d's: flat places in the oh*ow of the output plane. kernel_size, stride (default: kernel_size)
    and padding are those of that pooling; they only determine the size, oh = (H - 1) stride - 2 padding + kh, which
    several sizes are pooled to: output_size, (oh, ow) or a whole shape, picks another one, less than a stride away.

    Where an index is repeated (windows overlapped) the last in reading order is kept and alone gets the gradient.
    backward returns (dx, None).

    Raises ValueError for indices of another shape or outside the output plane, an output_size out of reach, an image
    without pixels; TypeError for indices that are not whole numbers.

    Reference: Zeiler and Fergus 2013, Visualizing and understanding convolutional networks, arXiv:1311.2901, sec. 2.1.
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        kernel = pair(self, "kernel_size", kernel_size, 1)
        stride = kernel if stride is None else pair(self, "stride", stride, 1)
        self.geometry = Geometry(kernel, stride, pair(self, "padding", padding, 0))

    def forward(self, x, indices, output_size=None, training=True):
        check_pixels(self, x)
        out_size = self._output_size(x.shape[2:], output_size)
        self._check_indices(x, indices, out_size)
        xp = array_module(x)
        y = xp.empty((*x.shape[:2], out_size[0] * out_size[1]), x.dtype)

        def image(i):
            y[i] = 0
            y[i].reshape(-1)[places(indices[i], y.shape[2])] = x[i].ravel()

        parallel_for(image, len(x), xp)
        return y.reshape(*x.shape[:2], *out_size), (indices, out_size)

    def backward(self, dy, cache):
        indices, out_size = cache
        check_shape(self, dy=(dy, (*indices.shape[:2], *out_size)))
        xp = array_module(dy)
        dx = xp.empty(indices.shape, dy.dtype)

        def image(i):
            place = places(indices[i], out_size[0] * out_size[1])
            dx[i] = dy[i].reshape(-1)[place].reshape(dx[i].shape)  # y[place] = x
            filled = xp.zeros(dy[i].size, bool)
            filled[place] = True
            if xp.count_nonzero(filled) < place.size:  # of equal places the last is kept, the others get nothing
                number = xp.arange(place.size, dtype=np.int32)
                kept = xp.empty(dy[i].size, number.dtype)
                kept[place] = number
                dx[i] *= (kept[place] == number).reshape(dx[i].shape)

        parallel_for(image, len(dx), xp)
        return dx, None

    def _output_size(self, in_size, wanted):
        g = self.geometry
        default = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(in_size, g.kernel, g.stride, g.padding)]
        if wanted is None:
            size, low, high = default, (1, 1), default
        else:
            size = pair(self, "output_size", tuple(wanted)[2:] if len(wanted) == 4 else tuple(wanted), 1)
            low, high = ([d + sign * (s - 1) for d, s in zip(default, g.stride)] for sign in (-1, 1))
        if any(not a <= n <= b for a, n, b in zip(low, size, high)):
            reach = f", which must be in {tuple(low)} .. {tuple(high)}" if wanted is not None else ""
            raise ValueError(
                f"MaxUnpool2d: output size {tuple(size)}{reach} for input {tuple(in_size)}, kernel {g.kernel}, "
                f"stride {g.stride}, padding {g.padding}"
            )
        return tuple(size)

    def _check_indices(self, x, indices, out_size):
        if not hasattr(indices, "dtype") or indices.dtype.kind not in "iu":
            got = getattr(indices, "dtype", type(indices).__name__)
            raise TypeError(f"MaxUnpool2d: indices must be an array of whole numbers, got {got}")
        if indices.shape != x.shape:
            raise ValueError(f"MaxUnpool2d: indices must have shape {x.shape}, got {indices.shape}")
        last = out_size[0] * out_size[1] - 1
        xp = array_module(x)
        ends = in_slices(lambda n: (int(indices[n].min()), int(indices[n].max())), len(x), x.size, xp)
        low, high = min((end[0] for end in ends), default=0), max((end[1] for end in ends), default=0)
        if low < 0 or high > last:
            raise ValueError(f"MaxUnpool2d: indices must be in 0 .. {last} for output {out_size}, got {low} .. {high}")


def places(indices, plane: int):
    """Flat places in an image (C, plane) of the indices (C, H, W) into its planes, in reading order."""
    xp = array_module(indices)
    return (xp.arange(len(indices))[:, None, None] * plane + indices).ravel()


# A scale_factor that comes to exactly this many times the input's size is taken as that, as PyTorch does.
TAKEN_AS = {"nearest": (1, 2), "bilinear": (1,), "bed_of_nails": ()}


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
        if mode not in ("nearest", "bilinear", "bed_of_nails"):
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
        if self.mode == "bilinear":
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
        factors = self._factors(in_size, out_size)
        if self.mode == "bed_of_nails":
            return dy[:, :, :: factors[0], :: factors[1]].copy()  # y[::s, ::s] = x
        if self.mode == "nearest" and factors:
            return window_sums(dy, Geometry(factors, factors), in_size)  # each pixel of x has become a block of y
        rows, cols = self._matrices(in_size, out_size)
        return resample(dy, rows.T, cols.T)  # y = rows @ x @ cols.T

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
