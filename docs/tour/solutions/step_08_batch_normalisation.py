"""Solutions to step 8."""

import numpy as np

from nn import BatchNorm1d, Linear, Sequential


def exercise_1():
    """The bias moves all values of a channel alike, and the normalisation subtracts their mean: y does not change.

    Its gradient is the sum of dx over the batch, which is 0. So networks with batch normalisation leave it out.
    """
    rng = np.random.default_rng(0)
    network, x = Sequential(Linear(4, 3), BatchNorm1d(3)).astype(np.float64), rng.standard_normal((6, 4))
    y, cache = network.forward(x)
    network.backward(rng.standard_normal(y.shape), cache)
    bias = network[0].bias
    bias.value += 5
    print("largest gradient of the bias:", abs(bias.grad).max(), "  of the weights:", abs(network[0].weight.grad).max())
    assert np.allclose(network.forward(x)[0], y) and abs(bias.grad).max() < 1e-12


def exercise_2():
    """Only term 0: y_i = weight (x_i - mean) inv_std + bias with constants, so dx = weight inv_std dy."""
    rng = np.random.default_rng(0)
    norm, x, dy = BatchNorm1d(3).astype(np.float64), rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
    norm.weight.value[...] = rng.standard_normal(3)
    for _ in range(3):
        norm.forward(rng.standard_normal((20, 3)))  # collects running statistics
    _, cache = norm.forward(x, training=False)
    dx = norm.weight.value / np.sqrt(norm.running_var + norm.eps) * dy
    print("largest difference of dx:", abs(norm.backward(dy, cache) - dx).max())
    assert np.allclose(norm.backward(dy, cache), dx)


if __name__ == "__main__":
    exercise_1()
    exercise_2()
