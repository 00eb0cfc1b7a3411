"""The memory of an agent: an LSTM over the steps of a rollout, which starts from nothing where an episode does."""

import numpy as np

from nn import LSTMCell
from nn.dispatch import array_module
from nn.layer import Layer, check_shape


class Memory(Layer):
    """h_t, c_t = cell(x_t, keep_t h_{t-1}, keep_t c_{t-1}), keep_t = 0 where an episode begins, else 1.

    (y, state), cache = forward(x (T, N, D), state (N, 2 H), first (T, N)): y (T, N, H), state after the last step.
    dx = backward(dy, cache): no gradient reaches the state of an earlier rollout (truncated backpropagation through
    time). Raises ValueError for arrays of other shapes.
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: np.random.Generator):
        self.cell, self.hidden_size = LSTMCell(input_size, hidden_size, rng=rng), hidden_size

    def forward(self, x, state, first, training=True):
        steps, n, size = x.shape[0], x.shape[1], self.hidden_size
        check_shape(self, x=(x, ("T", "N", self.cell.input_size)), state=(state, (n, 2 * size)))
        if first.shape != (steps, n):
            raise ValueError(f"Memory: first must have shape {(steps, n)}, got {first.shape}")
        h, c, y, caches = state[:, :size], state[:, size:], [], []
        keep = 1 - first[..., None].astype(x.dtype)  # (T, N, 1)
        for t in range(steps):
            (h, c), cache = self.cell.forward(x[t], keep[t] * h, keep[t] * c, training=training)
            y.append(h)
            caches.append(cache)
        xp = array_module(x)
        return (xp.stack(y), xp.concatenate([h, c], axis=1)), (keep, caches)

    def backward(self, dy, cache):
        keep, caches = cache
        dx, dh, dc = [None] * len(caches), 0, 0
        for t in reversed(range(len(caches))):
            dc = dc if t < len(caches) - 1 else None
            dx[t], dh, dc = self.cell.backward((dy[t] + dh, dc), caches[t])  # h goes to the output and to the next step
            dh, dc = keep[t] * dh, keep[t] * dc
        return array_module(dy).stack(dx)
