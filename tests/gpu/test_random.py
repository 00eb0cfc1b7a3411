"""Random numbers on the device: the bits that the generator draws on the CPU; it advances by as many."""

import numpy as np
import pytest

import nn
from nn.random import normal, uniform
from tests.cupy_stand_in import no_transfers

SHAPES = [(1,), (2,), (7,), (8,), (9,), (16,), (17,), (3, 5, 7), (2, 1, 257), (4099,), ()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_bits_are_numpys(device, shape, dtype):
    for drawn_before in (0, 1, 2, 5):  # an odd number of float32 leaves half a draw
        here, there = np.random.default_rng(3), np.random.default_rng(3)
        here.random(drawn_before, np.float32)
        there.random(drawn_before, np.float32)
        wanted = here.random(shape, dtype)
        with no_transfers():
            got = uniform(there, shape, dtype, device)
        assert isinstance(got, device.ndarray)
        assert got.dtype == dtype
        np.testing.assert_array_equal(device.asnumpy(got), wanted)
        np.testing.assert_array_equal(there.random(3, np.float32), here.random(3, np.float32))
        np.testing.assert_array_equal(there.random(3), here.random(3))


def test_draws_of_both_kinds_follow_each_other(device):
    here, there = np.random.default_rng([5, 1]), np.random.default_rng([5, 1])
    for shape, dtype in (
        ((3,), np.float32),
        ((5,), np.float64),
        ((4, 2), np.float32),
        ((0, 3), np.float32),
        ((1,), np.float32),
    ):
        np.testing.assert_array_equal(device.asnumpy(uniform(there, shape, dtype, device)), here.random(shape, dtype))
    assert here.random() == there.random()


def test_a_stream_far_from_its_start(device):
    """All 128 bits of the state count."""
    here, there = np.random.default_rng(0), np.random.default_rng(0)
    for rng in (here, there):
        rng.bit_generator.advance(3**70)
    np.testing.assert_array_equal(device.asnumpy(uniform(there, (100,), np.float64, device)), here.random(100))


def test_normal_numbers_are_drawn_on_the_cpu(device):
    got = normal(np.random.default_rng(2), (3, 4), np.float32, device)
    wanted = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_array_equal(device.asnumpy(got), wanted)


def test_a_generator_that_the_device_does_not_support(device):
    with pytest.raises(ValueError, match="PCG64 alone, got a generator of Philox: use np.random.default_rng"):
        uniform(np.random.Generator(np.random.Philox(key=1)), (3,), np.float32, device)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, nn.DropPath])
def test_dropout_drops_the_same_on_both(device, kind):
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 7)).astype(np.float32)
    layers = [kind(0.4, rng=np.random.default_rng(1)) for _ in range(2)]
    for _ in range(2):
        y = layers[0].forward(x)[0]
        np.testing.assert_array_equal(device.asnumpy(layers[1].forward(device.asarray(x))[0]), y)
