"""Step 6. Transposed convolution.

Question: a convolution with a stride makes a map smaller. How do we get back to the size of the picture?

A convolution is linear, so it is a matrix. Write x (H, W) as one long vector, row by row. Each output is then a row of
a matrix M, with the kernel's numbers at the pixels of its window and zeros elsewhere: for a picture of 4 x 4 and a
kernel of 3 x 3, M is 4 x 16 (main() prints it). So

    y = M x         (oh ow) = (oh ow, H W) (H W)
    dx = M.T dy     by step 2, for the matrix M in the place of the weights

M.T goes from the small size to the large one: it is the backward of a convolution. Used as a FORWARD it is a layer of
its own, the transposed convolution, and its backward is then M, a convolution:

    y = M.T x,  dx = M dy

It has the right size, (H - 1) stride + k, but it is NOT the inverse: M.T M x is not x. ("Deconvolution" is a misnomer.)

Column p of M.T holds the kernel, at the window of p. So pixel p of x adds the whole kernel, times its own value, to y:
it stamps the kernel on a large map, the stamps `stride` apart. Where k is no multiple of the stride, stamps overlap
unevenly, and even a constant x gives a checkerboard. A kernel of 4 with stride 2 does not; filled with the weights of
bilinear interpolation, 1/4 3/4 3/4 1/4, it enlarges a picture smoothly, and may then be trained (so does FCN).
"""

import sys

import numpy as np

from datasets import Shapes
from docs.tour import drawing
from nn import Conv2d, ConvTranspose2d
from nn.gradcheck import check_layer


def matrix(kernel, size, stride):
    """M (oh ow, H W) of a convolution with a kernel (k, k), on one map of size (H, W)."""
    k, (h, w) = len(kernel), size
    rows = []
    for r in range(0, h - k + 1, stride):
        for c in range(0, w - k + 1, stride):
            row = np.zeros((h, w))
            row[r : r + k, c : c + k] = kernel  # the window of this output
            rows.append(row.ravel())
    return np.stack(rows)


def stamp(x, kernel, stride):
    """The transposed convolution of one map x (H, W), without the matrix."""
    (h, w), k = x.shape, len(kernel)
    y = np.zeros(((h - 1) * stride + k, (w - 1) * stride + k))
    for r, c in np.ndindex(h, w):
        y[r * stride : r * stride + k, c * stride : c * stride + k] += x[r, c] * kernel
    return y


def bilinear(stride):
    """The kernel (2 stride, 2 stride) that interpolates between the pixels of x."""
    centre = stride - 0.5
    tent = 1 - abs(np.arange(2 * stride) - centre) / stride
    return np.outer(tent, tent)


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    m = matrix(np.arange(1, 10).reshape(3, 3), (4, 4), 1)
    print("M of a 3 x 3 kernel, 1 to 9, on 4 x 4 pixels: a row for each output, a column for each pixel")
    print("\n".join(" ".join(f"{v:.0f}" if v else "." for v in row) for row in m))

    kernel, x, small = rng.standard_normal((3, 3)), rng.standard_normal((7, 5)), rng.standard_normal((3, 2))
    m = matrix(kernel, (7, 5), 2)  # (6, 35)
    down, up = Conv2d(1, 1, 3, stride=2, bias=False), ConvTranspose2d(1, 1, 3, stride=2, bias=False)
    for layer in (down.astype(np.float64), up.astype(np.float64)):
        layer.weight.value[0, 0] = kernel
    (y, c_down), (large, c_up) = down.forward(x[None, None]), up.forward(small[None, None])
    assert np.allclose(y.ravel(), m @ x.ravel())  # Conv2d is M
    assert np.allclose(large.ravel(), m.T @ small.ravel())  # ConvTranspose2d is M.T
    assert np.allclose(large[0, 0], stamp(small, kernel, 2))
    assert np.allclose(
        down.backward(small[None, None], c_down), large
    )  # the backward of one is the forward of the other
    assert np.allclose(up.backward(x[None, None], c_up), y)
    check_layer(up, small[None, None])
    print(f"\nConv2d {x.shape} -> {small.shape} is M, ConvTranspose2d {small.shape} -> {x.shape} is M.T; each is the")
    print("backward of the other.  M.T M x is not x: relative distance", end=" ")
    print(f"{np.linalg.norm(m.T @ m @ x.ravel() - x.ravel()) / np.linalg.norm(x):.2f}")

    threes, fours = (stamp(np.ones((6, 6)), np.ones((k, k)), 2) for k in (3, 4))
    print("stamps on a pixel of the middle rows: kernel 3", threes[6, 4:8], " kernel 4", fours[6, 4:8])
    picture = Shapes(1)[0]["image"].mean(axis=2)[20:80:4, 70:150:4]
    panels = {"constant x, kernel 3, stride 2": threes, "constant x, kernel 4, stride 2": fours, "x": picture}
    panels["bilinear kernel 8, stride 4"] = stamp(picture, bilinear(4), 4)[2:-2, 2:-2]
    figure, axes = drawing.new(1, 4, height=3)
    for panel, (title, image) in zip(axes, panels.items()):
        drawing.show(panel, image, title, vmin=0, vmax=255 if image.max() > 4 else 4)
    drawing.save(figure, out, "step_06.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_06_transposed_convolution.py)
# 1. Put stride - 1 zeros between the pixels of x, and k - 1 around it, and convolve it with the flipped kernel, stride
#    1. Show that this is the transposed convolution. (So it is sometimes called "fractionally strided".)
# 2. Enlarge the constant map of ones by bilinear(4). Which pixels are not 1, and why?
