"""Convolution by the Fourier transform of tiles against the textbook: values, gradients, rounding, and the threads."""

import numpy as np
import pytest

from nn import Conv2d, ConvTranspose2d
from nn.cpu import conv as fast
from nn.cpu import conv_dft, conv_tiled, parallel
from nn.gradcheck import check_layer
from nn.layers import conv
from nn.layers.windows import Geometry


def example(seed, dtype=np.float64):
    """A random geometry that fits its input, and x, weight, dy and two biases for it."""
    rng = np.random.default_rng([81, seed])
    k = int(rng.integers(5, 10))
    g = Geometry((k, k), (1, 1), tuple(map(int, rng.integers(0, k, 2))), (1, 1))
    h, w = (int(rng.integers(1, 40)) + max(0, k - 1 - 2 * p) for p in g.padding)
    n, c, o = map(int, rng.integers(1, 5, 3))
    shapes = (n, c, h, w), (o, c, k, k), (n, o, *g.output_size("", h, w)), (o,), (c,)
    return g, *(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def all_three(ops, g, x, weight, dy, bias, bias_of_dx):
    return (
        ops.conv2d(x, weight, g, dy.shape[2:], bias),
        ops.conv2d_input_gradient(dy, weight, g, x.shape[2:], bias_of_dx),
        ops.conv2d_weight_gradient(dy, x, weight.shape, g),
    )


def large(dtype=np.float32, c=16, o=20, size=(64, 70), k=7):
    rng, g = np.random.default_rng(3), Geometry((k, k), (1, 1), (k // 2, k // 2), (1, 1))
    shapes = (2, c, *size), (o, c, k, k), (2, o, *size), (o,), (c,)
    return g, *(rng.standard_normal(shape).astype(dtype) for shape in shapes)


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_textbook(seed, monkeypatch):
    for name, value in ({}, {"CHUNK": 1, "GRADIENT_TILES": 1}, {"CHUNK": 5000, "GRADIENT_TILES": 3})[seed % 3].items():
        monkeypatch.setattr(conv_dft, name, value)
    case = example(seed)
    for name, found, wanted in zip(("y", "dx", "dw"), all_three(conv_dft, *case), all_three(conv, *case)):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * abs(wanted).max(), err_msg=name)


def test_rounding_is_no_more_than_that_of_direct_sums():
    case = large()
    exact = all_three(conv, case[0], *(a.astype(np.float64) for a in case[1:]))
    for ours, direct, wanted in zip(all_three(conv_dft, *case), all_three(conv_tiled, *case), exact):
        error, of_direct = (abs(found - wanted).max() / abs(wanted).max() for found in (ours, direct))
        assert error < max(1.2 * of_direct, 5e-7)


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    results = []
    for threads in (1, 2, 3):
        parallel.thread_count.cache_clear()
        parallel._pool.cache_clear()
        monkeypatch.setenv("NN_THREADS", str(threads))
        results.append(all_three(conv_dft, *large()))
    parallel.thread_count.cache_clear()
    parallel._pool.cache_clear()
    for others in zip(*results):
        assert all(a.tobytes() == others[0].tobytes() for a in others)


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"k": 5}, True),
        ({"k": 3}, False),  # Winograd's
        ({"k": 11}, False),
        ({"c": 3}, False),
        ({"c": 256, "o": 256, "size": (45, 45)}, False),
        ({"size": (20, 20)}, False),
        ({"dtype": np.float64}, True),
    ],
)
def test_what_it_takes(change, taken):
    g, x, weight, dy, *_ = large(**change)
    dtype = np.result_type(x, weight)
    assert conv_dft.takes(dtype, weight.shape, g, len(x), dy.shape[2:]) == taken
    assert not conv_dft.takes(dtype, weight.shape, g._replace(stride=(2, 2)), len(x), dy.shape[2:])
    assert not conv_dft.takes(dtype, weight.shape, g._replace(dilation=(2, 2)), len(x), dy.shape[2:])
    assert not conv_dft.takes(np.complex128, weight.shape, g, len(x), dy.shape[2:])


def test_the_layers_use_it(monkeypatch):
    calls = []
    for name in ("conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"):
        own = getattr(conv_dft, name)
        monkeypatch.setattr(conv_dft, name, lambda *args, own=own, name=name: calls.append(name) or own(*args))
    _, x, *_ = large()
    for layer in (Conv2d(16, 20, 7, padding=3), ConvTranspose2d(16, 20, 7, padding=3)):
        y, cache = layer.forward(x)
        layer.backward(np.ones_like(y), cache)
    assert sorted(calls) == sorted(["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"] * 2)
    assert fast.takes(x)


def test_gradients(monkeypatch):
    monkeypatch.setattr(conv_dft, "POSITIONS", 1)
    monkeypatch.setattr(conv_dft, "LEAST", 1)
    x = np.random.default_rng(0).standard_normal((2, 2, 14, 13))
    for layer in (Conv2d(2, 3, 5, padding=2), ConvTranspose2d(2, 3, 5, padding=2)):
        assert max(check_layer(layer, x).values()) < 1e-8


@pytest.mark.parametrize("k", [5, 9])
def test_a_batch_of_no_images(k):
    g, x, weight, dy, *biases = large(k=k)
    y, dx, dw = all_three(conv_dft, g, x[:0], weight, dy[:0], *biases)
    assert y.shape == (0, *dy.shape[1:]) and dx.shape == (0, *x.shape[1:]) and not dw.any()
