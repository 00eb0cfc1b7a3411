"""Step 1. A neuron and its gradient, by hand.

Question: a neuron gives a wrong answer. Which way should each of its weights move, and how far?

A neuron has inputs x_1 ... x_D, as many weights w_1 ... w_D, and a bias b. It computes

    (1)  a    = w_1 x_1 + ... + w_D x_D + b       a weighted sum
    (2)  y    = 1 / (1 + exp(-a))                 the sigmoid: squeezed to between 0 and 1
    (3)  loss = (y - t)^2 / 2                     how far y is from the target t

The gradient of the loss is the list of its derivatives: dloss/dw_1, ..., dloss/dw_D, dloss/db. Each says how much the
loss grows if that one number grows a little. So we move every number a little AGAINST its derivative.

The chain rule gives the derivatives, from the last line to the first. We write da for dloss/da, and so on:

    from (3)  dy = y - t
    from (2)  da = dy * y (1 - y)                 the sigmoid's own derivative is y (1 - y)
    from (1)  dw_i = da * x_i,  db = da           w_i is multiplied by x_i; b is added as it is

Two things to remember for all later steps: we go BACKWARD through the lines, and each line needs a number that the
forward pass has computed (y, x). `forward` keeps them; `backward` uses them.
"""

import sys

import numpy as np


def forward(w, b, x, t):
    """The loss of one example, and what backward will need.    w, x (D,); b, t numbers."""
    a = w @ x + b  # (1)
    y = 1 / (1 + np.exp(-a))  # (2)
    loss = (y - t) ** 2 / 2  # (3)
    return loss, (x, t, y)


def backward(cache):
    """dw (D,) and db."""
    x, t, y = cache
    dy = y - t  # (3)
    da = dy * y * (1 - y)  # (2)
    return da * x, da  # (1)


def nudged(w, b, x, t, h=1e-6):
    """dw and db again, without any calculus: add h to one number, and see how much the loss changes."""
    loss, _ = forward(w, b, x, t)
    dw = np.array([(forward(w + h * unit, b, x, t)[0] - loss) / h for unit in np.eye(len(w))])
    return dw, (forward(w, b + h, x, t)[0] - loss) / h


def train(inputs, targets, steps, rate=2.0):
    """Gradient descent: the weights, the bias and the losses, one for each step.    inputs (N, D), targets (N,)."""
    w, b, losses = np.zeros(inputs.shape[1]), 0.0, []
    for _ in range(steps):
        loss, dw, db = 0.0, np.zeros_like(w), 0.0
        for x, t in zip(inputs, targets):
            one, cache = forward(w, b, x, t)
            one_dw, one_db = backward(cache)
            loss, dw, db = loss + one, dw + one_dw, db + one_db  # the gradient of a sum is the sum of the gradients
        w, b = w - rate * dw, b - rate * db  # against the gradient
        losses.append(loss)
    return w, b, losses


def main(out="tour_out"):
    w, b, x, t = np.array([0.5, -0.3]), 0.4, np.array([1.0, 2.0]), 1.0
    loss, cache = forward(w, b, x, t)
    (dw, db), (dw_nudged, db_nudged) = backward(cache), nudged(w, b, x, t)
    print(f"the neuron says {cache[2]:.4f}, the target is {t}: loss {loss:.4f}")
    print(f"by hand:  dw = {dw}, db = {db:.6f}")
    print(f"nudged:   dw = {dw_nudged}, db = {db_nudged:.6f}")
    assert np.allclose(dw, dw_nudged, atol=1e-6) and np.isclose(db, db_nudged, atol=1e-6)

    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    w, b, losses = train(inputs, targets=[0, 1, 1, 1], steps=500)
    print(f"\nlearning OR: the loss falls from {losses[0]:.3f} to {losses[-1]:.4f}; w = {w.round(2)}, b = {b:.2f}")
    for x in inputs:
        print(f"  {x[0]:.0f} or {x[1]:.0f} -> {forward(w, b, x, 0)[1][2]:.3f}")
    assert losses[-1] < 0.02


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_01_neuron.py)
# 1. Let the targets be those of XOR: [0, 1, 1, 0]. What does the neuron answer after 500 steps? Why can no choice of w
#    and b have all four answers on the right side of 0.5?
# 2. Start with b = 10 and all targets 0. The first gradient is tiny although the answer could not be more wrong. Which
#    of the lines (1) to (3) is to blame? (Step 4 has the cure.)
