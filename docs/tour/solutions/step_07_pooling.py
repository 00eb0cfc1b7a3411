"""Solutions to step 7."""

import numpy as np

from docs.tour.step_06_transposed_convolution import stamp
from docs.tour.step_07_pooling import max_pool, put_back


def exercise_1():
    """The kernel is 1 in the first corner and 0 elsewhere, the stride its size: each value is stamped into its corner.

    It is the transpose of the convolution with the same kernel and stride, which keeps every second pixel.
    """
    x = np.arange(1, 7, dtype=float).reshape(2, 3)
    nails = put_back(x[None, None], np.zeros((1, 1, 2, 3), int), 2)[0, 0]
    stamped = stamp(x, np.array([[1.0, 0], [0, 0]]), 2)
    print(stamped)
    assert np.array_equal(nails, stamped)


def exercise_2():
    """Only where no maximum is negative. An unpooled window is one value and zeros: its maximum is max(value, 0).

    After a ReLU nothing is negative, so both are right there. Where the value stands in its window does not matter.
    """
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8))
    for name, values, same in (("positive", abs(x), True), ("negative", -abs(x), False)):
        pooled, which = max_pool(values, 2)
        for undone in (put_back(pooled, which, 2), put_back(pooled, 0 * which, 2)):
            again, _ = max_pool(undone, 2)
            print(f"{name} values: pooled again it is the same: {np.array_equal(again, pooled)}")
            assert np.array_equal(again, pooled) == same and np.array_equal(again, np.maximum(pooled, 0))


if __name__ == "__main__":
    exercise_1()
    exercise_2()
