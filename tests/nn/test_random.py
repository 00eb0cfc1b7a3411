"""Random numbers on the CPU are NumPy's own: layers draw from their generator what they always drew."""

import numpy as np
import pytest

from nn.random import normal, uniform


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_is_the_generators(dtype):
    here, there = np.random.default_rng(3), np.random.default_rng(3)
    for shape in ((3,), (2, 5), (), (0, 4)):
        drawn = uniform(there, shape, dtype)
        np.testing.assert_array_equal(drawn, here.random(shape, dtype))
        assert np.asarray(drawn).dtype == dtype
    assert here.bit_generator.state == there.bit_generator.state


def test_any_generator_will_do():
    drawn = uniform(np.random.Generator(np.random.Philox(key=1)), (3,), np.float64)
    np.testing.assert_array_equal(drawn, np.random.Generator(np.random.Philox(key=1)).random(3))


def test_normal_is_the_generators_in_float64():
    drawn = normal(np.random.default_rng(2), (3, 4), np.float32)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32))
