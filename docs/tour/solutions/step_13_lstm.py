"""Solutions to step 13."""

import numpy as np

from docs.tour.step_13_lstm import step, step_backward
from nn import GRUCell, sigmoid


def exercise_1():
    """With f = 1, dc_prev = dc f = dc at every step. (f is sigmoid(1000) here, which is 1 exactly.)

    U = 0 leaves h without a way back, and dh = 0 at the last step: c has no other use than the next step.
    """
    rng = np.random.default_rng(0)
    w, u, b = rng.standard_normal((16, 3)), np.zeros((16, 4)), rng.standard_normal(16)
    w[4:8], b[4:8] = 0, 1000  # the rows of the forget gate
    h = c = np.zeros((2, 4))
    caches = []
    for _ in range(40):
        h, c, cache = step(rng.standard_normal((2, 3)), h, c, w, u, b)
        caches.append(cache)
    last = dc = rng.standard_normal((2, 4))
    dh = np.zeros((2, 4))
    for cache in reversed(caches):
        _, dh, dc, *_ = step_backward(dh, dc, w, u, cache)
    print("dc at the first of 40 steps is that at the last:", np.array_equal(dc, last))
    assert np.array_equal(dc, last)


def exercise_2():
    """z: along h_prev the gradient is multiplied by z, beside what goes through z, r and h~ themselves."""
    final = {}
    for bias in (0.0, 4.0):
        cell = GRUCell(3, 32, rng=np.random.default_rng(0)).astype(np.float64)
        cell.bias_ih.value[32:64] = bias  # rows r, z, h~: those of z
        rng, h, caches = np.random.default_rng(1), np.zeros((1, 32)), []
        for _ in range(60):
            h, cache = cell.forward(1e-3 * rng.standard_normal((1, 3)), h)
            caches.append(cache)
        dh = rng.standard_normal((1, 32))
        for cache in reversed(caches):
            _, dh = cell.backward(dh, cache)
        final[bias] = np.linalg.norm(dh)
        print(f"bias of z {bias}, z = {sigmoid(np.array(bias)):.2f}: norm at the first of 60 steps {final[bias]:.1e}")
    assert final[4.0] > 1e3 * final[0.0]


if __name__ == "__main__":
    exercise_1()
    exercise_2()
