"""Linear against explicit sums."""

import math

import numpy as np
import pytest

import nn
from nn import Linear


def example(n, i, o, bias=True):
    rng = np.random.default_rng(130)
    layer = Linear(i, o, bias).astype(np.float64)
    layer.weight.value = rng.normal(size=(o, i))
    if bias:
        layer.bias.value = rng.normal(size=o)
    return layer, rng.normal(size=(n, i)), rng.normal(size=(n, o))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n, i, o", [(3, 5, 4), (1, 2, 7), (6, 1, 1), (0, 3, 2)])
def test_equals_the_sums(n, i, o, bias):
    layer, x, dy = example(n, i, o, bias)
    w, b = layer.weight.value, layer.bias.value if bias else np.zeros(o)
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    for row in range(n):
        wanted = [math.fsum(w[k, j] * x[row, j] for j in range(i)) + b[k] for k in range(o)]
        np.testing.assert_allclose(y[row], wanted, rtol=1e-12)
        wanted = [math.fsum(w[k, j] * dy[row, k] for k in range(o)) for j in range(i)]
        np.testing.assert_allclose(dx[row], wanted, rtol=1e-12, atol=1e-14)
    wanted = [[math.fsum(dy[:, k] * x[:, j]) for j in range(i)] for k in range(o)]
    np.testing.assert_allclose(layer.weight.grad, wanted, rtol=1e-12, atol=1e-14)
    if bias:
        np.testing.assert_allclose(layer.bias.grad, [math.fsum(dy[:, k]) for k in range(o)], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("plain", [False, True])
def test_large_products_in_blocks(plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    layer, x, dy = example(70, 300, 260)
    y, cache = layer.forward(x)
    np.testing.assert_allclose(
        y, np.einsum("ni,oi->no", x, layer.weight.value) + layer.bias.value, rtol=1e-10, atol=1e-11
    )
    np.testing.assert_allclose(
        layer.backward(dy, cache), np.einsum("no,oi->ni", dy, layer.weight.value), rtol=1e-10, atol=1e-11
    )
    np.testing.assert_allclose(layer.weight.grad, np.einsum("no,ni->oi", dy, x), rtol=1e-10, atol=1e-11)


def test_backward_adds_to_the_gradients_and_the_cache_is_the_input():
    layer, x, dy = example(3, 5, 4)
    _, cache = layer.forward(x)
    assert cache is x
    layer.backward(dy, cache)
    layer.backward(2 * dy, cache)
    np.testing.assert_allclose(layer.weight.grad, 3 * dy.T @ x, rtol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, 3 * dy.sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_no_gradient_is_computed_of_a_frozen_parameter(frozen):
    layer, x, dy = example(3, 5, 4)
    getattr(layer, frozen).trainable = False
    dx = layer.backward(dy, layer.forward(x)[1])
    np.testing.assert_allclose(dx, dy @ layer.weight.value, rtol=1e-12)
    wanted = {"weight": dy.T @ x, "bias": dy.sum(axis=0)}
    for name, parameter in layer.parameters().items():
        np.testing.assert_allclose(parameter.grad, np.zeros_like(wanted[name]) if name == frozen else wanted[name])


def test_initialisation_and_dtype():
    layer = Linear(200, 300, rng=np.random.default_rng(1))
    assert layer.weight.value.shape == (300, 200) and layer.weight.value.dtype == np.float32
    assert layer.weight.value.std() == pytest.approx(math.sqrt(2 / 200), rel=0.02) and not layer.bias.value.any()
    assert np.array_equal(Linear(3, 4).weight.value, Linear(3, 4, rng=np.random.default_rng(0)).weight.value)
    assert not np.array_equal(Linear(3, 4, rng=np.random.default_rng(1)).weight.value, Linear(3, 4).weight.value)
    y, cache = layer.forward(np.ones((2, 200), np.float32))
    assert y.dtype == layer.backward(y, cache).dtype == np.float32
    assert Linear(3, 4, bias=False).bias is None and list(Linear(3, 4, bias=False).parameters()) == ["weight"]


def test_what_it_refuses():
    with pytest.raises(ValueError, match="^Linear: in_features must be a whole number >= 1, got 0$"):
        Linear(0, 3)
    with pytest.raises(ValueError, match=r"^Linear: out_features must be a whole number >= 1, got 2\.0$"):
        Linear(3, 2.0)
    layer, x, dy = example(3, 5, 4)
    with pytest.raises(ValueError, match=r"^Linear: x must have shape \(N, 5\), got \(3, 4\)$"):
        layer.forward(x[:, :4])
    with pytest.raises(ValueError, match=r"^Linear: x must have shape \(N, 5\), got \(5,\)$"):
        layer.forward(x[0])
    with pytest.raises(ValueError, match=r"^Linear: dy must have shape \(3, 4\), got \(2, 4\)$"):
        layer.backward(dy[:2], x)
