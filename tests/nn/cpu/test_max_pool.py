"""The fast max pooling of NumPy gives the bits of the textbook, and the caches of both are of one kind."""

import numpy as np
import pytest

import nn
from nn import MaxPool2d
from nn.cpu import max_pool as fast
from nn.layers import max_pool as textbook

OPTIONS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 4), "stride": (1, 3), "dilation": (2, 1), "padding": (1, 0), "ceil_mode": True},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 3, "padding": 1, "dilation": 5},
    {"kernel_size": 13, "stride": 2, "padding": 6},  # more taps than an int8 holds
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_of_the_textbook(dtype, options):
    rng, layer = np.random.default_rng(1), MaxPool2d(**options)
    x = rng.integers(-3, 3, (5, 6, 21, 19)).astype(dtype)  # many ties
    x[1, 2, 3], x[2, 1, 5, 6], x[4, :, :, :9] = np.nan, np.nan, -np.inf  # some images with NaN, some without
    size = textbook.pooled_size(layer, layer.geometry, x.shape[2:], layer.ceil_mode)
    (y, taps), (wanted, wanted_taps) = (module.max_pool(x, layer.geometry, size) for module in (fast, textbook))
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(taps, wanted_taps)
    dy = rng.standard_normal(y.shape).astype(dtype)
    for a in (taps, wanted_taps):  # either cache
        dx, wanted = (module.max_pool_backward(dy, a, layer.geometry, x.shape) for module in (fast, textbook))
        np.testing.assert_array_equal(dx, wanted)
        assert y.dtype == dx.dtype == dtype


def test_taps_take_as_little_memory_as_they_can():
    x = np.random.default_rng(2).normal(size=(2, 3, 6, 4)).astype(np.float32)
    cache = MaxPool2d(2).forward(x)[1]
    assert cache.taps.dtype == np.int8 and cache.in_shape == x.shape  # no copy of x, no window of it
    y, cache = MaxPool2d((1, 40000)).forward(np.arange(40000.0).reshape(1, 1, 1, 40000))
    assert y.item() == 39999 and cache.taps.item() == 39999  # more taps than an int16 holds


def test_which_version_is_taken(monkeypatch):
    x = np.zeros((1, 2, 4, 4))
    assert MaxPool2d(2).forward(x)[1].taps.dtype == np.int8
    assert MaxPool2d(2).forward(x.astype(np.complex128))[1].taps.dtype == np.int32
    monkeypatch.setattr(nn.config, "plain", True)
    assert MaxPool2d(2).forward(x)[1].taps.dtype == np.int32
