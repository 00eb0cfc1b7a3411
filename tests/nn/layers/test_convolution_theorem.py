"""The convolution theorem: waves, a moved signal, and overlap-save against the direct sum."""

import numpy as np
import pytest

from nn.layers import conv
from nn.layers.convolution_theorem import conv2d, correlate, dft2, dft_matrix, inverse_dft2
from nn.layers.windows import Geometry

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("t", [1, 2, 5, 8])
def test_the_transform_is_numpys(t):
    x = RNG.standard_normal((2, t, t))
    np.testing.assert_allclose(dft2(x, t), np.fft.fft2(x), atol=1e-12)
    np.testing.assert_allclose(inverse_dft2(dft2(x, t)), x, atol=1e-12)


def test_zeros_behind():
    x = RNG.standard_normal((3, 4))
    np.testing.assert_allclose(dft2(x, 7), np.fft.fft2(x, (7, 7)), atol=1e-12)


def test_a_moved_wave_is_the_wave_times_a_number():
    x = RNG.standard_normal(9)
    moved = dft_matrix(9) @ np.roll(x, -2)
    np.testing.assert_allclose(moved, dft_matrix(9) @ x * np.exp(2j * np.pi * np.arange(9) * 2 / 9), atol=1e-12)


def test_correlation_by_hand():
    """Modulo 4: y[r] = x[r] + 10 x[r + 1]."""
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0] = [1, 2, 3, 4]
    y = correlate(x, np.array([1.0, 10.0]).reshape(1, 1, 1, 2))
    np.testing.assert_allclose(y[0, 0, 0], [21, 32, 43, 14], atol=1e-12)


@pytest.mark.parametrize("tile", [5, 8, 16, 64])
@pytest.mark.parametrize(("kernel", "padding"), [((5, 5), (2, 2)), ((3, 4), (0, 3)), ((1, 2), (0, 0))])
def test_overlap_save(tile, kernel, padding):
    g = Geometry(kernel, (1, 1), padding, (1, 1))
    x, weight = RNG.standard_normal((2, 3, 17, 12)), RNG.standard_normal((4, 3, *kernel))
    wanted = conv.conv2d(x, weight, g, g.output_size("", 17, 12))
    np.testing.assert_allclose(conv2d(x, weight, g, tile), wanted, atol=1e-12)
