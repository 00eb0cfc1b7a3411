"""Step 10. The training loop: stochastic gradient descent, momentum, schedules.

Question: the gradient says in which direction. How far, with how many examples, and when do we stop?

The loop is the same for every network, from here to step 20:

    for step in range(steps):
        batch = a few examples, drawn at random
        zero the gradients, forward, loss, backward
        value -= rate * gradient                        for every parameter

A FEW examples: the mean gradient of 30 examples points nearly where that of all points, for a fraction of the work. The
difference is noise. That is stochastic gradient descent, SGD.

The rate. Take a valley, loss = (a u^2 + b v^2) / 2, whose gradient is (a u, b v). A step makes u (1 - rate a) of u, and
v (1 - rate b) of v. It shrinks both as long as rate < 2/a and rate < 2/b. So the STEEP direction limits the rate, and
the flat one, with the small a, then takes 1/(rate a) steps.

Momentum. Keep a running sum of the gradients, and go along that:

    velocity = momentum * velocity + gradient           momentum 0.9: it forgets slowly
    value   -= rate * velocity

Along the flat direction the gradients agree and add up, to 1 / (1 - momentum) = 10 times one of them. Across the steep
one they alternate and cancel.

Schedules. With a constant rate the noise of the batches keeps the weights moving about the minimum, at a distance that
grows with the rate. So: a large rate first, to get there; a small one at the end, to settle.

    step decay    rate x 0.1 at chosen steps
    cosine        rate x (1 + cos(pi step / steps)) / 2: from 1 to 0
"""

import sys

import numpy as np

from docs.tour import drawing
from docs.tour.step_04_softmax_cross_entropy import spirals
from nn import SGD, Linear, Parameter, ReLU, Sequential, constant, cosine, softmax_cross_entropy, step_decay


def descend(gradient, start, steps, rate, momentum=0.0):
    """The points that SGD visits from `start`: (steps + 1, D)."""
    value, velocity, visited = np.array(start, float), 0.0, [start]
    for _ in range(steps):
        velocity = momentum * velocity + gradient(value)
        value = value - rate * velocity
        visited.append(value)
    return np.array(visited)


def train(schedule, x, labels, steps, batch_size=30, rate=0.2):
    """The loss on ALL examples after every 20th step."""
    rng = np.random.default_rng(0)
    network = Sequential(Linear(2, 32, rng=rng), ReLU(), Linear(32, 32, rng=rng), ReLU(), Linear(32, 3, rng=rng))
    optimiser, losses = SGD(network.parameters(), lr=rate, momentum=0.9), []
    for step in range(steps):
        batch = rng.choice(len(x), batch_size, replace=False)
        optimiser.zero_grad()
        logits, cache = network.forward(x[batch])
        _, dlogits = softmax_cross_entropy(logits, labels[batch])
        network.backward(dlogits, cache)
        optimiser.step(rate=schedule(step))
        if step % 20 == 19:
            losses.append(softmax_cross_entropy(network(x), labels)[0])
    return losses


def main(out="tour_out"):
    steepness, start = np.array([1.0, 100.0]), np.array([10.0, 1.0])

    def gradient(point):  # of the valley: a = 1, b = 100
        return steepness * point

    runs = {"rate 0.0202 > 2/100": (0.0202, 0), "rate 0.019": (0.019, 0), "rate 0.01, momentum 0.9": (0.01, 0.9)}
    figure, (valley, curves) = drawing.new(1, 2, width=6)
    across, down = np.meshgrid(np.linspace(-6, 11, 80), np.linspace(-3, 3, 80))
    valley.contour(across, down, across**2 / 2 + 50 * down**2, levels=[1, 5, 15, 40, 80], colors="lightgray")
    for name, (rate, momentum) in runs.items():
        visited = descend(gradient, start, 100, rate, momentum)
        valley.plot(*visited.T, marker=".", label=name)
        print(f"{name:24} after 100 steps at {visited[-1].round(3)}")
    valley.set(title="a valley, 100 times as steep across", xlabel="u", ylabel="v", ylim=(-3, 3))

    parameter, visited = Parameter(start.copy()), descend(gradient, start, 10, 0.01, 0.9)
    optimiser = SGD({"point": parameter}, lr=0.01, momentum=0.9)
    for _ in range(10):
        parameter.grad[...] = gradient(parameter.value)
        optimiser.step()
    assert np.allclose(parameter.value, visited[-1])  # the same as nn.SGD

    steps = 600
    schedules = {"constant": constant(), "step decay": step_decay([300, 450]), "cosine": cosine(steps)}
    assert np.isclose(schedules["cosine"](200), (1 + np.cos(np.pi * 200 / steps)) / 2)
    assert schedules["step decay"](299) == 1 and np.isclose(schedules["step decay"](300), 0.1)
    x, arm = spirals(60, np.random.default_rng(1))
    x = x + 0.06 * np.random.default_rng(2).standard_normal(x.shape)  # blurred, so that no network gets a loss of 0
    print("\nthe same network, batches of 30; loss on all examples, mean of the last 100 steps:")
    final = {}
    for name, schedule in schedules.items():
        losses = train(schedule, x, arm, steps)
        final[name] = np.mean(losses[-5:])
        print(f"{name:12} {final[name]:.3f}")
        curves.semilogy(range(20, steps + 1, 20), losses, label=name)
    curves.set(xlabel="step", ylabel="loss on all examples")
    drawing.save(figure, out, "step_10.png")
    assert max(final["step decay"], final["cosine"]) < final["constant"]


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_10_training_loop.py)
# 1. In the valley, find by trial the largest rate that still converges with momentum 0.9. (Theory: 2 (1 + 0.9) / 100.)
# 2. Adam divides each gradient by a running root mean square of it. Write it from the docstring of nn.Adam, and compare
#    the two. What becomes of the valley's two directions?
