"""The LSTM by the kernels of nn/gpu/lstm.cu. See nn.layers.lstm for the equations, nn.gpu.padding for the padding."""

from typing import Any, NamedTuple

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes  # noqa: F401  (for dispatch)
from nn.gpu.padding import affine, affine_backward, clear_padding, flat, in_order, previous


def _gates_forward(a, product, c_prev, c, h, state=(None, None), lengths=None, t=0):
    """a, W x + b, and product, U h_prev, become the gates in a; fills c and h, and the state (h, c) of a sequence."""
    size, hidden = c.size, c.shape[1]
    launch("lstm", "lstm_forward", size, a.dtype, a, product, c_prev, c, h, *state[::-1], lengths, t, size, hidden)


def _gates_backward(a, c_prev, c, dy, product, dh, dc, da, lengths=None, t=0):
    """Fills da for h's gradient dh + product + dy (two may be None); dc becomes that of c_prev, dh 0."""
    size, hidden = c.size, c.shape[1]
    arrays = a, c_prev, c, dy, product, dh, dc, da
    launch("lstm", "lstm_backward", size, a.dtype, *arrays, lengths, t, size, hidden)


def lstm_step(x, h_prev, c_prev, w):
    """((h, c), what the backward needs) of one step."""
    xp, c_prev = array_module(x), array_module(x).ascontiguousarray(c_prev)
    a, h, c = affine(x, w.ih, w.bias_ih, w.bias_hh), xp.empty(c_prev.shape, x.dtype), xp.empty(c_prev.shape, x.dtype)
    _gates_forward(a, h_prev @ w.hh.value.T, c_prev, c, h)
    return (h, c), (x, h_prev, c_prev, a, c)


def lstm_step_backward(dh, dc, w, cache):
    """(dx, (dh_prev, dc_prev)) for the gradients of h and c; adds to the gradients of w."""
    x, h_prev, c_prev, a, c = cache
    dh, dc, da = dh.copy(), dc.copy(), array_module(a).empty(a.shape, a.dtype)
    _gates_backward(a, c_prev, c, None, None, dh, dc, da)  # dc is dc_prev now
    w.hh.grad += da.T @ h_prev  # a = W x + U h_prev + b
    return affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh), (da @ w.hh.value, dc)


class SequenceCache(NamedTuple):
    """The input without its padding, the initial states, the gates, the cell states, the output, lengths and order."""

    x: Any  # (T, N, D)
    h0: Any  # (N, H)
    c0: Any
    a: Any  # (T, N, 4 H)
    cells: Any  # (T, N, H)
    y: Any
    lengths: Any
    reverse: bool


def lstm_sequence(x, h0, c0, w, lengths, reverse):
    """(y, (h_n, c_n), what the backward needs) of one layer and one direction."""
    xp, x, (steps, n, _) = array_module(x), clear_padding(x, lengths), x.shape
    a = affine(flat(x), w.ih, w.bias_ih, w.bias_hh)  # for all steps at once
    a = a.reshape(steps, n, a.shape[1])  # (T, N, 4 H)
    h, c = h0.copy(), c0.copy()
    y, cells = xp.empty((steps, *h.shape), a.dtype), xp.empty((steps, *h.shape), a.dtype)
    for t in in_order(steps, reverse):
        _gates_forward(a[t], h @ w.hh.value.T, c, cells[t], y[t], (h, c), lengths, t)
    return clear_padding(y, lengths), (h, c), SequenceCache(x, h0, c0, a, cells, y, lengths, reverse)


def lstm_sequence_backward(dy, dh_n, dc_n, w, cache):
    """(dx, (dh0, dc0)) for the gradients of y, h_n and c_n; adds to the gradients of w."""
    x, h0, c0, a, cells, y, lengths, reverse = cache
    xp, dy = array_module(x), array_module(x).ascontiguousarray(dy)  # the kernel reads none of its padding
    dh, dc, da, product, c_prev = (
        dh_n.copy(),
        dc_n.copy(),
        xp.empty(a.shape, a.dtype),
        None,
        previous(cells, c0, reverse),
    )
    for t in reversed(in_order(len(x), reverse)):
        _gates_backward(a[t], c_prev[t], cells[t], dy[t], product, dh, dc, da[t], lengths, t)
        product = da[t] @ w.hh.value  # a = W x + U h_prev + b
    if product is not None:
        dh += product
    w.hh.grad += flat(da).T @ flat(previous(y, h0, reverse))
    return affine_backward(flat(da), flat(x), w.ih, w.bias_ih, w.bias_hh).reshape(x.shape), (dh, dc)
