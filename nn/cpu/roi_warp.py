"""RoI warping for NumPy: the points of all regions at once, shared among threads."""

import numpy as np

from nn.cpu.sampler import sample, sample_gradients, to_maps, to_rows
from nn.layers.roi_warp import fractions

__all__ = ["fractions", "roi_warp", "roi_warp_backward", "takes"]


def takes(*arrays) -> bool:
    """Whether all are real: complex values are for the textbook."""
    return all(a.dtype.kind == "f" for a in arrays)


def roi_warp(x, boxes, image_index, output_size, scale, aligned):
    """As in nn.layers.roi_warp."""
    y_rows = sample(to_rows(x), *_points(x.shape, boxes, image_index, output_size, scale, aligned), x.shape[2:])
    return to_maps(y_rows, (len(boxes), x.shape[1], *output_size))


def roi_warp_backward(dy, x, boxes, image_index, scale, aligned):
    """As in nn.layers.roi_warp."""
    output_size = dy.shape[2:]
    where = _points(x.shape, boxes, image_index, output_size, scale, aligned)
    dx_rows, drow, dcolumn = sample_gradients(to_rows(dy), to_rows(x), *where, x.shape[2:])
    drow, dcolumn = (d.reshape(len(boxes), *output_size) for d in (drow, dcolumn))
    # row = scale (y1 (1 - f_i) + y2 f_i) - a, the same for all columns; and columns likewise
    (y1, y2), (x1, x2) = (
        (d @ (1 - f) * scale, d @ f * scale)
        for d, f in zip((drow.sum(axis=2), dcolumn.sum(axis=1)), fractions(boxes, output_size))
    )
    return to_maps(dx_rows, x.shape), np.stack([x1, y1, x2, y2], axis=1)


def _points(shape, boxes, image_index, output_size, scale, aligned):
    """row, column (K*ph*pw,) and the row of x_rows at which the map of each begins, for x of this shape."""
    down, across = fractions(boxes, output_size)
    row = boxes[:, 1:2] * (1 - down) + boxes[:, 3:4] * down
    column = boxes[:, 0:1] * (1 - across) + boxes[:, 2:3] * across
    row, column = (p * scale - 0.5 * aligned for p in (row, column))
    plane = image_index.astype(np.int64)[:, None, None] * (shape[2] * shape[3])
    all_points = row[:, :, None], column[:, None, :], plane
    return (np.broadcast_to(p, (len(boxes), *output_size)).ravel() for p in all_points)
