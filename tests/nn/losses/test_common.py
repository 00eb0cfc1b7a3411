"""One-hot labels."""

import numpy as np
import pytest

from nn import one_hot


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 4), (), (0, 3)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_one_hot(shape, dtype):
    labels = np.asarray(np.random.default_rng(170).integers(0, 6, shape), dtype)
    for axis in range(-len(shape) - 1, len(shape) + 1):
        hot = one_hot(labels, 5, axis)
        wanted = np.moveaxis(np.eye(6, dtype=bool)[labels][..., :5], -1, axis)  # 5 is no class
        assert hot.dtype == bool and np.array_equal(hot, wanted)


def test_the_classes_are_axis_1_and_minus_1_is_no_class():
    assert one_hot(np.array([[0, -1], [2, 1]]), 3).astype(int).tolist() == [
        [[1, 0], [0, 0], [0, 0]],
        [[0, 0], [0, 1], [1, 0]],
    ]
