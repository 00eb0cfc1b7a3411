"""Convolution on the CPU: each function by the algorithm that was chosen, and the bias gradient on all threads."""

import numpy as np
import pytest

import nn
from nn import Conv2d
from nn.cpu import chunks, conv_depthwise, conv_tiled, winograd
from nn.cpu import conv as cpu_conv
from nn.layers import conv

NAMES = "conv2d", "conv2d_weight_gradient", "conv2d_input_gradient"


@pytest.mark.parametrize(
    "build, size, wanted",
    [
        (lambda: Conv2d(3, 4, 3, stride=2), 9, conv_tiled),
        (lambda: Conv2d(48, 48, 3, padding=1), 8, winograd),
        (lambda: Conv2d(5, 5, 3, groups=5), 9, conv_depthwise),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_forward_and_backward_take_the_same_version(plain, build, size, wanted, monkeypatch):
    called, layer = [], build()
    for module in (conv, conv_tiled, winograd, conv_depthwise):
        for name in NAMES:
            original = getattr(module, name)
            monkeypatch.setattr(module, name, lambda *a, c=(module, name), f=original: called.append(c) or f(*a))
    monkeypatch.setattr(nn.config, "plain", plain)
    y, cache = layer.forward(np.ones((2, layer.in_channels, size, size), np.float32))
    layer.backward(y, cache)
    assert set(called) == {(conv if plain else wanted, name) for name in NAMES}


@pytest.mark.parametrize("shape", [(7, 3, 4, 5), (1, 2, 3, 3), (0, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_the_bias_gradient_is_the_sum_over_images_and_positions(shape, dtype, monkeypatch):
    monkeypatch.setattr(cpu_conv, "in_slices", lambda *a: chunks.in_slices(*a, piece=1))  # image by image
    dy = np.random.default_rng(54).standard_normal(shape).astype(dtype)
    found, wanted = cpu_conv.conv2d_bias_gradient(dy), conv.conv2d_bias_gradient(dy)
    assert found.dtype == wanted.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)
