"""Solutions to step 1."""

import numpy as np

from docs.tour.step_01_neuron import backward, forward, train


def exercise_1():
    """XOR: the neuron answers 0.5 to everything.

    y is above 0.5 where a = w_1 x_1 + w_2 x_2 + b is above 0. XOR wants b < 0, w_1 + b > 0 and w_2 + b > 0, so
    w_1 + w_2 + 2 b > 0. With b < 0 that gives w_1 + w_2 + b > 0: the answer to (1, 1) is wrong. In a picture: no
    straight line has (0, 1) and (1, 0) on one side, (0, 0) and (1, 1) on the other.
    """
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    w, b, losses = train(inputs, [0, 1, 1, 0], steps=500)
    answers = [forward(w, b, x, 0)[1][2] for x in inputs]
    print("XOR:", np.round(answers, 3), f"loss {losses[-1]:.3f}")
    assert np.allclose(answers, 0.5, atol=0.01)


def exercise_2():
    """Line (2): where a is large, y is nearly 1, so its slope y (1 - y) is nearly 0. By line (3) alone dy = 1."""
    _, cache = forward(np.zeros(2), 10.0, np.ones(2), 0.0)
    _, db = backward(cache)
    print(f"y = {cache[2]:.5f} with target 0, and db = {db:.6f}")
    assert cache[2] > 0.99 and db < 1e-4


if __name__ == "__main__":
    exercise_1()
    exercise_2()
