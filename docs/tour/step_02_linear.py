"""Step 2. The fully connected layer, and the contract of all layers.

Question: how do we write down thousands of neurons so that any stack of them can be differentiated?

O neurons that read the same I inputs are one matrix, a row of weights for each neuron. With N examples at once:

    y = x @ weight.T + bias       x (N, I), weight (O, I), bias (O,), y (N, O)
    y[n, o] = sum over i of x[n, i] weight[o, i] + bias[o]

This layer does not know the loss. It is told dy (N, O), the derivative of the loss by each output. For each of its own
numbers we ask: in which outputs is it, and with which factor? weight[o, i] is in y[n, o], times x[n, i], for every n:

    dweight[o, i] = sum over n of dy[n, o] x[n, i]          dweight = dy.T @ x
    dbias[o]      = sum over n of dy[n, o]                  dbias   = dy.sum(axis=0)
    dx[n, i]      = sum over o of dy[n, o] weight[o, i]     dx      = dy @ weight

The dx of this layer is the dy of the layer below. So every layer needs only two methods, and they keep to a contract:

    y, cache = layer.forward(x)         cache: all that backward needs. Nothing else is remembered.
    dx = layer.backward(dy, cache)      and the layer's own gradients are ADDED to what is there (+=)

The cache is not kept in the layer: so a layer may be used twice before any backward, with two caches. A weight that is
used twice is in the loss twice, and its gradients add up, as in step 1."""

import sys

import numpy as np

import nn
from docs.tour.step_01_neuron import backward, forward


class Linear:
    def __init__(self, in_features, out_features, rng):
        self.weight = rng.standard_normal((out_features, in_features))  # random: equal neurons would stay equal
        self.bias = np.zeros(out_features)
        self.dweight, self.dbias = np.zeros_like(self.weight), np.zeros_like(self.bias)

    def forward(self, x):
        return x @ self.weight.T + self.bias, x

    def backward(self, dy, cache):
        x = cache
        self.dweight += dy.T @ x
        self.dbias += dy.sum(axis=0)
        return dy @ self.weight


class Sigmoid:
    def forward(self, x):
        y = 1 / (1 + np.exp(-x))
        return y, y

    def backward(self, dy, cache):
        y = cache
        return dy * y * (1 - y)


class ReLU:
    def forward(self, x):
        return np.maximum(x, 0), x

    def backward(self, dy, cache):
        x = cache
        return dy * (x > 0)  # the slope is 1 where x is positive, else 0


class Sequential:
    """Layers one after another: forward in order, backward in the reverse order."""

    def __init__(self, *layers):
        self.layers = layers

    def forward(self, x):
        caches = []
        for layer in self.layers:
            x, cache = layer.forward(x)
            caches.append(cache)
        return x, caches

    def backward(self, dy, cache):
        for layer, its_cache in zip(reversed(self.layers), reversed(cache)):
            dy = layer.backward(dy, its_cache)
        return dy


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    ours, x, dy = Linear(3, 2, rng), rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    library = nn.Linear(3, 2).astype(np.float64)  # this project's; its weight, a Parameter, has a value and a grad
    library.weight.value[...] = ours.weight
    (y, cache), (y_library, cache_library) = ours.forward(x), library.forward(x)
    dx, dx_library = ours.backward(dy, cache), library.backward(dy, cache_library)
    pairs = (y, y_library), (dx, dx_library), (ours.dweight, library.weight.grad), (ours.dbias, library.bias.grad)
    assert all(np.allclose(mine, its) for mine, its in pairs)
    print(f"x {x.shape} -> y {y.shape};  dy {dy.shape} -> dx {dx.shape}: the same numbers as nn.Linear")

    neuron = Sequential(Linear(3, 1, rng), Sigmoid())  # the neuron of step 1, with target 1
    answer, cache = neuron.forward(x[:1])
    neuron.backward(answer - 1, cache)
    assert np.allclose(neuron.layers[0].dweight[0], backward(forward(neuron.layers[0].weight[0], 0, x[0], 1)[1])[0])

    inputs, targets = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float), np.array([[0], [1], [1], [0]], float)
    network = Sequential(Linear(2, 8, rng), ReLU(), Linear(8, 1, rng), Sigmoid())  # one neuron cannot do XOR: step 1
    for _ in range(2000):
        answer, cache = network.forward(inputs)
        network.backward(answer - targets, cache)  # the dy of step 1, line (3)
        for layer in network.layers[::2]:  # the two Linear
            layer.weight, layer.bias = layer.weight - 0.5 * layer.dweight, layer.bias - 0.5 * layer.dbias
            layer.dweight[...], layer.dbias[...] = 0, 0  # backward adds, so the next step begins at 0
    print("XOR, learned by two layers:", answer.ravel().round(3))
    assert abs(answer - targets).max() < 0.1


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_02_linear.py)
# 1. Write Tanh as a layer. (Its derivative is 1 - y^2.) Put it in the place of ReLU: is XOR learned?
# 2. Call one Linear on two inputs a and b, then backward for both. Show that dweight is that of a and b in one batch.
