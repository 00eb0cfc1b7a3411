"""The simple recurrent network, by Elman."""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import numpy as np

from nn.cpu.chunks import add_product
from nn.cpu.packing import previous
from nn.cpu.parallel import matmul
from nn.dispatch import array_module
from nn.gpu import recurrent as recurrent_cuda
from nn.gpu.kernels import use_kernels
from nn.layers.recurrent import _Cell, _Recurrent, affine, affine_backward, by_rows, weights_of


def rnn_step(a, h, nonlinearity):
    """h = nonlinearity(a), both (N, H)."""
    xp = array_module(a)
    if nonlinearity == "tanh":
        by_rows(lambda rows: xp.tanh(a[rows], out=h[rows]), a)
    else:
        by_rows(lambda rows: xp.maximum(a[rows], 0, out=h[rows]), a)


def rnn_step_backward(h, dh, da, nonlinearity):
    """Fills da."""
    xp = array_module(h)
    if nonlinearity == "tanh":
        by_rows(lambda rows: xp.multiply(dh[rows], 1 - h[rows] * h[rows], out=da[rows]), h)  # h = tanh(a)
    else:
        by_rows(lambda rows: xp.multiply(dh[rows], h[rows] > 0, out=da[rows]), h)  # h = max(a, 0)


def rnn_scan(a, w, nonlinearity, state, steps, y):
    """All steps of W x + b = a (P, H): fills y (P, H), brings the state along."""
    (h,) = state
    for start, n in steps:
        now = slice(start, start + n)
        a[now] += matmul(h[:n], w.hh.value.T)
        rnn_step(a[now], y[now], nonlinearity)
        h[:n] = y[now]


def rnn_scan_backward(w, nonlinearity, y, dy, dstate, steps):
    """da (P, H) of all steps; brings dstate along. dy (P, H) or None."""
    (dh,) = dstate
    da = array_module(y).empty(y.shape, y.dtype)
    for start, n in reversed(steps):
        now = slice(start, start + n)
        if dy is not None:
            dh[:n] += dy[now]  # h goes to the output and to the next step
        rnn_step_backward(y[now], dh[:n], da[now], nonlinearity)
        dh[:n] = matmul(da[now], w.hh.value)  # a = W x + U h_prev + b
    return da


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
        (h_prev,), given = self._check_states(x, h)
        w = weights_of(self)
        a = affine(x, w.ih, w.bias_ih, w.bias_hh)
        product = matmul(h_prev, w.hh.value.T)
        if use_kernels(a):
            recurrent_cuda.rnn_step(a, product, a, self.nonlinearity)
        else:
            a += product
            rnn_step(a, a, self.nonlinearity)
        return a, (x, h_prev, a, given)

    def backward(self, dy, cache):
        x, h_prev, h, given = cache
        (da,) = self._check_gradients(dy, h)
        w = weights_of(self)
        if use_kernels(h):
            recurrent_cuda.rnn_step_backward(h, None, None, da, da, self.nonlinearity)
        else:
            rnn_step_backward(h, da, da, self.nonlinearity)
        affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh)
        w.hh.grad += matmul(da.T, h_prev)  # a = W x + U h_prev + b
        return matmul(da, w.ih.value), matmul(da, w.hh.value) if given[0] else None


class RNN(_Recurrent):
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
        return self._forward_stack(x, (h0,), lengths, training)

    def backward(self, dy, cache):
        return self._backward_stack(dy, cache)

    def _scan(self, x, w, state, steps, y):
        a = affine(x, w.ih, w.bias_ih, w.bias_hh)  # for all steps at once
        scan = recurrent_cuda.rnn_scan if use_kernels(a) else rnn_scan
        scan(a, w, self.nonlinearity, state, steps, y)

    def _scan_backward(self, dy, dstate, w, kept, x, y, first, steps):
        scan = recurrent_cuda.rnn_scan_backward if use_kernels(y) else rnn_scan_backward
        da = scan(w, self.nonlinearity, y, dy, dstate, steps)
        affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh)
        add_product(w.hh.grad, da.T, previous(y, first[0], steps))
        return matmul(da, w.ih.value)
