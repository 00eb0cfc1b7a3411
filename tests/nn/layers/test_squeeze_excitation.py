"""SqueezeExcitation against its equations, image by image."""

import math

import numpy as np
import pytest

from nn.config import config
from nn.layer import Layer
from nn.layers.activation import LeakyReLU, ReLU, SiLU, Tanh
from nn.layers.linear import Linear
from nn.layers.prelu import PReLU
from nn.layers.squeeze_excitation import SqueezeExcitation


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


def layer_of(channels, squeezed, *activations):
    layer, rng = SqueezeExcitation(channels, squeezed, *activations).astype(np.float64), np.random.default_rng(140)
    for parameter in layer.parameters().values():
        parameter.value[...] = rng.normal(size=parameter.value.shape)
    return layer


def data(*shape):
    return np.random.default_rng(141).normal(size=(2, *shape)) * 2


@pytest.mark.parametrize("n, c, h, w, squeezed", [(2, 3, 4, 5, 2), (1, 4, 2, 3, 1), (3, 2, 1, 1, 5), (2, 1, 3, 3, 1)])
def test_equals_the_paper(n, c, h, w, squeezed):
    """z_c = mean of u_c (eq. 2), s = sigmoid(W2 relu(W1 z)) (eq. 3), x_c = s_c u_c (eq. 4); here with biases."""
    layer, (x, dy) = layer_of(c, squeezed), data(n, c, h, w)
    w1, b1 = layer.fc1.weight.value[:, :, 0, 0], layer.fc1.bias.value
    w2, b2 = layer.fc2.weight.value[:, :, 0, 0], layer.fc2.bias.value
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    grads = {name: np.zeros(p.value.shape) for name, p in layer.parameters().items()}
    for i in range(n):
        z = [math.fsum(x[i, k].ravel()) / (h * w) for k in range(c)]
        a = [sum(w1[j, k] * z[k] for k in range(c)) + b1[j] for j in range(squeezed)]
        s = [1 / (1 + math.exp(-sum(w2[k, j] * max(a[j], 0) for j in range(squeezed)) - b2[k])) for k in range(c)]
        np.testing.assert_allclose(y[i], [s[k] * x[i, k] for k in range(c)], rtol=1e-12)
        ds = [(dy[i, k] * x[i, k]).sum() * s[k] * (1 - s[k]) for k in range(c)]
        da = [sum(w2[k, j] * ds[k] for k in range(c)) * (a[j] > 0) for j in range(squeezed)]
        dz = [sum(w1[j, k] * da[j] for j in range(squeezed)) for k in range(c)]
        wanted = [dy[i, k] * s[k] + dz[k] / (h * w) for k in range(c)]
        np.testing.assert_allclose(dx[i], wanted, rtol=1e-11, atol=1e-12)
        grads["fc1.weight"] += np.outer(da, z)[:, :, None, None]
        grads["fc2.weight"] += np.outer(ds, np.maximum(a, 0))[:, :, None, None]
        grads["fc1.bias"] += da
        grads["fc2.bias"] += ds
    for name, parameter in layer.parameters().items():
        np.testing.assert_allclose(parameter.grad, grads[name], rtol=1e-11, atol=1e-12)


def test_gates_of_a_half_and_of_1():
    layer, x = SqueezeExcitation(4, 2).astype(np.float64), data(2, 4, 3, 5)[0]
    layer.fc2.weight.value[...] = 0
    np.testing.assert_array_equal(layer(x), x / 2)
    layer.fc2.bias.value[...] = 1000
    np.testing.assert_array_equal(layer(x), x)


def test_torchvisions_names_and_shapes():
    layer = SqueezeExcitation(8, 3)
    shapes = {name: p.value.shape for name, p in layer.parameters().items()}
    assert shapes == {
        "fc1.weight": (3, 8, 1, 1), "fc1.bias": (3,), "fc2.weight": (8, 3, 1, 1), "fc2.bias": (8,),
    }  # fmt: skip
    assert list(SqueezeExcitation(8, 3, activation=PReLU).parameters())[-1] == "activation.weight"
    other = SqueezeExcitation(8, 3, rng=np.random.default_rng(1))
    assert not np.array_equal(layer.fc1.weight.value, other.fc1.weight.value)
    assert not np.array_equal(layer.fc1.weight.value.ravel(), layer.fc2.weight.value.ravel())


def test_other_activations_are_the_composition():
    x, dy = data(3, 4, 2, 5)
    layer = layer_of(4, 6, SiLU, Tanh)
    y, cache = layer.forward(x)
    one, two = Linear(4, 6).astype(np.float64), Linear(6, 4).astype(np.float64)
    for linear, conv in ((one, layer.fc1), (two, layer.fc2)):
        linear.weight.value, linear.bias.value = conv.weight.value[:, :, 0, 0], conv.bias.value
    hidden, c_silu = SiLU().forward(one(x.mean(axis=(2, 3))))
    gate, c_tanh = Tanh().forward(two(hidden))
    np.testing.assert_allclose(y, x * gate[:, :, None, None], rtol=1e-12)
    dlogits = Tanh().backward((dy * x).sum(axis=(2, 3)), c_tanh)
    dmean = SiLU().backward(dlogits @ two.weight.value, c_silu) @ one.weight.value
    wanted = dy * gate[:, :, None, None] + dmean[:, :, None, None] / 10
    np.testing.assert_allclose(layer.backward(dy, cache), wanted, rtol=1e-11, atol=1e-13)


def test_large_batches_in_chunks_float32_stays_and_arguments_too():
    layer = SqueezeExcitation(4, 2)
    x, dy = data(5, 4, 90, 100).astype(np.float32)
    before = x.copy(), dy.copy()
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    assert y.dtype == dx.dtype == np.float32 and np.array_equal(x, before[0]) and np.array_equal(dy, before[1])
    for i in range(5):
        alone, cache = layer.forward(x[i : i + 1])
        np.testing.assert_allclose(y[i : i + 1], alone, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dx[i : i + 1], layer.backward(dy[i : i + 1], cache), rtol=1e-4, atol=1e-5)


def test_an_empty_batch():
    layer, x = SqueezeExcitation(4, 2), np.zeros((0, 4, 3, 5), np.float32)
    y, cache = layer.forward(x)
    assert y.shape == layer.backward(y, cache).shape == (0, 4, 3, 5)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="^SqueezeExcitation: squeeze_channels must be a whole number >= 1, got 0$"):
        SqueezeExcitation(4, 0)
    with pytest.raises(ValueError, match="^SqueezeExcitation: input_channels must be a whole number >= 1, got 0$"):
        SqueezeExcitation(0, 4)
    with pytest.raises(TypeError, match=r"^SqueezeExcitation: scale_activation\(\) must give a Layer, got dict$"):
        SqueezeExcitation(4, 2, ReLU, dict)
    with pytest.raises(TypeError, match=r"^SqueezeExcitation: activation\(\) must give a Layer, got list$"):
        SqueezeExcitation(4, 2, activation=list)
    layer = SqueezeExcitation(4, 2, activation=lambda: LeakyReLU(0.2))
    assert isinstance(layer, Layer) and layer.activation.negative_slope == 0.2
    with pytest.raises(ValueError, match=r"^SqueezeExcitation: x must have shape \(N, 4, H, W\), got \(2, 3, 5, 6\)$"):
        layer.forward(np.zeros((2, 3, 5, 6)))
    with pytest.raises(ValueError, match=r"^SqueezeExcitation: x must have at least one pixel, got x \(2, 4, 0, 6\)$"):
        layer.forward(np.zeros((2, 4, 0, 6)))
    with pytest.raises(TypeError, match="^SqueezeExcitation: x must be an array of floats, got uint8"):
        layer.forward(np.zeros((2, 4, 5, 6), np.uint8))
    _, cache = layer.forward(np.ones((2, 4, 5, 6)))
    with pytest.raises(ValueError, match=r"^SqueezeExcitation: dy must have shape \(2, 4, 5, 6\), got \(2, 4, 5\)$"):
        layer.backward(np.ones((2, 4, 5)), cache)
