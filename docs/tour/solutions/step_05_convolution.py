"""Solutions to step 5."""

import numpy as np

from docs.tour.step_05_convolution import conv_loops_backward, conv_matrix


def exercise_1():
    """dx[n, q, u, v] = sum of dy[n, o, u - i, v - j] weight[o, q, i, j]: dy is read backwards as i and j grow.

    So it is a convolution of dy with the kernel flipped in both axes. Near the border u - i is outside of dy, which
    counts as 0: the padding of k - 1. It sums over o where the forward sums over q: the two channel axes change places.
    """
    rng = np.random.default_rng(0)
    x, weight, dy = (rng.standard_normal(shape) for shape in ((2, 3, 6, 5), (4, 3, 3, 3), (2, 4, 4, 3)))
    dx, _ = conv_loops_backward(dy, x, weight, 1)
    padded = np.pad(dy, ((0, 0), (0, 0), (2, 2), (2, 2)))
    flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)  # (C, O, k, k)
    as_convolution, _ = conv_matrix(padded, flipped, 1)
    print("largest difference of dx:", abs(dx - as_convolution).max())
    assert np.allclose(dx, as_convolution)


def exercise_2():
    """Stride 1: y of the shifted x is y, shifted. Stride 2: only a shift by 2 pixels of x is a shift (by 1) of y."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 1, 12, 12)), rng.standard_normal((1, 1, 3, 3))

    def same(stride, shift, shift_of_y):
        y, moved = (conv_matrix(x[..., start:], weight, stride)[0] for start in (0, shift))
        columns = min(y.shape[3] - shift_of_y, moved.shape[3])
        return np.allclose(y[..., shift_of_y : shift_of_y + columns], moved[..., :columns])

    print("stride 1, shift 1:", same(1, 1, 1), "  stride 2, shift 1:", same(2, 1, 0) or same(2, 1, 1), end="")
    print("  stride 2, shift 2:", same(2, 2, 1))
    assert same(1, 1, 1) and same(2, 2, 1) and not (same(2, 1, 0) or same(2, 1, 1))


if __name__ == "__main__":
    exercise_1()
    exercise_2()
