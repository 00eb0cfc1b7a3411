"""Flatten: the order of the elements, empty batches, and what it refuses."""

import numpy as np
import pytest

from nn import Flatten


def test_rows_hold_the_elements_in_order():
    x = np.arange(24.0).reshape(2, 3, 4)
    y, cache = Flatten().forward(x)
    assert y.tolist() == [list(range(12)), list(range(12, 24))]
    np.testing.assert_array_equal(Flatten().backward(2 * y, cache), 2 * x)


@pytest.mark.parametrize("shape, wanted", [((0, 3, 4), (0, 12)), ((2, 0, 4), (2, 0)), ((5,), (5, 1)), ((3, 2), (3, 2))])
def test_shapes(shape, wanted):
    y, cache = Flatten().forward(np.zeros(shape, np.float32))
    assert y.shape == wanted and y.dtype == np.float32 and Flatten().backward(y, cache).shape == shape


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"Flatten: x must have shape \(N\), got \(\)"):
        Flatten().forward(np.zeros(()))
    with pytest.raises(TypeError, match="Flatten: x must be an array of floats, got int64"):
        Flatten().forward(np.zeros((2, 3), np.int64))
    _, cache = Flatten().forward(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"Flatten: dy must have shape \(2, 12\), got \(2, 3, 4\)"):
        Flatten().backward(np.zeros((2, 3, 4)), cache)
