"""The LSTM's steps in place and shared among threads, the inputs of all steps in one product. See nn.layers.lstm."""

from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import add_product
from nn.cpu.chunks import real as takes  # noqa: F401  (for dispatch)
from nn.cpu.gates import FixedFactor, affine, affine_backward, by_rows, sigmoid_
from nn.cpu.packing import Packing
from nn.cpu.parallel import matmul


def _gates_forward(a, c_prev, c, h):
    """a (N, 4 * H), gates before their non-linearity, become the gates i, f, o, g in place; fills c and h (N, H)."""
    i, f, o, g = a.reshape(len(a), 4, -1).swapaxes(0, 1)  # views: (N, 4 H) as (4, N, H)
    sigmoid_(a[:, : 3 * i.shape[1]])  # i, f, o
    np.tanh(g, out=g)
    np.multiply(f, c_prev, out=c)
    c += i * g  # c = f * c_prev + i * g
    np.tanh(c, out=h)
    h *= o  # h = o * tanh(c)


def _gates_backward(a, c_prev, c, dh, dc, da):
    """a holds the gates. dc, that of c through later steps, becomes that of c_prev, in place; fills da (N, 4 * H)."""
    (i, f, o, g), (di, df, do, dg) = (b.reshape(len(a), 4, -1).swapaxes(0, 1) for b in (a, da))  # (4, N, H)
    tanh_c = np.tanh(c)
    np.multiply(dh, tanh_c, out=do)  # h = o * tanh(c)
    dc += dh * o * (1 - tanh_c * tanh_c)
    np.multiply(dc, g, out=di)  # c = f * c_prev + i * g
    np.multiply(dc, c_prev, out=df)
    np.multiply(dc, i, out=dg)
    dc *= f
    s = a[:, : 3 * i.shape[1]]
    da[:, : 3 * i.shape[1]] *= s * (1 - s)  # s = sigmoid(a) for i, f, o
    dg *= 1 - g * g  # g = tanh(a)


def lstm_step(x, h_prev, c_prev, w):
    """((h, c), what the backward needs) of one step."""
    a = affine(x, w.ih, w.bias_ih, w.bias_hh)
    a += matmul(h_prev, w.hh.value.T)
    h, c = np.empty(h_prev.shape, a.dtype), np.empty(h_prev.shape, a.dtype)
    by_rows(_gates_forward, a, c_prev, c, h)
    return (h, c), (x, h_prev, c_prev, a, c)


def lstm_step_backward(dh, dc, w, cache):
    """(dx, (dh_prev, dc_prev)) for the gradients of h and c; adds to the gradients of w."""
    x, h_prev, c_prev, a, c = cache
    dc, da = dc.copy(), np.empty(a.shape, a.dtype)
    by_rows(_gates_backward, a, c_prev, c, dh, dc, da)  # dc is dc_prev now
    w.hh.grad += matmul(da.T, h_prev)  # a = W x + U h_prev + b
    return affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh), (matmul(da, w.hh.value), dc)


class SequenceCache(NamedTuple):
    """The packing, and packed: the input, the initial states, the gates, the cell states, the output."""

    packing: Packing
    x: np.ndarray
    h0: np.ndarray
    c0: np.ndarray
    a: np.ndarray
    cells: np.ndarray
    y: np.ndarray


def lstm_sequence(x, h0, c0, w, lengths, reverse):
    """(y, (h_n, c_n), what the backward needs) of one layer and one direction."""
    packing = Packing(x.shape, lengths, reverse)
    x, h0, c0 = packing.pack(x, h0, c0)
    a = affine(x, w.ih, w.bias_ih, w.bias_hh)  # (P, 4 H), for all steps at once
    h, c = h0.copy(), c0.copy()
    y, cells = np.empty((len(x), h.shape[1]), a.dtype), np.empty((len(x), h.shape[1]), a.dtype)
    u = FixedFactor(w.hh.value.T)
    for now, n in packing.steps:
        u.add(h[:n], a[now])
        by_rows(_gates_forward, a[now], c[:n], cells[now], y[now])
        h[:n], c[:n] = y[now], cells[now]
    return *packing.unpack(y, h, c), SequenceCache(packing, x, h0, c0, a, cells, y)


def lstm_sequence_backward(dy, dh_n, dc_n, w, cache):
    """(dx, (dh0, dc0)) for the gradients of y, h_n and c_n; adds to the gradients of w."""
    packing, x, h0, c0, a, cells, y = cache
    dy, dh, dc = packing.pack(dy, dh_n, dc_n)
    c_prev, da, u = packing.previous(cells, c0), np.empty(a.shape, a.dtype), FixedFactor(w.hh.value)
    for now, n in reversed(packing.steps):
        dh[:n] += dy[now]  # h goes to the output and to the next step
        by_rows(_gates_backward, a[now], c_prev[now], cells[now], dh[:n], dc[:n], da[now])
        dh[:n] = 0
        u.add(da[now], dh[:n])  # a = W x + U h_prev + b
    add_product(w.hh.grad, da.T, packing.previous(y, h0))
    return packing.unpack(affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh), dh, dc)
