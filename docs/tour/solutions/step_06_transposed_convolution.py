"""Solutions to step 6."""

import numpy as np

from docs.tour.step_05_convolution import conv_matrix
from docs.tour.step_06_transposed_convolution import bilinear, stamp


def exercise_1():
    """It is exercise 1 of step 5, with zeros where a stride of 2 had left gaps between the stamps.

    The library does not do it so: most of the products would be with zeros.
    """
    rng = np.random.default_rng(0)
    x, kernel, stride, k = rng.standard_normal((4, 3)), rng.standard_normal((3, 3)), 2, 3
    spread = np.zeros(((4 - 1) * stride + 1, (3 - 1) * stride + 1))
    spread[::stride, ::stride] = x
    padded = np.pad(spread, k - 1)
    y, _ = conv_matrix(padded[None, None], kernel[None, None, ::-1, ::-1], 1)
    print("largest difference:", abs(y[0, 0] - stamp(x, kernel, stride)).max())
    assert np.allclose(y[0, 0], stamp(x, kernel, stride))


def exercise_2():
    """The outermost 4 rows and columns: there only some of the stamps arrive that an inner pixel gets.

    Inside, each pixel is under two stamps along each axis, and the two tents add up to 1.
    """
    y = stamp(np.ones((5, 5)), bilinear(4), 4)
    ones = np.isclose(y, 1)
    print(f"y {y.shape}: 1 in the middle {ones[4:-4, 4:-4].shape}, at the border {y[0, 12]:.3f}, {y[1, 12]:.3f}, ...")
    assert ones[4:-4, 4:-4].all() and not ones[:4].any() and not ones[:, :4].any()


if __name__ == "__main__":
    exercise_1()
    exercise_2()
