"""Solutions to step 14."""

import numpy as np

from docs.tour.step_14_attention import COLOURS, NAMES, questions
from nn import Layer, Linear, softmax, softmax_cross_entropy
from nn.gradcheck import check_layer


def exercise_1():
    """Line (4): dweights_l = dcontext . k_l. A key of the right colour moves the context towards the right answer.

    `answer` reads colours off the context, as it does after some training; the weights are still all equal. The weight
    that the loss wants to raise most, with the most negative derivative, belongs to a key of the right colour: always.
    Of these keys one was asked for, and over many lists only its name has anything in common with the query.
    """
    keys, _, colours, asked = questions(200, np.random.default_rng(0))
    answer = Linear(NAMES + COLOURS, COLOURS)
    answer.weight.value[...] = np.concatenate([np.zeros((COLOURS, NAMES)), 3 * np.eye(COLOURS)], axis=1)
    logits, cache = answer.forward(keys.mean(axis=1))  # the context of equal weights
    dcontext = answer.backward(softmax_cross_entropy(logits, colours)[1], cache)
    dweights = (dcontext[:, None] * keys).sum(axis=2)  # (N, L)
    chosen = dweights.argmin(axis=1)
    colour = keys[:, :, NAMES:].argmax(axis=2)
    right = (colour[range(200), chosen] == colours).mean()
    print(f"the weight to raise is of a key of the right colour in {right:.0%}, of the one asked for in", end=" ")
    print(f"{(chosen == asked).mean():.0%} (guessing: 17%)")
    assert right == 1 and (chosen == asked).mean() > 0.4


class DotProductAttention(Layer):
    """context = sum over l of weights_l k_l, weights = softmax of q . k_l / sqrt(K).    q (N, K), k (N, L, K)."""

    def forward(self, q, k, training=True):
        scale = k.shape[2] ** -0.5
        weights = softmax((k @ q[:, :, None])[:, :, 0] * scale, axis=1)
        return (weights[:, :, None] * k).sum(axis=1), (q, k, weights, scale)

    def backward(self, dcontext, cache):
        q, k, weights, scale = cache
        dweights = (dcontext[:, None] * k).sum(axis=2)
        de = weights * (dweights - (weights * dweights).sum(axis=1, keepdims=True)) * scale
        dq = (de[:, :, None] * k).sum(axis=1)
        dk = weights[:, :, None] * dcontext[:, None] + de[:, :, None] * q[:, None]  # as value, as key
        return dq, dk


def exercise_2():
    """The root of K: K products of numbers of size 1 add up to about sqrt(K). Large scores saturate the softmax."""
    rng = np.random.default_rng(0)
    errors = check_layer(DotProductAttention(), rng.standard_normal((2, 4)), rng.standard_normal((2, 5, 4)))
    print("dot-product attention, relative errors:", {name: f"{error:.0e}" for name, error in errors.items()})
    assert max(errors.values()) < 1e-7


if __name__ == "__main__":
    exercise_1()
    exercise_2()
