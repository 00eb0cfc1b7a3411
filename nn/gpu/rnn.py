"""The simple recurrent network by the kernels of nn/gpu/rnn.cu. See nn.layers.rnn, and nn.gpu.padding for padding."""

from typing import Any, NamedTuple

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes  # noqa: F401  (for dispatch)
from nn.gpu.padding import affine, affine_backward, clear_padding, flat, in_order, previous


def _unit_forward(a, product, h, nonlinearity, state=None, lengths=None, t=0):
    """Fills h, and the state of a sequence, for a = W x + b and product = U h_prev."""
    sizes = h.size, h.shape[1], nonlinearity == "relu"
    launch("rnn", "rnn_forward", h.size, a.dtype, a, product, h, state, lengths, t, *sizes)


def _unit_backward(h, dy, product, dh, da, nonlinearity, lengths=None, t=0):
    """Fills da for h's gradient dh + product + dy (two may be None); dh becomes 0."""
    sizes = h.size, h.shape[1], nonlinearity == "relu"
    launch("rnn", "rnn_backward", h.size, h.dtype, h, dy, product, dh, da, lengths, t, *sizes)


def rnn_step(x, h_prev, w, nonlinearity):
    """((h,), what the backward needs) of one step."""
    a = affine(x, w.ih, w.bias_ih, w.bias_hh)
    _unit_forward(a, h_prev @ w.hh.value.T, a, nonlinearity)  # a is h now
    return (a,), (x, h_prev, a)


def rnn_step_backward(dh, w, cache, nonlinearity):
    """(dx, (dh_prev,)) for the gradient of h; adds to the gradients of w."""
    x, h_prev, h = cache
    da = dh.copy()
    _unit_backward(h, None, None, da, da, nonlinearity)
    w.hh.grad += da.T @ h_prev  # a = W x + U h_prev + b
    return affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh), (da @ w.hh.value,)


class SequenceCache(NamedTuple):
    """The input without its padding, the initial state, the output, lengths and order."""

    x: Any  # (T, N, D)
    h0: Any  # (N, H)
    y: Any  # (T, N, H)
    lengths: Any
    reverse: bool


def rnn_sequence(x, h0, w, lengths, reverse, nonlinearity):
    """(y, (h_n,), what the backward needs) of one layer and one direction."""
    x, steps, h = clear_padding(x, lengths), len(x), h0.copy()
    a = affine(flat(x), w.ih, w.bias_ih, w.bias_hh)  # for all steps at once
    a = a.reshape(steps, *h.shape)  # (T, N, H)
    y = array_module(a).empty(a.shape, a.dtype)
    for t in in_order(steps, reverse):
        _unit_forward(a[t], h @ w.hh.value.T, y[t], nonlinearity, h, lengths, t)
    return clear_padding(y, lengths), (h,), SequenceCache(x, h0, y, lengths, reverse)


def rnn_sequence_backward(dy, dh_n, w, cache, nonlinearity):
    """(dx, (dh0,)) for the gradients of y and h_n; adds to the gradients of w."""
    x, h0, y, lengths, reverse = cache
    xp, dy = array_module(x), array_module(x).ascontiguousarray(dy)  # the kernel reads none of its padding
    dh, da, product = dh_n.copy(), xp.empty(y.shape, y.dtype), None
    for t in reversed(in_order(len(x), reverse)):
        _unit_backward(y[t], dy[t], product, dh, da[t], nonlinearity, lengths, t)
        product = da[t] @ w.hh.value  # a = W x + U h_prev + b
    if product is not None:
        dh += product
    w.hh.grad += flat(da).T @ flat(previous(y, h0, reverse))
    return affine_backward(flat(da), flat(x), w.ih, w.bias_ih, w.bias_hh).reshape(x.shape), (dh,)
