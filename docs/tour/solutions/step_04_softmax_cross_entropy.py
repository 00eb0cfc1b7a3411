"""Solutions to step 4."""

import numpy as np

from docs.tour.step_04_softmax_cross_entropy import ours


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def exercise_1():
    """p_1 = exp(z_1) / (exp(z_0) + exp(z_1)): divide both by exp(z_1), and it is 1 / (1 + exp(-(z_1 - z_0))).

    The gradient of b is y - t = 1 where the neuron is sure and wrong: 10 steps of rate 1 bring b from 10 near 0. With
    the squared error of step 1 the first gradient was 0.00005.
    """
    z = np.random.default_rng(0).standard_normal((4, 2))
    _, dz = ours(z, np.ones(4, int))
    assert np.allclose(4 * dz[:, 1], sigmoid(z[:, 1] - z[:, 0]) - 1)  # times 4, for the mean of 4 examples

    b, steps = 10.0, 0
    while sigmoid(b) > 0.5:  # target 0
        b -= 1.0 * (sigmoid(b) - 0)
        steps += 1
    print(f"the neuron has changed its mind after {steps} steps")
    assert steps < 15


def exercise_2():
    """They agree where p is far from 0. Where p_t underflows to 0, -log p_t is infinite and its slope -1/p_t, too.

    softmax backward: dz_c = p_c (dp_c - sum over k of p_k dp_k), since dp_k/dz_c = p_k ([c = k] - p_c).
    """

    def two_layers(z, label):
        e = np.exp(z - z.max())
        p = e / e.sum()
        dp = np.zeros_like(p)
        with np.errstate(divide="ignore"):
            loss, dp[label] = -np.log(p[label]), -1 / p[label]  # loss = -log p_t
        with np.errstate(invalid="ignore"):
            return loss, p * (dp - (p * dp).sum())

    for scores, agree in (([2.0, 1.0, -1.0], True), ([1000.0, 0.0, 0.0], False)):
        (one, dz), (two, dz_two) = ours(np.array([scores]), [1]), two_layers(np.array(scores), 1)
        print(f"scores {scores}: one function {one:.4g} {dz[0].round(4)}, two layers {two:.4g} {dz_two.round(4)}")
        assert np.allclose(dz[0], dz_two) == agree


if __name__ == "__main__":
    exercise_1()
    exercise_2()
