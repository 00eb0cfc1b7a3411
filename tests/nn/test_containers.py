"""Sequential, Residual and Concat: composition written out by hand, names, and what does not fit."""

import numpy as np
import pytest

import nn
from nn import BatchNorm2d, Concat, Conv2d, Dropout, LeakyReLU, Linear, ReLU, Residual, Sequential

RNG = np.random.default_rng(120)


def linear(i, o):
    layer = Linear(i, o).astype(np.float64)
    layer.weight.value, layer.bias.value = RNG.normal(size=(o, i)), RNG.normal(size=o)
    return layer


def test_sequential_composes():
    first, second, third = linear(3, 4), LeakyReLU(0.1), linear(4, 2)
    x, dy = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))
    h1 = x @ first.weight.value.T + first.bias.value
    h2 = np.where(h1 > 0, h1, 0.1 * h1)
    y, cache = Sequential(first, second, third).forward(x)
    np.testing.assert_allclose(y, h2 @ third.weight.value.T + third.bias.value, rtol=1e-13)
    dx = Sequential(first, second, third).backward(dy, cache)
    dh1 = dy @ third.weight.value * np.where(h1 > 0, 1, 0.1)
    np.testing.assert_allclose(dx, dh1 @ first.weight.value, rtol=1e-12)
    np.testing.assert_allclose(third.weight.grad, dy.T @ h2, rtol=1e-12)
    np.testing.assert_allclose(first.weight.grad, dh1.T @ x, rtol=1e-12)


def test_sequential_names_indices_and_slices():
    model = Sequential(Linear(3, 4), ReLU(), Sequential(Linear(4, 2, bias=False)))
    assert list(model.parameters()) == ["0.weight", "0.bias", "2.0.weight"] and len(model) == 3
    assert model[1] is model[-2] and isinstance(model[1], ReLU)
    assert isinstance(model[1:], Sequential) and len(model[1:]) == 2 and model[:1][0] is model[0]
    assert [type(layer).__name__ for layer in model] == ["Linear", "ReLU", "Sequential"]


def test_no_layers_are_the_identity():
    x = RNG.normal(size=(2, 3))
    y, cache = Sequential().forward(x)
    assert np.array_equal(y, x) and np.array_equal(Sequential().backward(2 * x, cache), 2 * x)


@pytest.mark.parametrize("bad", [None, 3, [ReLU()], Linear])
def test_sequential_wants_layers(bad):
    with pytest.raises(TypeError, match=f"^Sequential: layer 1 must be a Layer, got {type(bad).__name__}$"):
        Sequential(ReLU(), bad)


def test_a_layer_used_twice_gets_both_gradients():
    shared, x, dy = linear(3, 3), RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
    y, cache = Sequential(shared, shared).forward(x)
    Sequential(shared, shared).backward(dy, cache)
    hidden = x @ shared.weight.value.T + shared.bias.value
    np.testing.assert_allclose(y, hidden @ shared.weight.value.T + shared.bias.value, rtol=1e-12)
    np.testing.assert_allclose(shared.weight.grad, dy.T @ hidden + (dy @ shared.weight.value).T @ x, rtol=1e-12)


def test_residual():
    body, shortcut, x, dy = linear(3, 4), linear(3, 4), RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))
    model = Residual(body, shortcut)
    y, cache = model.forward(x)
    np.testing.assert_allclose(y, body(x) + shortcut(x), rtol=1e-13)
    wanted = dy @ body.weight.value + dy @ shortcut.weight.value
    np.testing.assert_allclose(model.backward(dy, cache), wanted, rtol=1e-12)
    np.testing.assert_allclose(shortcut.weight.grad, dy.T @ x, rtol=1e-12)
    assert list(model.parameters()) == ["body.weight", "body.bias", "shortcut.weight", "shortcut.bias"]


def test_residual_with_the_identity():
    body, x = linear(3, 3), RNG.normal(size=(5, 3))
    y, cache = Residual(body).forward(x)
    np.testing.assert_allclose(y, body(x) + x, rtol=1e-13)
    np.testing.assert_allclose(Residual(body).backward(x, cache), x @ body.weight.value + x, rtol=1e-12)
    assert list(Residual(body).parameters()) == ["body.weight", "body.bias"]


def test_residual_of_different_shapes():
    with pytest.raises(ValueError, match=r"^Residual: body gives \(5, 4\) and shortcut \(5, 3\): they must agree"):
        Residual(Linear(3, 4)).forward(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"^Residual: body gives \(5, 3\) and shortcut \(5, 1\)"):  # would broadcast
        Residual(Linear(3, 3), Linear(3, 1)).forward(np.zeros((5, 3)))


def test_concat():
    model = Concat(Conv2d(2, 3, 1), ReLU(), Sequential(Conv2d(2, 1, 3, padding=1), ReLU())).astype(np.float64)
    x, dy = RNG.normal(size=(4, 2, 5, 6)), RNG.normal(size=(4, 6, 5, 6))
    y, cache = model.forward(x)
    assert y.shape == (4, 6, 5, 6)
    for part, branch in zip((slice(0, 3), slice(3, 5), slice(5, 6)), model.branches):
        np.testing.assert_allclose(y[:, part], branch(x), rtol=1e-13)
    wanted = sum(
        branch.backward(dy[:, part], branch.forward(x)[1])
        for part, branch in zip((slice(0, 3), slice(3, 5), slice(5, 6)), model.branches)
    )
    np.testing.assert_allclose(model.backward(dy, cache), wanted, rtol=1e-12)
    assert list(model.parameters()) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]


def test_concat_refuses():
    with pytest.raises(ValueError, match="^Concat: at least one branch is needed, got none$"):
        Concat()
    message = r"^Concat: branches must agree in all but the channels, got \[\(1, 3, 5, 6\), \(1, 3, 3, 4\)\]$"
    with pytest.raises(ValueError, match=message):
        Concat(Conv2d(2, 3, 1), Conv2d(2, 3, 3)).forward(np.zeros((1, 2, 5, 6)))
    for kernel in ((3, 1), (1, 3)):
        with pytest.raises(ValueError, match="^Concat: branches must agree in all but the channels"):
            Concat(Conv2d(2, 3, 1), Conv2d(2, 3, kernel)).forward(np.zeros((1, 2, 5, 6)))


@pytest.mark.parametrize("container", [Sequential, Concat, lambda *layers: Residual(Sequential(*layers))])
def test_training_is_handed_on(container):
    x = RNG.normal(size=(3, 2, 4, 5))
    for training in (True, False):
        norm, drop = BatchNorm2d(2), Dropout(0.5)
        state = drop.rng.bit_generator.state
        container(norm, drop).forward(x, training=training)
        assert bool(norm.num_batches_tracked) == training and (drop.rng.bit_generator.state != state) == training
    norm = BatchNorm2d(2)
    Residual(ReLU(), norm).forward(x, training=False)
    assert not norm.num_batches_tracked


class Counting(Linear):
    """Counts the gradients that it computes."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.inputs, self.weights = [], []

    def backward(self, dy, cache):
        self.inputs.append(1)
        return super().backward(dy, cache)

    def backward_parameters(self, dy, cache):
        self.weights.append(1)
        return super().backward_parameters(dy, cache)


def freeze(*layers):
    for layer in layers:
        for parameter in layer.parameters().values():
            parameter.trainable = False


@pytest.mark.parametrize(
    "frozen, inputs, weights",
    [
        ((), [0, 1, 1], [1, 1, 1]),  # the lowest one computes no input gradient
        ((0,), [0, 0, 1], [0, 1, 1]),
        ((0, 1), [0, 0, 0], [0, 0, 1]),
        ((0, 1, 2), [0, 0, 0], [0, 0, 0]),
        ((1,), [0, 1, 1], [1, 1, 1]),  # a frozen one with a trainable one below hands the gradient on
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_backward_ends_with_the_lowest_trainable_layer(frozen, inputs, weights, nested):
    layers = [Counting(3, 4), Counting(4, 5), Counting(5, 2)]
    a, b, c = layers
    model = Sequential(Sequential(a, ReLU(), b), Sequential(c)) if nested else Sequential(a, ReLU(), b, c)
    freeze(*(layers[i] for i in frozen))
    x, dy = RNG.normal(size=(6, 3)).astype(np.float32), RNG.normal(size=(6, 2)).astype(np.float32)
    cache = model.forward(x)[1]
    model.backward(dy, cache)
    wanted = [parameter.grad.copy() for parameter in model.parameters().values()]
    model.zero_grad()
    for layer in layers:
        layer.inputs.clear(), layer.weights.clear()
    assert model.backward_parameters(dy, cache) is None
    assert ([len(layer.inputs) for layer in layers], [len(layer.weights) for layer in layers]) == (inputs, weights)
    for parameter, grad in zip(model.parameters().values(), wanted):
        np.testing.assert_array_equal(parameter.grad, grad)
    assert all(parameter.grad.any() == parameter.trainable for parameter in model.parameters().values())


@pytest.mark.parametrize("make", [Residual, Concat])
def test_forks_compute_no_input_gradient_either(make):
    one, two = Counting(3, 3), Counting(3, 3)
    model = make(one, two)
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    y, cache = model.forward(x)
    model.backward(y, cache)
    wanted = [parameter.grad.copy() for parameter in model.parameters().values()]
    model.zero_grad()
    model.backward_parameters(y, cache)
    assert (len(one.inputs), len(two.inputs)) == (1, 1)  # of backward above
    for parameter, grad in zip(model.parameters().values(), wanted):
        np.testing.assert_array_equal(parameter.grad, grad)
    freeze(two)
    model.backward_parameters(y, cache)
    assert len(two.inputs) == 1


def test_a_convolution_at_the_bottom_computes_no_input_gradient(monkeypatch):
    monkeypatch.setattr(nn.config, "plain", True)
    layer, x = Conv2d(2, 3, 3), RNG.normal(size=(1, 2, 5, 4)).astype(np.float32)
    y, cache = layer.forward(x)
    monkeypatch.setattr(nn.layers.conv, "conv2d_input_gradient", None)
    layer.backward_parameters(y, cache)
    assert layer.weight.grad.any() and layer.bias.grad.any()
    with pytest.raises(TypeError):
        layer.backward(y, cache)
