"""The gated recurrent unit, with the reset gate before or after the matrix product."""

from typing import NamedTuple

import numpy as np

from nn.cpu.packing import previous
from nn.cpu.parallel import matmul
from nn.dispatch import array_module
from nn.gpu import recurrent as recurrent_cuda
from nn.gpu.kernels import use_kernels
from nn.layers.recurrent import _Cell, _Recurrent, affine, affine_backward, by_rows, sigmoid_, weights_of


def split(a):
    """r, z, n: views (N, H) of a (N, 3 * H)."""
    h = a.shape[1] // 3
    return a[:, :h], a[:, h : 2 * h], a[:, 2 * h :]


def gru_step(a, h_prev, w, h):
    """a (N, 3 * H), with W x + b, become r, z and n in place; fills h = z * h_prev + (1 - z) * n."""
    xp, size = array_module(a), h.shape[1]
    u_gates, u_new = w.hh.value[: 2 * size], w.hh.value[2 * size :]
    a[:, : 2 * size] += matmul(h_prev, u_gates.T)
    reset = h  # room for r * h_prev, until h is known

    def gates(rows):
        sigmoid_(a[rows, : 2 * size])
        xp.multiply(a[rows, :size], h_prev[rows], out=reset[rows])

    by_rows(gates, a)
    a[:, 2 * size :] += matmul(reset, u_new.T)
    by_rows(lambda rows: _new_state(a[rows], h_prev[rows], h[rows]), a)


def gru_step_backward(a, h_prev, w, dh, da):
    """a holds r, z, n. dh becomes that of h_prev, in place; fills da (N, 3 * H)."""
    xp, size = array_module(a), dh.shape[1]
    u_gates, u_new = w.hh.value[: 2 * size], w.hh.value[2 * size :]
    by_rows(lambda rows: _new_state_backward(a[rows], h_prev[rows], dh[rows], da[rows]), a)
    dreset = matmul(da[:, 2 * size :], u_new)  # a_n = W_n x + U_n (r * h_prev) + b_n

    def gates(rows):
        (r, _, _), (da_r, _, _) = split(a[rows]), split(da[rows])
        xp.multiply(dreset[rows], h_prev[rows], out=da_r)
        da_r *= r * (1 - r)  # r = sigmoid(a_r)
        dh[rows] += dreset[rows] * r

    by_rows(gates, a)
    dh += matmul(da[:, : 2 * size], u_gates)  # a_r, a_z = W x + U h_prev + b


def gru_step_reset_after(a, h_prev, w, h, hidden):
    """As gru_step, but n = tanh(a_n + r * hidden); fills hidden = U_n h_prev + b_hn too."""
    product, size = affine(h_prev, w.hh, w.bias_hh), h.shape[1]

    def step(rows):
        hidden[rows] = product[rows, 2 * size :]
        a[rows, : 2 * size] += product[rows, : 2 * size]
        sigmoid_(a[rows, : 2 * size])
        a[rows, 2 * size :] += a[rows, :size] * hidden[rows]
        _new_state(a[rows], h_prev[rows], h[rows])

    by_rows(step, a)


def gru_step_reset_after_backward(a, h_prev, w, hidden, dh, da, dn):
    """As gru_step_backward, but da is that of U h_prev + b_hh; fills dn (N, H), for n that of W x + b_ih."""

    def step(rows):
        _new_state_backward(a[rows], h_prev[rows], dh[rows], da[rows])
        (r, _, _), (da_r, _, da_n) = split(a[rows]), split(da[rows])
        dn[rows] = da_n
        da_r[...] = da_n * hidden[rows]  # n = tanh(a_n + r * hidden)
        da_r *= r * (1 - r)  # r = sigmoid(a_r)
        da_n *= r

    by_rows(step, a)
    dh += matmul(da, w.hh.value)


def _new_state(a, h_prev, h):
    _, z, n = split(a)
    array_module(a).tanh(n, out=n)
    h[...] = n + z * (h_prev - n)  # z * h_prev + (1 - z) * n


def _new_state_backward(a, h_prev, dh, da):
    """Fills da_z and da_n; dh becomes its part for h_prev."""
    (_, z, n), (_, da_z, da_n) = split(a), split(da)
    da_n[...] = dh * (1 - z) * (1 - n * n)  # h = z * h_prev + (1 - z) * n, n = tanh(.)
    da_z[...] = dh * (h_prev - n) * z * (1 - z)  # z = sigmoid(a_z)
    dh *= z


def gru_any_step(a, h_prev, w, h, hidden):
    """gru_step_reset_after, or gru_step where hidden is None."""
    step, also = (gru_step, ()) if hidden is None else (gru_step_reset_after, (hidden,))
    step(a, h_prev, w, h, *also)


def gru_scan(a, w, hidden, state, steps, y):
    """All steps of a (P, 3 * H): fills y and hidden (P, H), brings the state along."""
    (h,) = state
    for start, n in steps:
        now = slice(start, start + n)
        gru_any_step(a[now], h[:n], w, y[now], None if hidden is None else hidden[now])
        h[:n] = y[now]


def gru_scan_backward(a, w, hidden, h_prev, dy, dstate, steps):
    """(da (P, 3 * H), dn (P, H) or None) of all steps; brings dstate along. dy (P, H) or None."""
    (dh,), da = dstate, array_module(a).empty(a.shape, a.dtype)
    dn = None if hidden is None else array_module(a).empty(hidden.shape, a.dtype)
    for start, n in reversed(steps):
        now = slice(start, start + n)
        if dy is not None:
            dh[:n] += dy[now]  # h goes to the output and to the next step
        if hidden is None:
            gru_step_backward(a[now], h_prev[now], w, dh[:n], da[now])
        else:
            gru_step_reset_after_backward(a[now], h_prev[now], w, hidden[now], dh[:n], da[now], dn[now])
    return da, dn


def weight_gradients(a, h_prev, w, x, da, dn=None):
    """Adds to the gradients of all parameters, given da of gru_step, or da and dn of gru_step_reset_after; gives dx."""
    size = h_prev.shape[1]
    if dn is None:
        affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh)
        w.hh.grad[: 2 * size] += matmul(da[:, : 2 * size].T, h_prev)  # a_r, a_z = W x + U h_prev + b
        w.hh.grad[2 * size :] += matmul(da[:, 2 * size :].T, a[:, :size] * h_prev)  # a_n = W_n x + U_n (r * h_prev) + b
    else:
        affine_backward(da, h_prev, w.hh, w.bias_hh)
        da[:, 2 * size :] = dn
        affine_backward(da, x, w.ih, w.bias_ih)
    return matmul(da, w.ih.value)


class GRUCellCache(NamedTuple):
    """The inputs, r, z and n, U_n h_prev + b_hn if reset_after, and whether h_prev was given."""

    x: np.ndarray
    h_prev: np.ndarray
    a: np.ndarray
    hidden: np.ndarray | None
    given: bool


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
        (h_prev,), given = self._check_states(x, h)
        w, xp = weights_of(self), array_module(x)
        a = affine(x, w.ih, w.bias_ih, None if self.reset_after else w.bias_hh)
        h_new = xp.empty(h_prev.shape, a.dtype)
        hidden = xp.empty(h_prev.shape, a.dtype) if self.reset_after else None
        step = recurrent_cuda.gru_any_step if use_kernels(a) else gru_any_step
        step(a, h_prev, w, h_new, hidden)
        return h_new, GRUCellCache(x, h_prev, a, hidden, given[0])

    def backward(self, dy, cache):
        x, h_prev, a, hidden, given = cache
        (dh,) = self._check_gradients(dy, a[:, : self.hidden_size])  # a copy, which becomes that of h_prev
        w = weights_of(self)
        scan, rows = (recurrent_cuda.gru_scan_backward, None) if use_kernels(a) else (gru_scan_backward, len(a))
        da, dn = scan(a, w, hidden, h_prev, None, [dh], [(0, rows)])
        return weight_gradients(a, h_prev, w, x, da, dn), dh if given else None


class GRU(_Recurrent):
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
        return self._forward_stack(x, (h0,), lengths, training)

    def backward(self, dy, cache):
        return self._backward_stack(dy, cache)

    def _scan(self, x, w, state, steps, y):
        a = affine(x, w.ih, w.bias_ih, None if self.reset_after else w.bias_hh)  # for all steps at once
        hidden = array_module(y).empty(y.shape, y.dtype) if self.reset_after else None
        scan = recurrent_cuda.gru_scan if use_kernels(a) else gru_scan
        scan(a, w, hidden, state, steps, y)
        return a, hidden

    def _scan_backward(self, dy, dstate, w, kept, x, y, first, steps):
        (a, hidden), h_prev = kept, previous(y, first[0], steps)
        scan = recurrent_cuda.gru_scan_backward if use_kernels(a) else gru_scan_backward
        da, dn = scan(a, w, hidden, h_prev, dy, dstate, steps)
        return weight_gradients(a, h_prev, w, x, da, dn)
