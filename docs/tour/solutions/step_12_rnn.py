"""Solutions to step 12."""

import numpy as np

from docs.tour.step_12_rnn import backward, forward
from nn import RNN


def exercise_1():
    """No, but near: what is missing is the blame that would have crossed from a chunk into the one before."""
    rng = np.random.default_rng(0)
    rnn, x, dy = RNN(3, 4).astype(np.float64), rng.standard_normal((15, 2, 3)), rng.standard_normal((15, 2, 4))
    w, u, b = rnn.weight_ih_l0.value, rnn.weight_hh_l0.value, rnn.bias_ih_l0.value + rnn.bias_hh_l0.value
    _, dw, *_ = backward(dy, forward(x, w, u, b)[1])
    h = None
    for start in range(0, 15, 5):
        (_, h), cache = rnn.forward(x[start : start + 5], h)  # the state is handed on ...
        rnn.backward((dy[start : start + 5], None), cache)  # ... None: no gradient comes back for it
    difference = np.linalg.norm(rnn.weight_ih_l0.grad - dw) / np.linalg.norm(dw)
    print(f"dW differs by {difference:.1%}")
    assert 0.001 < difference < 0.5


def exercise_2():
    """By the norm: not at all. Number by number: large ones are cut, small ones stay, so it turns, here by 44 degrees.

    It is still downhill, as no sign has changed, but no longer the steepest way down.
    """
    rng = np.random.default_rng(0)
    rnn, x, dy = RNN(3, 4).astype(np.float64), rng.standard_normal((15, 2, 3)), rng.standard_normal((15, 2, 4))
    _, cache = rnn.forward(x)
    rnn.backward((dy, None), cache)
    gradient = np.concatenate([parameter.grad.ravel() for parameter in rnn.parameters().values()])
    for name, clipped in (
        ("norm", gradient / max(np.linalg.norm(gradient), 1)),
        ("each number", np.clip(gradient, -0.1, 0.1)),
    ):
        cosine = gradient @ clipped / np.linalg.norm(gradient) / np.linalg.norm(clipped)
        angle = np.degrees(np.arccos(min(cosine, 1)))
        print(f"clipped by {name}: the direction turns by {angle:.1f} degrees")
        assert (angle < 1e-3) == (name == "norm")


if __name__ == "__main__":
    exercise_1()
    exercise_2()
