"""Step 17. RoI pooling with both roundings, and RoIAlign.

Question: regions have all sizes, and the layers behind want one size. How do we cut a region out of a feature map?

Divide the region into a fixed grid of bins, and take one value of each. A region (x1, y1, x2, y2) is in pixels of the
picture; times the scale, 1 / stride, it is in cells of the map. RoI pooling (Fast R-CNN) rounds twice:

    rounding 1    the corners, to whole cells: floor(v + 1/2). Row y2 belongs to the region: it has h = y2 - y1 + 1 rows
    rounding 2    the bins. Row i of n bins has the rows from floor(i h / n) up to, not including,
                  "caffe":  ceil((i + 1) h / n)         neighbouring bins may share a row
                  "split":  floor((i + 1) h / n)        every row is in one bin

5 rows in 2 bins: [0, 3) and [2, 5) by "caffe", the authors' code; [0, 2) and [2, 5) by "split", as lectures draw it.
The value is the largest of the bin, so dy goes to where that was: +=, since regions overlap, and bins of "caffe" do.

Half a cell of rounding is 8 pixels at stride 16: much for a mask. RoIAlign (Mask R-CNN) rounds nothing: bins keep their
real borders, each is sampled at a few points, and the value is their mean. Between four cells, by their distance:

    x(r, c) = sum over the four cells of x[row, column] (1 - |r - row|) (1 - |c - column|)

Cell i covers [i, i + 1), so its centre is at i + 1/2: half a cell is taken off the points ("aligned"). Backward gives
each of the four cells dy times the same factor. (docs/derivations.md, section 4)
"""

import sys
from math import ceil, floor

import numpy as np

from docs.tour import drawing
from nn import RoIAlign, RoIPool
from nn.gradcheck import check_layer


def bins(low, high, n, rounding):
    """The n ranges of rows (or columns) of a region from cell `low` to cell `high`, both inside."""
    h = high - low + 1
    starts, ends = [i * h // n for i in range(n)], [(i + 1) * h // n for i in range(n)]  # // is floor
    if rounding == "caffe":
        ends = [ceil((i + 1) * h / n) for i in range(n)]
    return [(low + start, low + max(end, start + 1)) for start, end in zip(starts, ends)]  # at least one row


def roi_pool(x, box, n, scale, rounding):
    """y (n, n), and where each value came from, for one map x (H, W) and one region."""
    x1, y1, x2, y2 = (floor(v * scale + 0.5) for v in box)  # rounding 1
    y, source = np.zeros((n, n)), {}
    for i, (top, bottom) in enumerate(bins(y1, y2, n, rounding)):  # rounding 2
        for j, (left, right) in enumerate(bins(x1, x2, n, rounding)):
            window = x[top:bottom, left:right]  # a slice is cut at the border of x by itself
            row, column = np.unravel_index(window.argmax(), window.shape)
            y[i, j], source[i, j] = window[row, column], (top + row, left + column)
    return y, source


def roi_pool_backward(dy, source, shape):
    """dx (H, W): each dy to where its value came from."""
    dx = np.zeros(shape)
    for (i, j), position in source.items():
        dx[position] += dy[i, j]
    return dx


def at(x, r, c):
    """x (H, W) at the point (r, c), where whole numbers are the centres of cells."""
    r, c = np.clip(r, 0, x.shape[0] - 1), np.clip(c, 0, x.shape[1] - 1)
    row, column = min(int(r), x.shape[0] - 2), min(int(c), x.shape[1] - 2)
    down, across = np.array([1 - (r - row), r - row]), np.array([1 - (c - column), c - column])
    return down @ x[row : row + 2, column : column + 2] @ across


def roi_align(x, box, n, scale, samples=2):
    """y (n, n) for one map x (H, W) and one region: the mean of samples x samples points in each bin."""
    x1, y1, x2, y2 = (v * scale - 0.5 for v in box)  # half a cell off
    bin_h, bin_w, y = (y2 - y1) / n, (x2 - x1) / n, np.zeros((n, n))
    inside = (np.arange(samples) + 0.5) / samples  # of a bin: 1/4 and 3/4
    for i, j in np.ndindex(n, n):
        y[i, j] = np.mean([at(x, y1 + (i + u) * bin_h, x1 + (j + v) * bin_w) for u in inside for v in inside])
    return y


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    for rounding in ("caffe", "split"):
        print(f"5 rows in 2 bins, {rounding}:", bins(0, 4, 2, rounding), "  7 in 3:", bins(0, 6, 3, rounding))
    x, image = rng.standard_normal((1, 1, 12, 10)), np.array([0])
    for box in ([5, 8, 70, 83], [20, 20, 45, 30], [0, 0, 79, 95], [33, 41, 34, 47]):  # pixels, stride 8
        boxes, dy = np.array([box], float), rng.standard_normal((1, 1, 3, 3))
        for rounding in ("caffe", "split"):
            library = RoIPool(3, 1 / 8, rounding)
            y, source = roi_pool(x[0, 0], box, 3, 1 / 8, rounding)
            y_library, cache = library.forward(x, boxes, image)
            assert np.array_equal(y, y_library[0, 0])
            assert np.allclose(roi_pool_backward(dy[0, 0], source, (12, 10)), library.backward(dy, cache)[0][0, 0])
        align = RoIAlign(3, 1 / 8, sampling_ratio=2, aligned=True)
        assert np.allclose(roi_align(x[0, 0], box, 3, 1 / 8), align(x, boxes, image)[0, 0])
    error = check_layer(align, x, boxes, image, constants=(1,))["x0"]  # constants: no gradient for the boxes
    print(f"the same numbers as nn.RoIPool and nn.RoIAlign; relative error of RoIAlign's dx {error:.0e}")
    ramp = np.arange(20.0) + 0.5 + np.zeros((20, 1))  # each cell holds the position of its own centre
    shifts = np.arange(0, 33) / 4  # of a region, in pixels
    moved = [[40 + shift, 40, 104 + shift, 104] for shift in shifts]
    curves = {"RoIAlign": [roi_align(ramp, box, 2, 1 / 8)[0, 0] for box in moved]}
    for rounding in ("caffe", "split"):
        curves[f"RoIPool, {rounding}"] = [roi_pool(ramp, box, 2, 1 / 8, rounding)[0][0, 0] for box in moved]
    figure, (axes,) = drawing.new(width=6, height=4)
    for name, values in curves.items():
        axes.plot(shifts, values, marker=".", label=name)
    axes.set(xlabel="shift of the region, pixels (a cell is 8)", ylabel="value of its first bin")
    drawing.save(figure, out, "step_17.png")
    taken = {name: len(np.unique(np.round(values, 9))) for name, values in curves.items()}
    print(f"a region moved by a cell in {len(shifts)} steps; different values: {taken}")
    assert taken == {"RoIAlign": 33, "RoIPool, caffe": 2, "RoIPool, split": 2}


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_17_roi_pooling.py)
# 1. Pool two regions that overlap. Show by differences that the dx of both together is the sum of their dx.
# 2. Write the backward of roi_align for one map, and compare it with nn.RoIAlign.
