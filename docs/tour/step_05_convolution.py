"""Step 5. Convolution: as loops, as a matrix product, and its backward.

Question: an edge is an edge wherever it is in the picture. Which layer knows that?

A Linear layer on a picture has a weight for each pixel, and would learn each place anew. A convolution looks at small
windows, k x k pixels, with the SAME weights in each window:

    y[n, o, r, c] = sum over (q, i, j) of weight[o, q, i, j] x[n, q, r s + i, c s + j] + bias[o]

x (N, C, H, W) has C channels; s, the stride, is the distance of two windows. There are oh = (H - k) // s + 1 rows of
windows. (Padding: zeros around x first.) The kernel is not flipped: strictly this is a cross-correlation.

Backward as loops. The forward adds products, y += weight x. In a product each factor is the slope of the other, so
every such line turns into two, and we go through the same loops:

    dweight[o, q, i, j] += dy[n, o, r, c] x[n, q, r s + i, c s + j]
    dx[n, q, r s + i, c s + j] += dy[n, o, r, c] weight[o, q, i, j]         +=: a pixel is in several windows

As a matrix product. Write each window as a column, of C k k numbers; weight is a matrix (O, C k k). As in step 2,

    y = weight @ columns       dweight = dy @ columns.T       dcolumns = weight.T @ dy

and dcolumns goes back to the pixels that the columns were read from, again with +=.
A 1 x 1 convolution has windows of one pixel: it is a Linear layer on the channels, at every pixel.
The library has a product for each (i, j), and no columns: nn/layers/conv.py; docs/derivations.md, section 2.
"""

import sys
import time

import numpy as np

from datasets import Shapes
from docs.tour import drawing
from nn import Conv2d, Linear


def conv_loops(x, weight, stride):
    """y (N, O, oh, ow) for x (N, C, H, W) and weight (O, C, k, k), without bias."""
    (n, _, h, w), (o, _, k, _) = x.shape, weight.shape
    y = np.zeros((n, o, (h - k) // stride + 1, (w - k) // stride + 1))
    for image, out, r, c in np.ndindex(y.shape):
        for q, i, j in np.ndindex(weight.shape[1:]):
            y[image, out, r, c] += weight[out, q, i, j] * x[image, q, r * stride + i, c * stride + j]
    return y


def conv_loops_backward(dy, x, weight, stride):
    """dx and dweight."""
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for image, out, r, c in np.ndindex(dy.shape):
        for q, i, j in np.ndindex(weight.shape[1:]):
            dweight[out, q, i, j] += dy[image, out, r, c] * x[image, q, r * stride + i, c * stride + j]
            dx[image, q, r * stride + i, c * stride + j] += dy[image, out, r, c] * weight[out, q, i, j]
    return dx, dweight


def columns_at(shape, k, stride):
    """For each (i, j) of a window what all windows read there, as an index: x[at]. np.s_ keeps a slice for later."""
    oh, ow = ((size - k) // stride + 1 for size in shape[2:])
    return [np.s_[..., i : i + stride * oh : stride, j : j + stride * ow : stride] for i, j in np.ndindex(k, k)]


def conv_matrix(x, weight, stride):
    """The same as conv_loops, and the columns (N, C k k, oh ow) for the backward."""
    n, (o, c, k, _) = len(x), weight.shape
    windows = np.stack([x[at] for at in columns_at(x.shape, k, stride)], axis=2)  # (N, C, k k, oh, ow)
    columns = windows.reshape(n, c * k * k, -1)
    return (weight.reshape(o, -1) @ columns).reshape(n, o, *windows.shape[3:]), columns


def conv_matrix_backward(dy, columns, x, weight, stride):
    n, (o, c, k, _) = len(x), weight.shape
    rows = dy.reshape(n, o, -1)  # (N, O, oh ow)
    dweight = (rows @ columns.swapaxes(1, 2)).sum(axis=0).reshape(weight.shape)
    dwindows = (weight.reshape(o, -1).T @ rows).reshape(n, c, k * k, *dy.shape[2:])
    dx = np.zeros_like(x)
    for tap, at in enumerate(columns_at(x.shape, k, stride)):
        dx[at] += dwindows[:, :, tap]  # windows overlap
    return dx, dweight


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    x, weight, dy = (rng.standard_normal(shape) for shape in ((2, 3, 9, 7), (4, 3, 3, 3), (2, 4, 4, 3)))
    library = Conv2d(3, 4, 3, stride=2, bias=False).astype(np.float64)
    library.weight.value[...] = weight
    began = time.perf_counter()
    y, (dx, dweight) = conv_loops(x, weight, 2), conv_loops_backward(dy, x, weight, 2)
    middle = time.perf_counter()
    y_matrix, columns = conv_matrix(x, weight, 2)
    dx_matrix, dweight_matrix = conv_matrix_backward(dy, columns, x, weight, 2)
    print(f"loops {1000 * (middle - began):.1f} ms, matrix product {1000 * (time.perf_counter() - middle):.2f} ms")
    y_library, cache = library.forward(x)
    for ours in ((y, dx, dweight), (y_matrix, dx_matrix, dweight_matrix)):
        assert all(map(np.allclose, ours, (y_library, library.backward(dy, cache), library.weight.grad)))
        library.zero_grad()
    print("both give y, dx and dweight of nn.Conv2d")

    one, linear = Conv2d(3, 4, 1).astype(np.float64), Linear(3, 4).astype(np.float64)
    linear.weight.value[...] = one.weight.value[:, :, 0, 0]
    assert np.allclose(one(x), linear(x.transpose(0, 2, 3, 1).reshape(-1, 3)).reshape(2, 9, 7, 4).transpose(0, 3, 1, 2))

    picture = Shapes(1)[0]["image"].mean(axis=2)[None, None] / 255  # (1, 1, H, W)
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4.0
    kernels = {"left to right": sobel, "top to bottom": sobel.T, "mean": np.full((3, 3), 1 / 9)}
    filtered, _ = conv_matrix(picture, np.stack([*kernels.values()])[:, None], 1)
    figure, axes = drawing.new(1, 4, height=3)
    for panel, image, title in zip(axes, [picture[0, 0], *filtered[0]], ["x", *kernels]):
        drawing.show(panel, image, title)
    drawing.save(figure, out, "step_05.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_05_convolution.py)
# 1. With stride 1, dx is a convolution, too: of dy, padded by k - 1, with the kernel flipped in both axes and O and C
#    exchanged. Show it with conv_matrix.
# 2. Shift x by one pixel: y shifts by one pixel. Show it, for stride 1. What is left of this with stride 2?
