"""The simple recurrent network, by Elman."""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import numpy as np

from nn.dispatch import array_module, functions
from nn.layers.recurrent import RecurrentCache, _Cell, _Stack, over_time, over_time_backward


def rnn_step(x, h_prev, w, nonlinearity):
    """((h,), what the backward needs) of one step.    x (N, D), h (N, H); nonlinearity "tanh" or "relu"."""
    xp = array_module(x)
    a = x @ w.ih.value.T + (w.bias_ih.value + w.bias_hh.value) + h_prev @ w.hh.value.T
    h = xp.tanh(a) if nonlinearity == "tanh" else xp.where(a.real <= 0, 0, a)
    return (h,), (x, h_prev, h)


def rnn_step_backward(dh, w, cache, nonlinearity):
    """(dx, (dh_prev,)) for the gradient of h; adds to the gradients of w."""
    x, h_prev, h = cache
    da = dh * (1 - h**2) if nonlinearity == "tanh" else dh * (h.real > 0)  # h = tanh(a) or max(a, 0)
    w.ih.grad += da.T @ x  # a = x @ W.T + (b + b) + h_prev @ U.T
    w.hh.grad += da.T @ h_prev
    w.bias_ih.grad += da.sum(axis=0)
    w.bias_hh.grad += da.sum(axis=0)
    return da @ w.ih.value, (da @ w.hh.value,)


def rnn_sequence(x, h0, w, lengths, reverse, nonlinearity):
    """(y, (h_n,), what the backward needs) of one layer and one direction: rnn_step over time.

    x (T, N, D), y (T, N, H), states (N, H); lengths (N,) or None. reverse: from the last step to the first.
    """
    return over_time(rnn_step, x, (h0,), w, lengths, reverse, nonlinearity)


def rnn_sequence_backward(dy, dh_n, w, cache, nonlinearity):
    """(dx, (dh0,)) for the gradients of y and h_n; adds to the gradients of w."""
    return over_time_backward(rnn_step_backward, dy, (dh_n,), w, cache, nonlinearity)


def _check_nonlinearity(owner, nonlinearity):
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{type(owner).__name__}: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")


class RNNCell(_Cell):
    """h = tanh(W x + U h_prev + b).    x (N, D), h_prev, h (N, H).

    nonlinearity "relu" instead of "tanh": max(., 0). W is weight_ih (H, D), U weight_hh (H, H), b the sum of bias_ih
    and bias_hh (H,), all uniform in (-1 / sqrt(H), 1 / sqrt(H)) at the start.

    h, cache = forward(x, h_prev); h_prev left out or None: zeros.    dx, dh_prev = backward(dh, cache); dh_prev is None
    where h_prev was not given. Raises ValueError for arrays of other shapes.

    Reference: Elman 1990, Finding structure in time; with ReLU: Le et al. 2015, arXiv:1504.00941.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        rng: np.random.Generator | None = None,
    ):
        _check_nonlinearity(self, nonlinearity)
        super().__init__(input_size, hidden_size, bias, rng)
        self.nonlinearity = nonlinearity

    def forward(self, x, h=None, training=True):
        (h_prev,) = self._check_states(x, h)
        w = self._weights()
        ops = functions(__name__, x, w.ih.value, h_prev)
        (h_new,), kept = ops.rnn_step(x, h_prev, w, self.nonlinearity)
        return h_new, (ops, kept, h_prev, h is not None)

    def backward(self, dy, cache):
        ops, kept, h_prev, h_given = cache
        (dh,) = self._check_gradients(dy, h_prev)
        dx, (dh_prev,) = ops.rnn_step_backward(dh, self._weights(), kept, self.nonlinearity)
        return dx, dh_prev if h_given else None


class RNN(_Stack):
    """Recurrent layers over sequences, each step as RNNCell.    x (T, N, D), y (T, N, H), (T, N, 2 H) if bidirectional.

    (y, h_n), cache = forward(x, h0, lengths)
    dx, dh0, None = backward((dy, dh_n), cache)

    num_layers, dropout, bidirectional, the parameters' names, initial and final states, lengths, what may be None, and
    what is raised: as LSTM, but there is no cell state. Unlike PyTorch's, time always comes first.

    Reference: see RNNCell.
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
        rng: np.random.Generator | None = None,
    ):
        _check_nonlinearity(self, nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng)
        self.nonlinearity = nonlinearity

    def forward(self, x, h0=None, lengths=None, training=True):
        initial, lengths = self._check_inputs(x, (h0,), lengths)
        ops = functions(__name__, x, self.weight_ih_l0.value, *initial)
        y, layers = self._forward_stack(ops.rnn_sequence, x, initial, lengths, training, self.nonlinearity)
        return y, RecurrentCache(ops, len(x), initial, [h0 is not None], layers)

    def backward(self, dy, cache):
        return self._backward_stack(cache.functions.rnn_sequence_backward, dy, cache, self.nonlinearity)
