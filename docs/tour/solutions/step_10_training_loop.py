"""Solutions to step 10."""

import numpy as np

from docs.tour.step_10_training_loop import descend
from nn import Adam, Parameter


def gradient(point):
    """That of the valley."""
    return np.array([1.0, 100.0]) * point


def exercise_1():
    """0.038, by trial as by theory: momentum allows nearly twice the rate of plain SGD, 0.02.

    The theory: v_(t+1) = (1 + m - rate b) v_t - m v_(t-1). It shrinks while the roots of z^2 - (1 + m - rate b) z + m
    are inside the unit circle; the first leaves it at z = -1, where rate b = 2 (1 + m).
    """
    rates = np.arange(0.030, 0.045, 0.0005)
    largest = max(rate for rate in rates if abs(descend(gradient, [10.0, 1.0], 400, rate, 0.9)[-1]).max() < 1e-2)
    print(f"largest rate that converges: {largest:.4f}; theory {2 * 1.9 / 100}")
    assert abs(largest - 2 * 1.9 / 100) < 0.001


def adam(gradient, start, steps, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    """The points that Adam visits from start: (steps + 1, D)."""
    value, m, v, visited = np.array(start, float), 0.0, 0.0, [start]
    for t in range(1, steps + 1):
        g = gradient(value)
        m = beta1 * m + (1 - beta1) * g  # a running mean of the gradient
        v = beta2 * v + (1 - beta2) * g * g  # and of its square
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)  # both began at 0: corrected
        value = value - rate * m_hat / (np.sqrt(v_hat) + eps)
        visited.append(value)
    return np.array(visited)


def exercise_2():
    """They become alike: a direction that is 100 times as steep has a root mean square 100 times as large.

    The first step is `rate` long in each direction, whatever the slope. So one rate fits all parameters.
    """
    visited = adam(gradient, [10.0, 1.0], 50, 0.1)
    parameter = Parameter(np.array([10.0, 1.0]))
    optimiser = Adam({"point": parameter}, lr=0.1)
    for _ in range(50):
        parameter.grad[...] = gradient(parameter.value)
        optimiser.step()
    print("first step of Adam:", (visited[1] - visited[0]).round(4), "  of SGD:", -0.01 * gradient(visited[0]))
    assert np.allclose(parameter.value, visited[-1]) and np.allclose(visited[1] - visited[0], -0.1)


if __name__ == "__main__":
    exercise_1()
    exercise_2()
