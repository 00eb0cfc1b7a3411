"""The gated recurrent unit, with the reset gate before or after the matrix product."""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layers.activation import sigmoid
from nn.layers.recurrent import (
    RecurrentCache,
    _Cell,
    _Stack,
    over_time,
    over_time_backward,
)


def gru_step(x, h_prev, w, reset_after):
    """((h,), what the backward needs) of one step.    x (N, D), h (N, H); see GRUCell for the equations."""
    xp = array_module(x)
    a_r, a_z, a_n = xp.split(x @ w.ih.value.T + w.bias_ih.value, 3, axis=1)  # (N, H) each
    (u_r, u_z, u_n), (b_r, b_z, b_n) = xp.split(w.hh.value, 3), xp.split(w.bias_hh.value, 3)  # (H, H) and (H,) each
    r = sigmoid(a_r + h_prev @ u_r.T + b_r)
    z = sigmoid(a_z + h_prev @ u_z.T + b_z)
    m = h_prev @ u_n.T + b_n if reset_after else r * h_prev  # reset_after: r comes after the product with U_n
    n = xp.tanh(a_n + r * m if reset_after else a_n + m @ u_n.T + b_n)
    h = z * h_prev + (1 - z) * n
    return (h,), (x, h_prev, r, z, m, n)


def gru_step_backward(dh, w, cache, reset_after):
    """(dx, (dh_prev,)) for the gradient of h; adds to the gradients of w."""
    x, h_prev, r, z, m, n = cache
    xp, (u_r, u_z, u_n) = array_module(x), array_module(x).split(w.hh.value, 3)
    dz = dh * (h_prev - n)  # h = z * h_prev + (1 - z) * n
    dn = dh * (1 - z)
    da_n = dn * (1 - n**2)  # n = tanh(a_n)
    if reset_after:
        dr = da_n * m  # a_n = W_n x + b_n + r * m
        dm = da_n * r
        du_n = dm.T @ h_prev  # m = U_n h_prev + b_n
        dh_n = dm @ u_n
    else:
        dm = da_n @ u_n  # a_n = W_n x + b_n + U_n m + b_n
        du_n = da_n.T @ m
        dr = dm * h_prev  # m = r * h_prev
        dh_n = dm * r
    da_r = dr * r * (1 - r)  # r, z = sigmoid(W x + U h_prev + b)
    da_z = dz * z * (1 - z)
    da = xp.concatenate([da_r, da_z, da_n], axis=1)  # (N, 3 H)
    dh_prev = dh * z + dh_n + da_r @ u_r + da_z @ u_z  # terms 1 to 4: h, n, r and z all have h_prev
    du = xp.concatenate([da_r.T @ h_prev, da_z.T @ h_prev, du_n])  # (3 H, H)
    db = xp.concatenate([da_r, da_z, dm if reset_after else da_n], axis=1)  # (N, 3 H)
    w.ih.grad += da.T @ x
    w.hh.grad += du
    w.bias_ih.grad += da.sum(axis=0)
    w.bias_hh.grad += db.sum(axis=0)
    return da @ w.ih.value, (dh_prev,)


def gru_sequence(x, h0, w, lengths, reverse, reset_after):
    """(y, (h_n,), what the backward needs) of one layer and one direction: gru_step over time.

    x (T, N, D), y (T, N, H), states (N, H); lengths (N,) or None. reverse: from the last step to the first.
    """
    return over_time(gru_step, x, (h0,), w, lengths, reverse, reset_after)


def gru_sequence_backward(dy, dh_n, w, cache, reset_after):
    """(dx, (dh0,)) for the gradients of y and h_n; adds to the gradients of w."""
    return over_time_backward(gru_step_backward, dy, (dh_n,), w, cache, reset_after)


class GRUCell(_Cell):
    """One step of a GRU.    x (N, D), h_prev, h (N, H).

    r, z = sigmoid(W x + U h_prev + b), each with its rows of W, U and b
    n = tanh(W_n x + U_n (r * h_prev) + b_n)
    h = z * h_prev + (1 - z) * n

    W is weight_ih (3 H, D), U weight_hh (3 H, H), b the sum of bias_ih and bias_hh (3 H,), rows in the order r, z, n,
    all uniform in (-1 / sqrt(H), 1 / sqrt(H)) at the start. z is the part of the old state that is kept.

    reset_after=True is the other published variant, PyTorch's and cuDNN's (their weights fit as they are), with the
    reset gate after the matrix product: n = tanh(W_n x + b_ih_n + r * (U_n h_prev + b_hh_n)).

    h, cache = forward(x, h_prev); h_prev left out or None: zeros.    dx, dh_prev = backward(dh, cache); dh_prev is None
    where h_prev was not given. Raises ValueError for arrays of other shapes.

    Reference: Cho et al. 2014, arXiv:1406.1078, sec. 2.3, eq. 5 to 8; reset_after: its first version, of June 2014, and
    Appleyard et al. 2016, arXiv:1604.01946.
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = False,
        rng: "np.random.Generator | None" = None,
    ):
        super().__init__(input_size, hidden_size, bias, rng)
        self.reset_after = bool(reset_after)

    def forward(self, x, h=None, training=True):
        (h_prev,) = self._check_states(x, h)
        w = self._weights()
        ops = functions(__name__, x, w.ih.value, h_prev)
        (h_new,), kept = ops.gru_step(x, h_prev, w, self.reset_after)
        return h_new, (ops, kept, h_prev, h is not None)

    def backward(self, dy, cache):
        ops, kept, h_prev, h_given = cache
        (dh,) = self._check_gradients(dy, h_prev)
        dx, (dh_prev,) = ops.gru_step_backward(dh, self._weights(), kept, self.reset_after)
        return dx, dh_prev if h_given else None


class GRU(_Stack):
    """GRU layers over sequences, each step as GRUCell.    x (T, N, D), y (T, N, H), or (T, N, 2 H) if bidirectional.

    (y, h_n), cache = forward(x, h0, lengths)
    dx, dh0, None = backward((dy, dh_n), cache)

    reset_after: as GRUCell; True for PyTorch's weights. num_layers, dropout, bidirectional, the parameters' names,
    initial and final states, lengths, what may be None, and what is raised: as LSTM, but there is no cell state. Unlike
    PyTorch's, time always comes first.

    Reference: see GRUCell.
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        *,
        reset_after: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        rng: "np.random.Generator | None" = None,
    ):
        super().__init__(input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng)
        self.reset_after = bool(reset_after)

    def forward(self, x, h0=None, lengths=None, training=True):
        initial, lengths = self._check_inputs(x, (h0,), lengths)
        ops = functions(__name__, x, self.weight_ih_l0.value, *initial)
        y, layers = self._forward_stack(ops.gru_sequence, x, initial, lengths, training, self.reset_after)
        return y, RecurrentCache(ops, len(x), initial, [h0 is not None], layers)

    def backward(self, dy, cache):
        return self._backward_stack(cache.functions.gru_sequence_backward, dy, cache, self.reset_after)
