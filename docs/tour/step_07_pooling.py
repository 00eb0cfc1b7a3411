"""Step 7. Pooling, and its undoing.

Question: a class does not depend on the exact pixel. How do we forget positions, and how do we get them back?

Pooling takes one value of each window, k x k pixels, windows side by side:

    average pooling    y = (sum of the window) / k^2        dx = dy / k^2 to each pixel of the window
    max pooling        y = the largest of the window        dx = dy to the largest pixel, 0 to all others

For max pooling the forward must remember where the largest was: that is its cache. Near a given x, y is that one pixel,
so its slope there is 1, and the others can change a little without any effect. Where two are equal there is no
derivative; any of them may get dy (the library takes the first). With one window as large as the map, average pooling
is called global: (N, C, H, W) to (N, C), nn.GlobalAvgPool2d. nn.Flatten keeps all: it reshapes to (N, C H W).

Undoing it. A segmentation network wants a map of the old size again. Three ways, often confused:

    max unpooling      each value goes back to where its maximum was, all else is 0: needs the stored positions
    bed of nails       each value goes to a fixed corner of its window, all else is 0: needs nothing
    interpolation      step 6

Max unpooling does to values what the backward of max pooling does to gradients: they are the same function (for windows
that do not overlap). It is linear, but its matrix changes with every picture, so it is not a transposed convolution.
The networks SegNet and DeconvNet use it: the borders of things stay where they were.
"""

import sys

import numpy as np

from datasets import Shapes
from docs.tour import drawing
from nn import AvgPool2d, MaxPool2d, MaxUnpool2d
from nn.gradcheck import check_layer


def to_windows(x, k):
    """(N, C, H, W) -> (N, C, H/k, W/k, k k): the pixels of each window in the last axis."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // k, k, w // k, k).transpose(0, 1, 2, 4, 3, 5)  # (N, C, H/k, W/k, k, k)
    return blocks.reshape(n, c, h // k, w // k, k * k)


def from_windows(windows, k):
    """(N, C, H/k, W/k, k k) -> (N, C, H, W): the way back."""
    n, c, h, w, _ = windows.shape
    return windows.reshape(n, c, h, w, k, k).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h * k, w * k)


def average_pool(x, k):
    return to_windows(x, k).mean(axis=4)


def average_pool_backward(dy, k):
    return from_windows(np.repeat(dy[..., None] / k**2, k * k, axis=4), k)


def max_pool(x, k):
    """y, and for each window which of its k k pixels was the largest: the cache."""
    windows = to_windows(x, k)
    which = windows.argmax(axis=4)  # the first of equal ones
    return np.take_along_axis(windows, which[..., None], axis=4)[..., 0], which


def put_back(values, which, k):
    """Each value to pixel `which` of its window, zeros elsewhere: the backward of max_pool, and max unpooling."""
    windows = np.zeros((*values.shape, k * k))
    np.put_along_axis(windows, which[..., None], values[..., None], axis=4)
    return from_windows(windows, k)


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    x = rng.permutation(16).reshape(1, 1, 4, 4).astype(float)
    (y, which), dy = max_pool(x, 2), np.array([[[[10.0, 20], [30, 40]]]])
    nails = put_back(dy, np.zeros_like(which), 2)  # always the first pixel
    for name, array in {"x": x, "max pooled": y, "dy": dy, "dx = max unpooling of dy": put_back(dy, which, 2)}.items():
        print(f"{name}\n{array[0, 0].astype(int)}")
    print(f"bed of nails of dy\n{nails[0, 0].astype(int)}")

    x, dy = rng.standard_normal((2, 3, 6, 4)), rng.standard_normal((2, 3, 3, 2))
    pool, average, unpool = MaxPool2d(2, return_indices=True), AvgPool2d(2), MaxUnpool2d(2)
    (y_library, indices), cache = pool.forward(x)
    y, which = max_pool(x, 2)
    assert np.array_equal(y, y_library) and np.array_equal(put_back(dy, which, 2), pool.backward(dy, cache))
    assert np.array_equal(unpool(dy, indices), pool.backward(dy, cache))  # the same function
    assert np.allclose(average_pool(x, 2), average(x))
    assert np.allclose(average_pool_backward(dy, 2), average.backward(dy, average.forward(x)[1]))
    errors = [f"{check_layer(layer, x)['x']:.0e}" for layer in (MaxPool2d(2), average)]
    print("the same numbers as nn.MaxPool2d, nn.AvgPool2d, nn.MaxUnpool2d; relative errors of dx:", *errors)

    picture = 255 - Shapes(1)[0]["image"].mean(axis=2)[None, None, :60, 60:140]  # inverted: the outlines are the maxima
    pooled, which = max_pool(picture, 2)
    panels = {"x": picture, "max pooled, 2 x 2": pooled, "max unpooled": put_back(pooled, which, 2)}
    panels["bed of nails"] = put_back(pooled, np.zeros_like(which), 2)
    figure, axes = drawing.new(1, 4, height=3)
    for panel, (title, image) in zip(axes, panels.items()):
        drawing.show(panel, image[0, 0], title)
    drawing.save(figure, out, "step_07.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_07_pooling.py)
# 1. The bed of nails IS a transposed convolution (step 6). With which kernel, and which stride?
# 2. Pool a map, unpool it, pool it again: is the second pooling the first? For max pooling with stored positions, and
#    for the bed of nails; for positive and for negative values.
