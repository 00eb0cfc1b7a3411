"""LocalResponseNorm and L2Norm against loops over pixels and channels."""

import math

import numpy as np
import pytest

from nn.config import config
from nn.layers.local_norm import L2Norm, LocalResponseNorm, sum_of_channels

SHAPES = [(2, 7, 3, 4), (1, 5, 2, 3), (3, 1, 2, 2), (2, 4), (2, 6, 3), (0, 4, 2, 2)]


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


def data(*shape, seed=110):
    return np.random.default_rng(seed).normal(size=(2, *shape)) * 2


def pixels(shape):
    """Index (n, all channels, ...) of each pixel of each image."""
    return [(i[0], slice(None), *i[1:]) for i in np.ndindex(shape[0], *shape[2:])]


def near(c, size, channels):
    """Channels of the window of channel c."""
    return [j for j in range(c - size // 2, c - size // 2 + size) if 0 <= j < channels]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "size, alpha, beta, k",
    [(5, 1e-4, 0.75, 1.0), (3, 0.7, 0.5, 2.0), (4, 1.5, 1.2, 0.3), (1, 1, 1, 1), (20, 2.0, 0.75, 1.0), (2, 0.5, 0, 1)],
)
def test_local_response_norm_equals_the_loop(size, alpha, beta, k, shape):
    layer, (x, dy) = LocalResponseNorm(size, alpha, beta, k), data(*shape)
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    for pixel in pixels(shape):
        v, d, channels = x[pixel], dy[pixel], shape[1]
        base = [k + alpha / size * sum(v[j] ** 2 for j in near(c, size, channels)) for c in range(channels)]
        np.testing.assert_allclose(y[pixel], [v[c] / base[c] ** beta for c in range(channels)], rtol=1e-12)
        wanted = np.zeros(channels)  # y[c] depends on x[c] itself and on every x[j] of its window
        for c in range(channels):
            wanted[c] += d[c] / base[c] ** beta
            for j in near(c, size, channels):
                wanted[j] -= d[c] * v[c] * beta * base[c] ** (-beta - 1) * alpha / size * 2 * v[j]
        np.testing.assert_allclose(dx[pixel], wanted, rtol=1e-11, atol=1e-13)
    assert y.shape == dx.shape == shape


def test_alexnet_in_its_own_convention():
    """b[i] = a[i] / (k + alpha * sum of a[j]^2)^beta, j from max(0, i - n/2) to min(N - 1, i + n/2), alpha whole."""
    k, n, alpha, beta, a = 2, 5, 1e-4, 0.75, data(1, 9, 1, 1)[0] * 100
    y = LocalResponseNorm(n, alpha=5e-4, beta=beta, k=2.0)(a)
    for i in range(9):
        near_i = range(max(0, i - n // 2), min(8, i + n // 2) + 1)
        base = k + alpha * sum(a[0, j, 0, 0] ** 2 for j in near_i)
        assert y[0, i, 0, 0] == pytest.approx(a[0, i, 0, 0] / base**beta, rel=1e-12)


def test_an_even_window_has_the_extra_channel_below():
    x = np.array([1.0, 0, 0, 0, 10]).reshape(1, 5, 1)
    y = LocalResponseNorm(2, alpha=2.0, beta=1.0, k=1.0)(x + 1)  # alpha / size = 1
    ones, values = [1 + 4, 1 + 4 + 1, 1 + 1 + 1, 1 + 1 + 1, 1 + 1 + 121], [2, 1, 1, 1, 11]
    np.testing.assert_allclose(y.ravel(), [v / s for v, s in zip(values, ones)], rtol=1e-15)


def test_sum_of_channels():
    x = np.arange(1.0, 7).reshape(1, 6, 1)
    assert sum_of_channels(x, 1, 2).ravel().tolist() == [6, 10, 14, 18, 15, 11]
    assert sum_of_channels(x, 0, 0).ravel().tolist() == x.ravel().tolist()
    assert sum_of_channels(x, 50, 0).ravel().tolist() == np.cumsum(x).tolist()
    assert sum_of_channels(x, 50, 50).ravel().tolist() == [21] * 6
    a, b = data(2, 6, 3)
    there, back = sum_of_channels(a, 1, 3), sum_of_channels(b, 3, 1)  # adjoint: the window turned round
    assert (there * b).sum() == pytest.approx((a * back).sum(), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale, eps", [(20.0, 1e-10), (1.0, 0.3)])
def test_l2_norm_equals_the_loop(scale, eps, shape):
    layer, (x, dy) = L2Norm(shape[1], scale, eps).astype(np.float64), data(*shape)
    assert (layer.weight.value == scale).all()
    layer.weight.value *= np.random.default_rng(111).uniform(-1.5, 1.5, shape[1])
    w = layer.weight.value
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    dweight = np.zeros(shape[1])
    for pixel in pixels(shape):
        v, d = x[pixel], dy[pixel]
        norm = math.sqrt(math.fsum(v * v) + eps)
        np.testing.assert_allclose(y[pixel], w * v / norm, rtol=1e-13)
        jacobian = (np.diag(w) - np.outer(w * v, v) / norm**2) / norm  # of y by x
        np.testing.assert_allclose(dx[pixel], jacobian.T @ d, rtol=1e-10, atol=1e-11 * scale)
        dweight += d * v / norm
    np.testing.assert_allclose(layer.weight.grad, dweight, rtol=1e-12, atol=1e-13)


def test_l2_norm_gives_every_pixel_one_length():
    x = data(2, 6, 4, 5)[0]
    lengths = np.sqrt((L2Norm(6)(x) ** 2).sum(axis=1))
    np.testing.assert_allclose(lengths, 20, rtol=1e-10)
    assert not L2Norm(6)(np.zeros((1, 6, 2, 2))).any()
    layer = L2Norm(6).astype(np.float64)
    _, cache = layer.forward(np.zeros((1, 6, 2, 2)))
    np.testing.assert_allclose(layer.backward(np.ones((1, 6, 2, 2)), cache), 20 / 1e-5)  # 20 x / sqrt(eps) near 0


@pytest.mark.parametrize("layer", [LocalResponseNorm(3, alpha=0.5), L2Norm(5)])
def test_gradients_add_up_and_float32_stays(layer):
    x, dy = data(4, 5, 3, 2).astype(np.float32)
    layer.zero_grad()
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    once = {name: p.grad.copy() for name, p in layer.parameters().items()}
    assert y.dtype == dx.dtype == np.float32
    again, cache = layer.forward(x)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(layer.backward(dy, cache), dx)
    for name, p in layer.parameters().items():
        np.testing.assert_allclose(p.grad, 2 * once[name], rtol=1e-5)
    assert np.array_equal(layer(x), y)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: LocalResponseNorm(0), "LocalResponseNorm: size must be a whole number >= 1, got 0"),
        (
            lambda: LocalResponseNorm(5, alpha=-1),
            "LocalResponseNorm: alpha and beta must be >= 0 and k > 0, got alpha=-1, ",
        ),
        (
            lambda: LocalResponseNorm(5, beta=math.nan),
            "LocalResponseNorm: alpha and .*, got alpha=0.0001, beta=nan, k=1.0",
        ),
        (lambda: LocalResponseNorm(5, k=0), "LocalResponseNorm: alpha and .* k > 0, got alpha=0.0001, beta=0.75, k=0"),
        (lambda: L2Norm(0), "L2Norm: num_channels must be a whole number >= 1, got 0"),
        (lambda: L2Norm(3, math.inf), "L2Norm: scale must be a finite number and eps > 0, got inf and 1e-10"),
        (lambda: L2Norm(3, eps=0), "L2Norm: scale must be a finite number and eps > 0, got 20.0 and 0"),
    ],
)
def test_bad_constructor_arguments(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_bad_input():
    with pytest.raises(ValueError, match=r"^LocalResponseNorm: x must have shape \(N, C\), got \(5,\)$"):
        LocalResponseNorm(3).forward(np.zeros(5))
    with pytest.raises(ValueError, match=r"^L2Norm: x must have shape \(N, 3, None, None\), got \(2, 4, 5, 6\)$"):
        L2Norm(3).forward(np.zeros((2, 4, 5, 6)))
    for layer in (LocalResponseNorm(3), L2Norm(3)):
        name = type(layer).__name__
        with pytest.raises(TypeError, match=f"^{name}: x must be an array of floats, got uint8"):
            layer.forward(np.zeros((2, 3, 5, 6), np.uint8))
        _, cache = layer.forward(np.ones((2, 3, 5, 6)))
        with pytest.raises(ValueError, match=rf"^{name}: dy must have shape \(2, 3, 5, 6\), got \(2, 3, 5\)$"):
            layer.backward(np.ones((2, 3, 5)), cache)
