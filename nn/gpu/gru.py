"""The GRU by the kernels of nn/gpu/gru.cu. See nn.layers.gru for the equations, nn.gpu.padding for the padding."""

from typing import Any, NamedTuple

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes  # noqa: F401  (for dispatch)
from nn.gpu.padding import affine, affine_backward, clear_padding, flat, in_order, previous


def _step(a, h_prev, w, h, m, state=None, lengths=None, t=0):
    """a (N, 3 * H), with W x + b, become r, z, n in place; fills h and the state of a sequence, which may be h_prev.

    m: None, or to be filled with U_n h_prev + b_n: reset_after.
    """
    size, hidden = h.size, h.shape[1]
    if m is not None:
        arrays = a, h_prev @ w.hh.value.T, w.bias_hh.value, h_prev, m, h, state
        launch("gru", "gru_reset_after_forward", size, a.dtype, *arrays, lengths, t, size, hidden)
        return
    u_gates, u_new = w.hh.value[: 2 * hidden], w.hh.value[2 * hidden :]
    reset = array_module(a).empty(h.shape, a.dtype)
    launch("gru", "gru_gates", size, a.dtype, a, h_prev @ u_gates.T, h_prev, reset, lengths, t, size, hidden)
    launch("gru", "gru_new_state", size, a.dtype, a, reset @ u_new.T, h_prev, h, state, size, hidden)


def _step_backward(a, h_prev, w, m, dy, product, dh, da, dn):
    """The product with U that dh, that of h_prev then, still lacks, for h's gradient dh + product + dy.

    Fills da and dn (N, H): with reset_after those of U h_prev + b (N, 3 * H) and of W_n x + b, else those of a_r and
    a_z (N, 2 * H), and of a_n.
    """
    size, hidden = dh.size, dh.shape[1]
    if m is not None:
        arrays = a, h_prev, m, dy, product, dh, da, dn
        launch("gru", "gru_reset_after_backward", size, a.dtype, *arrays, size, hidden)
        return da @ w.hh.value
    u_gates, u_new = w.hh.value[: 2 * hidden], w.hh.value[2 * hidden :]
    launch("gru", "gru_new_state_backward", size, a.dtype, a, h_prev, dy, product, dh, da, dn, size, hidden)
    dreset = dn @ u_new  # a_n = W_n x + U_n (r * h_prev) + b_n
    launch("gru", "gru_reset_backward", size, a.dtype, a, h_prev, dreset, dh, da, size, hidden)
    return da @ u_gates  # a_r, a_z = W x + U h_prev + b


def _input_product(x, w, reset_after):
    """(a (P, 3 H) = W x + b; m (P, H) to be filled with reset_after, else None). With reset_after U h has its own b."""
    a = affine(x, w.ih, w.bias_ih, *(() if reset_after else (w.bias_hh,)))
    return a, array_module(a).empty((len(a), a.shape[1] // 3), a.dtype) if reset_after else None


def _weights_backward(a, h_prev, w, x, da, dn, reset_after):
    """dx for da and dn of _step_backward, all with rows; adds to the gradients of w."""
    xp, size = array_module(a), h_prev.shape[1]
    if not reset_after:
        w.hh.grad[: 2 * size] += da.T @ h_prev  # a_r, a_z = W x + U h_prev + b
        w.hh.grad[2 * size :] += dn.T @ (a[:, :size] * h_prev)  # a_n = W_n x + U_n (r * h_prev) + b_n
        return affine_backward(xp.concatenate([da, dn], axis=1), x, w.ih, w.bias_ih, w.bias_hh)
    w.hh.grad += da.T @ h_prev
    w.bias_hh.grad += da.sum(axis=0)
    da[:, 2 * size :] = dn
    return affine_backward(da, x, w.ih, w.bias_ih)


def gru_step(x, h_prev, w, reset_after):
    """((h,), what the backward needs) of one step."""
    xp, h_prev = array_module(x), array_module(x).ascontiguousarray(h_prev)
    (a, m), h = _input_product(x, w, reset_after), xp.empty(h_prev.shape, x.dtype)
    _step(a, h_prev, w, h, m)
    return (h,), (x, h_prev, a, m)


def gru_step_backward(dh, w, cache, reset_after):
    """(dx, (dh_prev,)) for the gradient of h; adds to the gradients of w."""
    x, h_prev, a, m = cache
    xp, (n, size) = array_module(x), h_prev.shape
    dh, da, dn = dh.copy(), xp.empty((n, (3 if reset_after else 2) * size), a.dtype), xp.empty((n, size), a.dtype)
    dh += _step_backward(a, h_prev, w, m, None, None, dh, da, dn)
    return _weights_backward(a, h_prev, w, x, da, dn, reset_after), (dh,)


class SequenceCache(NamedTuple):
    """The input without its padding, the initial state, r, z and n, m or None, the output, lengths and order."""

    x: Any  # (T, N, D)
    h0: Any  # (N, H)
    a: Any  # (T * N, 3 H)
    m: Any  # (T * N, H), or None
    y: Any  # (T, N, H)
    lengths: Any
    reverse: bool


def gru_sequence(x, h0, w, lengths, reverse, reset_after):
    """(y, (h_n,), what the backward needs) of one layer and one direction."""
    x, (steps, n, _), h = clear_padding(x, lengths), x.shape, h0.copy()
    a, m = _input_product(flat(x), w, reset_after)  # for all steps at once
    y = array_module(a).empty((steps, *h.shape), a.dtype)
    for t in in_order(steps, reverse):
        now = slice(t * n, (t + 1) * n)
        _step(a[now], h, w, y[t], m[now] if reset_after else None, h, lengths, t)
    return clear_padding(y, lengths), (h,), SequenceCache(x, h0, a, m, y, lengths, reverse)


def gru_sequence_backward(dy, dh_n, w, cache, reset_after):
    """(dx, (dh0,)) for the gradients of y and h_n; adds to the gradients of w."""
    x, h0, a, m, y, lengths, reverse = cache
    (steps, n, size), xp, dy = y.shape, array_module(x), clear_padding(dy, lengths)
    dh, h_prev, product = dh_n.copy(), flat(previous(y, h0, reverse)), None
    da, dn = xp.empty((len(a), (3 if reset_after else 2) * size), a.dtype), xp.empty((len(a), size), a.dtype)
    for t in reversed(in_order(steps, reverse)):
        now = slice(t * n, (t + 1) * n)
        m_now = m[now] if reset_after else None
        product = _step_backward(a[now], h_prev[now], w, m_now, dy[t], product, dh, da[now], dn[now])
    if product is not None:
        dh += product
    return _weights_backward(a, h_prev, w, flat(x), da, dn, reset_after).reshape(x.shape), (dh,)
