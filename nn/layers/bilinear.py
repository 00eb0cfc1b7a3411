"""Bilinear sampling of feature maps at real-valued positions, and its gradients: one sampler for all who need it.

A position (row, column) lies between four cells. With f = floor, the value there is

    y = sum over i in {f(row), f(row) + 1}, j in {f(column), f(column) + 1} of k(row - i) k(column - j) x[i, j]

with the hat function k(t) = max(0, 1 - |t|), and x = 0 outside the map. So sampling is a product y = S x with a sparse
matrix S of four weights a row, and everything here is one of three things: S x (`sample`), S.T dy (`scatter`), and the
gradient to the weights, dy x.T at the places where S has any, which the slope of k turns into one of the positions. At
a whole-numbered position, where k has a kink, the derivative is the one to the right, as in PyTorch.

Maps are used as rows: x (N, C, H, W) as (N*H*W, C), a cell's channels side by side, so that a cell is read as a whole.
GridSample, RoIAlign, RoIWarp and DeformConv2d differ only in the positions. On a GPU nn.gpu.bilinear is the sampler,
and nn.gpu.roi_align that of RoIAlign; what is here is their reference.

Reference: Jaderberg et al. 2015, Spatial Transformer Networks, arXiv:1506.02025, eq. 5 to 7.
"""

from typing import NamedTuple

import numpy as np

from nn.config import config
from nn.cpu.chunks import in_slices
from nn.dispatch import array_module

RUN = 16  # entries of one cell that `scatter` adds up in one go
FEW_CHANNELS = 4  # up to here counting is faster than sorting


class Axis(NamedTuple):
    """What S is made of along one axis: the two cells, their weights k, and the weights' slopes, (2, ...) each."""

    cell: np.ndarray
    weight: np.ndarray
    slope: np.ndarray


def check_pixels(owner, x):
    """ValueError unless the maps x (N, C, H, W) have cells to sample."""
    if not x.shape[2] * x.shape[3]:
        raise ValueError(f"{type(owner).__name__}: x must have at least one row and one column, got {x.shape}")


def to_rows(x, groups: int = 1):
    """x (N, C, H, W) as rows (N*groups*H*W, C/groups): for each image and group of channels, cell by cell."""
    n, c, h, w = x.shape
    maps = x.reshape(n, groups, c // groups, h, w).transpose(0, 1, 3, 4, 2)
    return array_module(x).ascontiguousarray(maps).reshape(n * groups * h * w, c // groups)


def to_maps(rows, shape, groups: int = 1):
    """Rows as `to_rows` makes them back as maps of `shape` (N, C, H, W)."""
    n, c, h, w = shape
    maps = rows.reshape(n, groups, h, w, c // groups).transpose(0, 1, 4, 2, 3)
    return array_module(rows).ascontiguousarray(maps).reshape(shape)


def axis(position, size: int, dtype) -> Axis:
    """The two cells around each position, weight 0 where a cell is not in 0 .. size - 1, in the precision of dtype."""
    xp = array_module(position)
    low = xp.clip(xp.floor(position.real), -2, size)  # both ends have two cells outside: further out is no different
    fraction = (position - low).astype(np.result_type(position.dtype, dtype) if position.dtype.kind == "c" else dtype)
    cell = xp.stack([low, low + 1]).astype(np.int64)
    inside = (cell >= 0) & (cell < size)
    sign = xp.arange(-1, 2, 2, dtype).reshape(2, *[1] * position.ndim)
    return Axis(
        xp.clip(cell, 0, size - 1),
        xp.where(inside, xp.stack([1 - fraction, fraction]), fraction.dtype.type(0)),
        xp.where(inside, sign, sign.dtype.type(0)),
    )


def places(rows: Axis, columns: Axis, plane, width: int):
    """(4, P) rows of x_rows that the four cells of each position are; the maps begin at the rows `plane` (P,)."""
    return (plane + rows.cell[:, None] * width + columns.cell).reshape(4, -1)


def corners(of_rows, of_columns):
    """(4, P) products of what belongs to the two rows (2, P) and to the two columns (2, P) of each position."""
    return (of_rows[:, None] * of_columns).reshape(4, -1)


def sample(x_rows, row, column, plane, size):
    """y (P, C): the values of maps of size (H, W) at positions row, column (P,), zeros outside.

    `plane` (P,) says where in x_rows the map of each position begins. y has the dtype of x_rows, complex where the
    positions are.
    """
    xp = array_module(x_rows)
    is_complex = row.dtype.kind == "c" or column.dtype.kind == "c"
    dtype = np.result_type(x_rows.dtype, np.complex64) if is_complex else x_rows.dtype
    y = xp.empty((len(row), x_rows.shape[1]), dtype)
    x_rows = x_rows.astype(dtype, copy=False)

    def run(part):
        rows, columns = (axis(p[part], n, x_rows.real.dtype) for p, n in zip((row, column), size))
        gather(x_rows, places(rows, columns, plane[part], size[1]), corners(rows.weight, columns.weight), y[part])

    in_slices(run, len(y), y.size, xp)
    return y


def sample_gradients(dy_rows, x_rows, row, column, plane, size):
    """(dx_rows, drow, dcolumn) for dy_rows (P, C), the gradient of `sample`'s y; the last two are (P,)."""
    xp, count = array_module(x_rows), len(row)
    place, weight = xp.empty((4, count), np.int64), xp.empty((4, count), x_rows.dtype)
    drow, dcolumn = xp.empty(count, row.dtype), xp.empty(count, column.dtype)

    def run(part):
        rows, columns = (axis(p[part], n, x_rows.real.dtype) for p, n in zip((row, column), size))
        place[:, part] = places(rows, columns, plane[part], size[1])
        weight[:, part] = corners(rows.weight, columns.weight)
        # y = sum of four weights times x, so dweight = dy . x; a weight is k(row - i) k(column - j)
        dweight = weight_gradients(dy_rows[part], x_rows, place[:, part])
        drow[part] = (dweight * corners(rows.slope, columns.weight)).sum(axis=0)
        dcolumn[part] = (dweight * corners(rows.weight, columns.slope)).sum(axis=0)

    in_slices(run, count, dy_rows.size, xp)
    source = xp.broadcast_to(xp.arange(count), place.shape)
    return scatter(dy_rows, source, place, weight, len(x_rows)), drow, dcolumn


def gather(x_rows, place, weight, y):
    """Fill y (P, C) with S x: y[p] = sum over e of weight[e, p] * x_rows[place[e, p]], for place, weight (E, P)."""
    part = array_module(x_rows).empty(y.shape, y.dtype)
    for e in range(len(place)):
        target = part if e else y
        take(x_rows, place[e], target)
        target *= weight[e, :, None]
        if e:
            y += part


def weight_gradients(dy_rows, x_rows, place):
    """dweight (E, P) of `gather`: dweight[e, p] = dy_rows[p] . x_rows[place[e, p]]."""
    xp = array_module(x_rows)
    dweight = xp.empty(place.shape, np.result_type(dy_rows.dtype, x_rows.dtype))
    part = xp.empty(dy_rows.shape, x_rows.dtype)
    for e in range(len(place)):
        take(x_rows, place[e], part)
        dweight[e] = xp.einsum("pc,pc->p", dy_rows, part)
    return dweight


def take(rows, index, out):
    """out = rows[index]."""
    if array_module(rows) is np:
        np.take(rows, index, axis=0, out=out, mode="clip")  # every index is valid; mode="raise" would copy once more
    else:
        out[...] = rows[index]


def scatter(dy_rows, source, place, weight, size: int):
    """dx_rows (size, C) = S.T dy: each entry e of S adds weight[e] * dy_rows[source[e]] to dx_rows[place[e]].

    source, place and weight have any shape, the same one. Sums are taken in an order that depends on them alone.
    """
    kept = array_module(dy_rows).flatnonzero(weight)  # the others are cells outside, or positions right on a cell
    source, place, weight = (a.ravel()[kept] for a in (source, place, weight))
    dy_rows = dy_rows.astype(np.result_type(dy_rows.dtype, weight.dtype), copy=False)
    by = scatter_by_counting if config.plain or dy_rows.shape[1] <= FEW_CHANNELS else scatter_by_sorting
    return by(dy_rows, source, place, weight, size)


def scatter_by_counting(dy_rows, source, place, weight, size):
    """`scatter` as a histogram of all numbers one by one: the version to read first."""
    xp, c = array_module(dy_rows), dy_rows.shape[1]
    flow = (weight[:, None] * dy_rows[source]).ravel()
    index = (place[:, None] * c + xp.arange(c)).ravel()
    return add_up(index, flow, size * c).reshape(size, c)


def add_up(index, flow, size):
    """(size,) sums of the flow (E,) to each index (E,), in the dtype of the flow."""
    xp = array_module(flow)
    total = xp.bincount(index, flow.real, minlength=size)
    if flow.dtype.kind == "c":
        total = total + 1j * xp.bincount(index, flow.imag, minlength=size)
    return total.astype(flow.dtype)


def scatter_by_sorting(dy_rows, source, place, weight, size):
    """`scatter` a whole row of channels at a time."""
    dx_rows = array_module(dy_rows).zeros((size, dy_rows.shape[1]), dy_rows.dtype)
    cells, sums = sums_by_place(dy_rows, source, weight, place, size)
    dx_rows[cells] = sums
    return dx_rows


def sums_by_place(dy_rows, source, weight, place, size):
    """The rows of `scatter` that get anything: which they are (R,), and the sums (R, C) of their entries.

    Entries sorted by place stand in runs, one for each cell. Runs are cut into pieces of at most RUN entries, pieces
    become the sums of their entries, and so on until there is one a cell. So the steps are few even where all positions
    are the same. weight None stands for ones.
    """
    xp = array_module(dy_rows)
    if not len(place):
        return place, dy_rows[:0]
    order = sorting_order(place, size)
    source, place, weight = source[order], place[order], None if weight is None else weight[order]
    while True:
        begin = xp.flatnonzero(xp.append(True, place[1:] != place[:-1]))  # of each run
        pieces = -(-xp.diff(xp.append(begin, len(place))) // RUN)
        end = xp.cumsum(pieces)
        piece = xp.arange(int(end[-1]))
        run = xp.searchsorted(end, piece, side="right")
        start = begin[run] + RUN * (piece - (end - pieces)[run])
        sums, place = _sum_pieces(dy_rows, source, weight, start), place[start]
        if len(place) == len(begin):
            return place, sums
        dy_rows, source, weight = sums, piece, None


def sorting_order(place, size):
    """argsort of whole numbers in 0 .. size - 1, equal ones in their order: 16 bits at a time, which NumPy counts."""
    xp = array_module(place)
    order = xp.argsort((place & 0xFFFF).astype(np.uint16), kind="stable")
    for shift in range(16, int(size).bit_length(), 16):
        digit = (place[order] >> shift & 0xFFFF).astype(np.uint16)
        order = order[xp.argsort(digit, kind="stable")]
    return order


def _sum_pieces(dy_rows, source, weight, start):
    """(pieces, C) sums of weight * dy_rows[source] over the entries from start[i] up to start[i + 1], RUN at most."""
    xp = array_module(dy_rows)
    sums = xp.empty((len(start), dy_rows.shape[1]), dy_rows.dtype)
    length = xp.diff(xp.append(start, len(source)))

    def run(part):  # the r-th entries of all pieces that have so many; the longest pieces stand first
        longest_first = xp.argsort(-length[part], kind="stable")
        first, lengths = start[part][longest_first], length[part][longest_first]
        total, flow = (xp.empty((len(first), sums.shape[1]), sums.dtype) for _ in range(2))
        for r in range(int(lengths[0])):
            entry = first[: int((lengths > r).sum())] + r
            target = flow[: len(entry)] if r else total
            take(dy_rows, source[entry], target)
            if weight is not None:
                target *= weight[entry, None]
            if r:
                total[: len(entry)] += target
        sums[part][longest_first] = total

    in_slices(run, len(sums), sums.size, xp)
    return sums
