"""Winograd's convolution against the textbook: values, gradients, rounding, and the threads."""

import numpy as np
import pytest

from nn import Conv2d, ConvTranspose2d
from nn.cpu import conv_tiled, winograd
from nn.cpu import parallel as backend
from nn.gradcheck import check_layer
from nn.layers import conv
from nn.layers.windows import Geometry

SIZES = [  # the sizes of bands, chunks and sums: as they are, one of each, something between
    {},
    {"BAND": 1, "CHUNK": 1, "MIN_TILES": 1, "SUMS": 1},
    {"BAND": 3000, "CHUNK": 9000, "MIN_TILES": 5, "SUMS": 800},
]


def example(seed, dtype=np.float64):
    """A random geometry that fits its input, and x, weight, dy and two biases for it."""
    rng = np.random.default_rng([80, seed])
    dilation, padding = (tuple(map(int, rng.integers(low, high, 2))) for low, high in ((1, 4), (0, 13)))
    g = Geometry((3, 3), (1, 1), padding, dilation)
    h, w = (int(rng.integers(1, 20)) + max(0, 2 * d + 1 - 2 * p) for d, p in zip(dilation, padding))
    n, c, o = map(int, rng.integers(1, 5, 3))
    shapes = (n, c, h, w), (o, c, 3, 3), (n, o, *g.output_size("", h, w)), (o,), (c,)
    return g, *(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def all_three(ops, g, x, weight, dy, bias, bias_of_dx):
    return (
        ops.conv2d(x, weight, g, dy.shape[2:], bias),
        ops.conv2d_input_gradient(dy, weight, g, x.shape[2:], bias_of_dx),
        ops.conv2d_weight_gradient(dy, x, weight.shape, g),
    )


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_textbook(seed, monkeypatch):
    for name, value in SIZES[seed % 3].items():
        monkeypatch.setattr(winograd, name, value)
    case = example(seed)
    for name, found, wanted in zip(("y", "dx", "dw"), all_three(winograd, *case), all_three(conv, *case)):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("make", [Conv2d, ConvTranspose2d])
def test_a_batch_of_no_images(make):
    layer = make(64, 48, 3, padding=1)
    y, cache = layer.forward(np.zeros((0, 64, 16, 16), np.float32))
    assert y.shape == (0, 48, 16, 16)
    assert layer.backward(y, cache).shape == (0, 64, 16, 16)
    assert not layer.weight.grad.any()


def test_the_transforms_are_those_of_minimal_filtering():
    """A.T [(G w) * (B.T x)] is the 1-D correlation, for all basis vectors: Lavin and Gray, sec. 4.3."""
    for i in range(3):
        for j in range(6):
            w, x = np.eye(3)[i], np.eye(6)[j]
            wanted = [sum(w[k] * x[r + k] for k in range(3)) for r in range(4)]
            np.testing.assert_allclose(winograd.AT @ ((winograd.G @ w) * (winograd.BT @ x)), wanted, atol=1e-15)


def test_rounding_is_as_stated():
    """Of 64 to 512 channels in float32, relative to the largest: some 1e-5, where direct sums reach 5e-7."""
    rng = np.random.default_rng(81)
    for channels in (64, 128, 512):
        x = rng.standard_normal((1, channels, 14, 14)).astype(np.float32)
        weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
        g = Geometry((3, 3), padding=(1, 1))
        exact = conv.conv2d(x.astype(np.float64), weight.astype(np.float64), g, (14, 14))
        errors = [
            abs(ops.conv2d(x, weight, g, (14, 14)) - exact).max() / abs(exact).max() for ops in (winograd, conv_tiled)
        ]
        assert errors[0] < 3e-5  # measured: 5e-6 to 1.5e-5
        assert errors[1] < 2e-6


@pytest.mark.parametrize("make, channels", [(Conv2d, (3, 2)), (ConvTranspose2d, (2, 4))])
@pytest.mark.parametrize("options", [{"padding": 1}, {}, {"dilation": 2, "padding": 2}])
def test_gradients_of_layers_that_take_it(make, channels, options, monkeypatch):
    monkeypatch.setattr(winograd, "LEAST", 1)
    monkeypatch.setattr(winograd, "WASTE", 100)
    called = []
    original = winograd.conv2d_weight_gradient
    monkeypatch.setattr(winograd, "conv2d_weight_gradient", lambda *a: called.append(1) or original(*a))
    layer = make(*channels, 3, **options, rng=np.random.default_rng(82)).astype(np.float64)
    x = np.random.default_rng(83).standard_normal((2, channels[0], 7, 6))
    check_layer(layer, x, tolerance=1e-7)
    assert called


@pytest.mark.parametrize("ops", [winograd, conv_tiled])
def test_the_number_of_threads_changes_no_bit(ops, monkeypatch):
    rng = np.random.default_rng(84)
    g = Geometry((3, 3), padding=(1, 1))
    x, weight, dy = (
        rng.standard_normal(s).astype(np.float32) for s in ((9, 64, 20, 20), (64, 64, 3, 3), (9, 64, 20, 20))
    )
    shared = all_three(ops, g, x, weight, dy, None, None)
    monkeypatch.setattr(ops, "parallel_for", lambda task, n: [task(i) for i in range(n)])
    alone = all_three(ops, g, x, weight, dy, None, None)
    assert all((a == b).all() for a, b in zip(shared, alone))
    assert backend.thread_count() >= 1
