"""Convolution on the CPU, tile by tile: the general algorithm of nn/cpu/conv.py.

A tile is several small images, or a band of output rows of a large one, small enough that what is copied for it about
stays in the cache. The threads share the tiles. Only the taps of one row of the kernel are copied, each of them the
input moved sideways; what the next row of the kernel reads lies one row further on in the same copy. So each row of the
kernel is one matrix product, and the columns of all its taps are never made. The tiles depend on the shapes alone and
the sums have a fixed order: the number of threads changes no bit.
"""

import math

import numpy as np

from nn.cpu.parallel import parallel_for, workspace
from nn.layers.windows import Geometry, tap

TILE = 1 << 18  # elements copied for a tile: 1 MiB of float32; with less, threads get in each other's way,
ONCE = 1 << 19  # twice as many where one product reads them all,
SPREAD = 1 << 20  # and of products that are added up, planes end to end
RUN = 128  # but at least so many positions, which makes matrix products fast
TILES = 8  # at least so many tiles of a batch, where it has as many images,
SMALL = 1 << 17  # but at least two of them where fewer elements than this are copied for a tile
THIN = 40  # the taps of all rows are copied where one row of the kernel reads fewer elements than this,
WIDE = 0.75  # and fewer than so many times the output channels, to which the product of each row is added otherwise
NARROW = 16  # the weight gradient reads a dy of no more channels as it is, and a wider one transposed
FEW = 0.8  # rows of taps of all outputs are few where they are at most so many times the input channels
LANES = 8  # partial sums of the weight gradient: enough for 8 threads,
LANE_ELEMENTS = 1 << 23  # but fewer of large weights, to fit in memory


def by_group(weight, g: Geometry):
    """weight (O, C/groups, kh, kw) as matrices (groups, O/groups, C/groups * kh*kw)."""
    return weight.reshape(g.groups, len(weight) // g.groups, -1)


def tiles(n, height, out_h, width, size):
    """(images, rows), two slices, of every tile; `height` elements are copied for each of its positions.

    size: of a tile in these elements, at most.
    """
    rows = max(1, max(size // height, RUN) // width)
    if rows < out_h:
        return [(slice(i, i + 1), slice(r, min(r + rows, out_h))) for i in range(n) for r in range(0, out_h, rows)]
    together = max(n // TILES, min(n // 2, SMALL // (height * out_h * width)))
    count = -(-n // max(1, min(rows // out_h, together)))
    count = min(n, count + count % 2)  # an even number of about equal tiles
    return [(slice(n * k // count, n * (k + 1) // count), slice(0, out_h)) for k in range(count)]


def padded(x, top, left, height, width):
    """height x width pixels of x (N, C, H, W) from row `top` and column `left` on, zeros outside x."""
    inside = x[:, :, max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if inside.shape[2:] == (height, width):
        return inside
    part = workspace((*x.shape[:2], height, width), x.dtype)
    part[...] = 0
    top, left = max(-top, 0), max(-left, 0)
    part[:, :, top : top + inside.shape[2], left : left + inside.shape[3]] = inside
    return part


def copy_window(out, x, top, left):
    """Fill out (N, C, height, width), of contiguous planes, with the pixels of x from row `top` and column `left` on.

    Outside x there are zeros.
    """
    width, low, first = out.shape[3], max(-top, 0), max(-left, 0)
    high, last = max(low, min(out.shape[2], x.shape[2] - top)), max(first, min(width, x.shape[3] - left))
    out[:, :, :low] = out[:, :, high:] = 0
    inside, seen = out[:, :, low:high], x[:, :, top + low : top + high]
    if width == x.shape[3] and first < last and low < high:  # the rows end to end: those that run over get zeros below
        flat, pixels = (a.reshape(*a.shape[:2], -1) for a in (inside, seen))
        end = flat.shape[2] - width + last
        flat[:, :, first:end] = pixels[:, :, first + left : end + left]
    else:
        inside[..., first:last] = seen[..., left + first : left + last]
    inside[..., :first] = inside[..., last:] = 0


def rows_at_once(weight_shape, g: Geometry) -> int:
    """How many rows of the kernel go into one product: one, or all of a thin one with many outputs."""
    o, c, kh, kw = weight_shape
    return kh if c * kw < min(THIN, WIDE * (o // g.groups)) else 1


def few_outputs(weight_shape, g: Geometry, in_size, out_size) -> bool:
    """Whether a convolution that keeps the size has so few outputs that their taps are moved, not those of the inputs.

    Then y is computed as dx of the rotated kernel, and dweight with x and dy in each other's place.
    """
    o, c, kh, kw = weight_shape
    return g.stride == (1, 1) and kh * kw > 1 and in_size == out_size and kh * (o // g.groups) <= FEW * c


def seen(x, rows, width, g: Geometry, together):
    """What the kernel reads for a tile of x (N, C, H, W): arrays (N, groups, C/groups * taps, positions).

    One array for each row of the kernel, or a single one: `together` is by `rows_at_once`.
    """
    (n, c), (kh, kw), (sh, sw), (dh, dw) = x.shape[:2], g.kernel, g.stride, g.dilation
    count = rows.stop - rows.start
    if g.kernel == g.stride == (1, 1) and g.padding == (0, 0):  # the pixels are read where they are
        return [x[:, :, rows].reshape(n, g.groups, c // g.groups, count * width)]
    steps = [divmod(i * dh, sh) for i in range(kh)] if together == 1 else [(0, 0)]  # of the rows of the kernel
    high, remainders = count + max(q for q, _ in steps), 1 + max(a for _, a in steps)
    if g.stride == (1, 1) and kw > 1:  # no padded copy between
        copy = workspace((n, c, together, kw, high, width), x.dtype, 1)
        for i, j in np.ndindex(together, kw):
            copy_window(copy[:, :, i, j], x, rows.start - g.padding[0] + i * dh, j * dw - g.padding[1])
        return _kernel_rows(copy, steps, count, g)
    height = sh * (high - 1) + remainders + dh * (together - 1)
    part = padded(x, sh * rows.start - g.padding[0], -g.padding[1], height, sw * (width - 1) + dw * (kw - 1) + 1)
    bn, bc, bh, bw = part.strides
    shape = n, c, together, kw, remainders, high, width
    view = np.lib.stride_tricks.as_strided(part, shape, (bn, bc, dh * bh, dw * bw, bh, sh * bh, sw * bw))
    copy = workspace(shape, x.dtype, 1)
    np.copyto(copy, view)
    return _kernel_rows(copy, steps, count, g)


def _kernel_rows(columns, steps, count, g: Geometry):
    """What each kernel row reads: `count` rows from a step on, of columns (N, C, together, kw, ..., high, width)."""
    n, c, together, kw, *_, high, width = columns.shape
    flat = columns.reshape(n, g.groups, c // g.groups * together * kw, -1)
    starts = [(a * high + q) * width for q, a in steps]  # rows of the same remainder are neighbours
    return [flat[..., start : start + count * width] for start in starts]


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow), as in nn/layers/conv.py."""
    if few_outputs(weight.shape, g, x.shape[2:], out_size):
        return _spread(x, _rotated(weight, g), g._replace(padding=_reach(g)), out_size, bias)
    o, (out_h, width), together = len(weight), out_size, rows_at_once(weight.shape, g)
    y = np.empty((len(x), o, *out_size), np.result_type(x, weight))
    flat = y.reshape(len(x), g.groups, o // g.groups, out_h * width)
    kernel_rows = [weight[:, :, i : i + together] for i in range(0, g.kernel[0], together)]
    matrices = [by_group(np.ascontiguousarray(part), g) for part in kernel_rows]
    work = tiles(len(x), x.shape[1] * together * g.kernel[1], *out_size, TILE if together < g.kernel[0] else ONCE)

    def run(i):
        images, rows = work[i]
        out = flat[images, ..., rows.start * width : rows.stop * width]
        for k, columns in enumerate(seen(x[images], rows, width, g, together)):
            product = workspace(out.shape, y.dtype, 2) if k else out
            np.matmul(matrices[k], columns, out=product)
            if k:
                out += product
        if bias is not None:
            y[images, :, rows] += bias[:, None, None]

    parallel_for(run, len(work))
    return y


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias, as in nn/layers/conv.py."""
    reach, outputs, c = _reach(g), len(weight) // g.groups, weight.shape[1]
    few_taps = g.kernel == (1, 1) or outputs <= max(2 * c, min(4 * c, THIN))
    if g.stride == (1, 1) and min(reach) >= 0 and few_taps:  # dx is a convolution of dy
        return conv2d(dy, _rotated(weight, g), g._replace(padding=reach), in_size, bias)
    return _spread(dy, weight, g, in_size, bias)


def _reach(g: Geometry):
    """How far a kernel with stride 1 reaches beyond an image of outputs: the padding of what computes dx of dy."""
    return tuple(d * (k - 1) - p for k, d, p in zip(g.kernel, g.dilation, g.padding))


def _rotated(weight, g: Geometry):
    """The kernel of dx as a convolution of dy: rotated by 180 degrees, in and out channels swapped."""
    o, c, kh, kw = weight.shape
    grouped = weight.reshape(g.groups, o // g.groups, c, kh, kw)[..., ::-1, ::-1]
    return np.ascontiguousarray(grouped.swapaxes(1, 2)).reshape(g.groups * c, o // g.groups, kh, kw)


def _spread(dy, weight, g: Geometry, in_size, bias):
    """dx as in conv2d_input_gradient: the products of all taps, added to the pixels that the taps read."""
    (n, o, out_h, out_w), (h, w), (ph, pw) = dy.shape, in_size, g.padding
    matrices = by_group(weight, g).swapaxes(1, 2)
    dy = np.ascontiguousarray(dy).reshape(n, g.groups, o // g.groups, out_h * out_w)
    channels, same = g.groups * weight.shape[1], g.stride == (1, 1) and (h, w) == (out_h, out_w)
    size = (h, w) if same else (h + 2 * ph, w + 2 * pw)
    dx = np.zeros((n, channels, *size), np.result_type(dy, weight))
    together = max(1, min(n // TILES, (SPREAD if same else TILE) // (channels * math.prod(g.kernel) * out_h * out_w)))

    def run(i):
        images = slice(i * together, min((i + 1) * together, n))
        dcolumns = workspace((images.stop - images.start, *matrices.shape[:2], out_h * out_w), dx.dtype)
        np.matmul(matrices, dy[images], out=dcolumns)
        add = add_planes if same else add_windows
        add(dx[images], dcolumns.reshape(-1, channels, *g.kernel, out_h, out_w), g)
        if bias is not None:
            dx[images] += bias[:, None, None]

    parallel_for(run, -(-n // together))
    return dx if same else dx[:, :, ph : ph + h, pw : pw + w]


def add_windows(dx, dwindows, g: Geometry):
    """Add dwindows (N, C, kh, kw, oh, ow) to the pixels of the padded dx (N, C, H, W) that the taps read."""
    for i, j in np.ndindex(g.kernel):
        dx[tap(g, i, j, dwindows.shape[-2:])] += dwindows[:, :, i, j]


def add_planes(dx, dwindows, g: Geometry):
    """add_windows to a dx (N, C, H, W) without padding, as large as the maps of its windows: rows end to end."""
    pixels, w = math.prod(dx.shape[2:]), dx.shape[3]
    flat = dx.reshape(*dx.shape[:2], pixels)
    for i, j in np.ndindex(g.kernel):
        (down, right), window = (k * d - p for k, d, p in zip((i, j), g.dilation, g.padding)), dwindows[:, :, i, j]
        window[..., slice(max(w - right, 0), w) if right > 0 else slice(-right)] = 0  # what would enter another row
        shift = down * w + right
        low, high = max(shift, 0), pixels + min(shift, 0)
        if low < high:
            flat[..., low:high] += window.reshape(flat.shape)[..., low - shift : high - shift]


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C/groups, kh, kw), as in nn/layers/conv.py: tile by tile, in partial sums."""
    (n, o, out_h, width), (kh, kw), c = dy.shape, g.kernel, weight_shape[1]
    if few_outputs(weight_shape, g, x.shape[2:], dy.shape[2:]):  # taps of dy instead of x
        swapped = g.groups * c, o // g.groups, kh, kw
        return _rotated(conv2d_weight_gradient(x, dy, swapped, g._replace(padding=_reach(g))), g)
    together = rows_at_once(weight_shape, g)
    dy = np.ascontiguousarray(dy).reshape(n, g.groups, o // g.groups, out_h * width)
    work = tiles(n, x.shape[1] * together * kw, out_h, width, TILE if together < kh else ONCE)
    lanes = min(LANES, len(work), max(2, LANE_ELEMENTS // math.prod(weight_shape)))
    sums = np.zeros((lanes, kh // together, g.groups, c * together * kw, o // g.groups), np.result_type(dy, x))
    wide = kh == together and sums.shape[4] > sums.shape[3]  # one product alone: to transpose a large dy costs more
    as_it_is = wide or sums.shape[4] <= NARROW

    def run(lane):
        for images, rows in work[lane::lanes]:
            part = dy[images, ..., rows.start * width : rows.stop * width].swapaxes(2, 3)
            dy_part = part if as_it_is else workspace(part.shape, dy.dtype, 2)
            if not as_it_is:
                np.copyto(dy_part, part)  # products are faster if no factor is transposed
            for k, columns in enumerate(seen(x[images], rows, width, g, together)):
                products = workspace((len(part), *sums.shape[2:]), sums.dtype, 3)
                np.matmul(columns, dy_part, out=products)
                sums[lane, k] += products.sum(axis=0)

    parallel_for(run, lanes)
    dweight = sums.sum(axis=0).reshape(kh // together, g.groups, c, together, kw, o // g.groups)
    return dweight.transpose(1, 5, 2, 0, 3, 4).reshape(weight_shape)
