"""Solutions to step 2."""

import numpy as np

from docs.tour.step_02_linear import Linear, Sequential, Sigmoid


class Tanh:
    def forward(self, x):
        y = np.tanh(x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        return dy * (1 - y**2)


def exercise_1():
    """Yes. tanh has a slope everywhere, while a ReLU that is 0 for all four inputs learns nothing."""
    rng = np.random.default_rng(0)
    inputs, targets = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float), np.array([[0], [1], [1], [0]], float)
    network = Sequential(Linear(2, 8, rng), Tanh(), Linear(8, 1, rng), Sigmoid())
    for _ in range(2000):
        answer, cache = network.forward(inputs)
        network.backward(answer - targets, cache)
        for layer in network.layers[::2]:
            layer.weight, layer.bias = layer.weight - 0.5 * layer.dweight, layer.bias - 0.5 * layer.dbias
            layer.dweight[...], layer.dbias[...] = 0, 0
    print("XOR with tanh:", answer.ravel().round(3))
    assert abs(answer - targets).max() < 0.1


def exercise_2():
    """dweight of a and b together is dy_a.T @ a + dy_b.T @ b: the sum over the rows of both, as in one batch."""
    rng = np.random.default_rng(1)
    a, b, dy_a, dy_b = (rng.standard_normal(shape) for shape in ((4, 3), (5, 3), (4, 2), (5, 2)))
    twice, once = Linear(3, 2, np.random.default_rng(2)), Linear(3, 2, np.random.default_rng(2))
    (_, cache_a), (_, cache_b) = twice.forward(a), twice.forward(b)  # two calls before any backward
    twice.backward(dy_b, cache_b)
    twice.backward(dy_a, cache_a)
    once.backward(np.concatenate([dy_a, dy_b]), once.forward(np.concatenate([a, b]))[1])
    print("largest difference of dweight:", abs(twice.dweight - once.dweight).max())
    assert np.allclose(twice.dweight, once.dweight) and np.allclose(twice.dbias, once.dbias)


if __name__ == "__main__":
    exercise_1()
    exercise_2()
