"""Bilinear sampling for NumPy: the sampler of nn/layers/bilinear.py for many maps at once, on all threads.

Sampling is a product y = S x with a sparse matrix S of four weights a row, and everything here is one of three things:
S x (`sample`), S.T dy (`scatter`), and the gradient of the weights, dy x.T at the positions where S has any, which the
slope of the hat function turns into one of the sampling positions.

Maps are used as rows: x (N, C, H, W) as (N*H*W, C), a cell's channels side by side, so that a cell is read as a whole.
All arrays are real.
"""

from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import workspace

TOGETHER = 1 << 16  # elements that are gathered, or added up, at a time
RUN = 16  # entries of one cell that `scatter` adds up in one go
FEW_CHANNELS = 4  # up to here counting is faster than sorting


class Axis(NamedTuple):
    """What S is made of along one axis: the two cells, their weights k, and the weights' slopes, (2, ...) each."""

    cell: np.ndarray
    weight: np.ndarray
    slope: np.ndarray


def to_rows(x, groups: int = 1):
    """x (N, C, H, W) as rows (N*groups*H*W, C/groups): for each image and group of channels, cell by cell."""
    n, c, h, w = x.shape
    maps = x.reshape(n, groups, c // groups, h, w).transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(maps).reshape(n * groups * h * w, c // groups)


def to_maps(rows, shape, groups: int = 1):
    """Rows as `to_rows` makes them back as maps of `shape` (N, C, H, W)."""
    n, c, h, w = shape
    maps = rows.reshape(n, groups, h, w, c // groups).transpose(0, 1, 4, 2, 3)
    return np.ascontiguousarray(maps).reshape(shape)


def axis(position, size: int, dtype) -> Axis:
    """The two cells around each position, weight 0 where a cell is not in 0 .. size - 1, in the precision of dtype."""
    low = np.clip(np.floor(position), -2, size)  # both ends have two cells outside: further out is no different
    fraction = (position - low).astype(dtype)
    cell = np.stack([low, low + 1]).astype(np.int64)
    inside = (cell >= 0) & (cell < size)
    sign = np.arange(-1, 2, 2, dtype).reshape(2, *[1] * position.ndim)
    return Axis(
        np.clip(cell, 0, size - 1),
        np.where(inside, np.stack([1 - fraction, fraction]), fraction.dtype.type(0)),
        np.where(inside, sign, sign.dtype.type(0)),
    )


def cells(rows: Axis, columns: Axis, plane, width: int):
    """(4, P) rows of x_rows that the four cells of each position are; the maps begin at the rows `plane` (P,)."""
    return (plane + rows.cell[:, None] * width + columns.cell).reshape(4, -1)


def corners(of_rows, of_columns):
    """(4, P) products of what belongs to the two rows (2, P) and to the two columns (2, P) of each position."""
    return (of_rows[:, None] * of_columns).reshape(4, -1)


def sample(x_rows, row, column, plane, size):
    """y (P, C): the values of maps of size (H, W) at positions row, column (P,), zeros outside.

    `plane` (P,) says where in x_rows the map of each position begins. y has the dtype of x_rows.
    """
    y = np.empty((len(row), x_rows.shape[1]), x_rows.dtype)

    def run(part):
        rows, columns = (axis(p[part], n, x_rows.dtype) for p, n in zip((row, column), size))
        gather(x_rows, cells(rows, columns, plane[part], size[1]), corners(rows.weight, columns.weight), y[part])

    in_slices(run, len(y), y.size)
    return y


def sample_gradients(dy_rows, x_rows, row, column, plane, size):
    """(dx_rows, drow, dcolumn) for dy_rows (P, C), the gradient of `sample`'s y; the last two are (P,)."""
    count = len(row)
    cell, weight = np.empty((4, count), np.int64), np.empty((4, count), x_rows.dtype)
    drow, dcolumn = np.zeros(count, row.dtype), np.zeros(count, column.dtype)  # of no channels they stay zeros

    def run(part):
        rows, columns = (axis(p[part], n, x_rows.dtype) for p, n in zip((row, column), size))
        cell[:, part] = cells(rows, columns, plane[part], size[1])
        weight[:, part] = corners(rows.weight, columns.weight)
        # y = sum of four weights times x, so dweight = dy . x; a weight is k(row - i) k(column - j)
        dweight = weight_gradients(dy_rows[part], x_rows, cell[:, part])
        drow[part] = (dweight * corners(rows.slope, columns.weight)).sum(axis=0)
        dcolumn[part] = (dweight * corners(rows.weight, columns.slope)).sum(axis=0)

    in_slices(run, count, dy_rows.size)
    source = np.broadcast_to(np.arange(count), cell.shape)
    return scatter(dy_rows, source, cell, weight, len(x_rows)), drow, dcolumn


def gather(x_rows, cell, weight, y):
    """Fill y (P, C) with S x: y[p] = sum over e of weight[e, p] * x_rows[cell[e, p]], for cell, weight (E, P)."""
    for part, rows in rows_of_cells(x_rows, cell):
        rows *= weight[:, part, None]
        total = rows[0]
        for other in rows[1:]:  # in the textbook's order, which decides among equal maxima
            total += other
        y[part] = total


def weight_gradients(dy_rows, x_rows, cell):
    """dweight (E, P) of `gather`: dweight[e, p] = dy_rows[p] . x_rows[cell[e, p]]."""
    dweight = np.empty(cell.shape, np.result_type(dy_rows.dtype, x_rows.dtype))
    for part, rows in rows_of_cells(x_rows, cell):
        dweight[:, part] = (rows.swapaxes(0, 1) @ dy_rows[part, :, None])[..., 0].T
    return dweight


def rows_of_cells(x_rows, cell):
    """(slice of positions, x_rows[cell] (E, p, C) of these), a few positions at a time, which stay in the cache.

    The rows are in the same memory each time.
    """
    (e, count), c = cell.shape, x_rows.shape[1]
    step = max(1, min(count, TOGETHER // max(1, e * c)))
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        rows = workspace((e, part.stop - start, c), x_rows.dtype)
        take(x_rows, cell[:, part], rows)
        yield part, rows


def take(rows, index, out):
    """out = rows[index]."""
    np.take(rows, index, axis=0, out=out, mode="clip")  # every index is valid; mode="raise" would copy once more


def scatter(dy_rows, source, cell, weight, size: int):
    """dx_rows (size, C) = S.T dy: each entry e of S adds weight[e] * dy_rows[source[e]] to dx_rows[cell[e]].

    source, cell and weight have any shape, the same one. Sums are taken in an order that depends on them alone.
    """
    kept = np.flatnonzero(weight)  # the others are cells outside, or positions right on a cell
    source, cell, weight = (a.ravel()[kept] for a in (source, cell, weight))
    dy_rows = dy_rows.astype(np.result_type(dy_rows.dtype, weight.dtype), copy=False)
    by = scatter_by_counting if dy_rows.shape[1] <= FEW_CHANNELS else scatter_by_sorting
    return by(dy_rows, source, cell, weight, size)


def scatter_by_counting(dy_rows, source, cell, weight, size):
    """`scatter` as a histogram of all elements one by one."""
    c = dy_rows.shape[1]
    flow = (weight[:, None] * dy_rows[source]).ravel()
    index = (cell[:, None] * c + np.arange(c)).ravel()
    return np.bincount(index, flow, minlength=size * c).astype(flow.dtype).reshape(size, c)


def scatter_by_sorting(dy_rows, source, cell, weight, size):
    """`scatter` a whole row of channels at a time."""
    dx_rows = np.zeros((size, dy_rows.shape[1]), dy_rows.dtype)
    own, sums = sums_by_cell(dy_rows, source, weight, cell, size)
    dx_rows[own] = sums
    return dx_rows


def sums_by_cell(dy_rows, source, weight, cell, size):
    """The rows of `scatter` that get anything: which they are (R,), and the sums (R, C) of their entries.

    Entries sorted by cell stand in runs, one for each cell. Runs are cut into chunks of at most RUN entries, chunks
    become the sums of their entries, and so on until there is one a cell. So the steps are few even where all positions
    are the same. weight None stands for ones.
    """
    if not len(cell):
        return cell, dy_rows[:0]
    order = sorting_order(cell, size)
    source, cell, weight = source[order], cell[order], None if weight is None else weight[order]
    while True:
        begin = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))  # of each run
        chunks = -(-np.diff(np.append(begin, len(cell))) // RUN)
        end = np.cumsum(chunks)
        chunk = np.arange(int(end[-1]))
        run = np.searchsorted(end, chunk, side="right")
        start = begin[run] + RUN * (chunk - (end - chunks)[run])
        sums, cell = _sum_chunks(dy_rows, source, weight, start), cell[start]
        if len(cell) == len(begin):
            return cell, sums
        dy_rows, source, weight = sums, chunk, None


def sorting_order(cell, size):
    """argsort of integers in 0 .. size - 1, equal ones in their order: 16 bits at a time, which NumPy counts."""
    order = np.argsort((cell & 0xFFFF).astype(np.uint16), kind="stable")
    for shift in range(16, int(size).bit_length(), 16):
        digit = (cell[order] >> shift & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digit, kind="stable")]
    return order


def _sum_chunks(dy_rows, source, weight, start):
    """(chunks, C) sums of weight * dy_rows[source] over the entries from start[i] up to start[i + 1], RUN at most."""
    sums = np.empty((len(start), dy_rows.shape[1]), dy_rows.dtype)
    length = np.diff(np.append(start, len(source)))

    def run(part):  # the r-th entries of all chunks that have so many; the longest chunks stand first
        longest_first = np.argsort(-length[part], kind="stable")
        first, lengths = start[part][longest_first], length[part][longest_first]
        total, flow = (np.empty((len(first), sums.shape[1]), sums.dtype) for _ in range(2))
        for r in range(int(lengths[0])):
            entry = first[: int((lengths > r).sum())] + r
            target = flow[: len(entry)] if r else total
            take(dy_rows, source[entry], target)
            if weight is not None:
                target *= weight[entry, None]
            if r:
                total[: len(entry)] += target
        sums[part][longest_first] = total

    in_slices(run, len(sums), sums.size, TOGETHER)
    return sums
