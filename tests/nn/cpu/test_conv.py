"""Convolution on the CPU: each function by the algorithm that was chosen, and the bias gradient on all threads."""

import numpy as np
import pytest

import nn
from nn import Conv2d
from nn.cpu import chunks, conv_depthwise, conv_tiled, winograd
from nn.cpu import conv as cpu_conv
from nn.layers import conv
from nn.layers.windows import Geometry

NAMES = "conv2d", "conv2d_weight_gradient", "conv2d_input_gradient"


@pytest.mark.parametrize(
    "build, size, wanted",
    [
        (lambda: Conv2d(3, 4, 3, stride=2), (9, 9), conv_tiled),
        (lambda: Conv2d(48, 48, 3, padding=1), (8, 8), winograd),
        (lambda: Conv2d(48, 48, 3, padding=1), (1, 8), conv_tiled),
        (lambda: Conv2d(5, 5, 3, groups=5), (9, 9), conv_depthwise),
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
    y, cache = layer.forward(np.ones((2, layer.in_channels, *size), np.float32))
    layer.backward(y, cache)
    assert set(called) == {(conv if plain else wanted, name) for name in NAMES}


def geometry(**options):
    return Geometry(**{"kernel": (3, 3), **options})


@pytest.mark.parametrize(
    "channels, g, size, dtype, wanted",
    [
        ((64, 64), geometry(padding=(1, 1)), (56, 56), np.float32, True),
        ((64, 64), geometry(padding=(1, 1)), (56, 56), np.float64, True),
        ((64, 64), geometry(dilation=(2, 2)), (28, 28), np.float32, True),
        ((64, 64), geometry(padding=(1, 1)), (56, 56), np.complex128, False),  # the complex step wants exact sums
        ((64, 64), geometry(padding=(1, 1)), (56, 56), np.float16, False),
        ((3, 64), geometry(), (56, 56), np.float32, False),
        ((64, 21), geometry(), (56, 56), np.float32, False),
        ((64, 64), geometry(kernel=(3, 5)), (56, 56), np.float32, False),
        ((64, 64), geometry(stride=(2, 2)), (56, 56), np.float32, False),
        ((128, 128), geometry(groups=2), (56, 56), np.float32, False),
        ((64, 64), geometry(), (5, 5), np.float32, False),  # 64 positions computed for 25
        ((64, 64), geometry(dilation=(12, 12)), (60, 60), np.float32, False),
    ],
)
def test_winograd_is_chosen_where_it_wins(channels, g, size, dtype, wanted, monkeypatch):
    case = np.dtype(dtype), (channels[1], channels[0] // g.groups, *g.kernel), g, 4, size, size
    assert cpu_conv._fastest(*case) is (winograd if wanted else conv_tiled)
    monkeypatch.setattr(nn.config, "winograd", False)
    assert cpu_conv._fastest(*case) is conv_tiled


@pytest.mark.parametrize(
    "shape, g",
    [((4, 1, 3, 3), {"groups": 4, "stride": (2, 2)}), ((8, 1, 3, 3), {"groups": 4}), ((1, 1, 3, 3), {})],
)
def test_what_is_not_depthwise(shape, g):
    assert cpu_conv._fastest(np.dtype(np.float64), shape, Geometry((3, 3), **g), 1, (15, 15), (7, 7)) is conv_tiled


@pytest.mark.parametrize("shape", [(7, 3, 4, 5), (1, 2, 3, 3), (0, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_the_bias_gradient_is_the_sum_over_images_and_positions(shape, dtype, monkeypatch):
    monkeypatch.setattr(cpu_conv, "in_slices", lambda *a: chunks.in_slices(*a, chunk=1))  # image by image
    dy = np.random.default_rng(54).standard_normal(shape).astype(dtype)
    found, wanted = cpu_conv.conv2d_bias_gradient(dy), conv.conv2d_bias_gradient(dy)
    assert found.dtype == wanted.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)
