"""The GRU's steps in place and shared among threads, the inputs of all steps in one product. See nn.layers.gru."""

from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import add_product
from nn.cpu.chunks import real as takes  # noqa: F401  (for dispatch)
from nn.cpu.gates import FixedFactor, affine, affine_backward, by_rows, sigmoid_
from nn.cpu.packing import Packing
from nn.cpu.parallel import matmul


def _split(a):
    """r, z, n: views (N, H) of a (N, 3 * H)."""
    h = a.shape[1] // 3
    return a[:, :h], a[:, h : 2 * h], a[:, 2 * h :]


def _gates(a, h_prev, m):
    """The first two of a (N, 3 * H) become r and z in place; fills m = r * h_prev (N, H)."""
    sigmoid_(a[:, : 2 * m.shape[1]])
    np.multiply(_split(a)[0], h_prev, out=m)


def _gates_backward(a, h_prev, dm, dh, da):
    """dm, that of m = r * h_prev: adds to dh, that of h_prev; fills da_r."""
    (r, _, _), (da_r, _, _) = _split(a), _split(da)
    np.multiply(dm, h_prev, out=da_r)
    da_r *= r * (1 - r)  # r = sigmoid(a_r)
    dh += dm * r


def _new_state(a, h_prev, h):
    """The last of a becomes n in place; fills h."""
    _, z, n = _split(a)
    np.tanh(n, out=n)
    h[...] = n + z * (h_prev - n)  # z * h_prev + (1 - z) * n


def _new_state_backward(a, h_prev, dh, da):
    """Fills da_z and da_n; dh becomes its part for h_prev, in place."""
    (_, z, n), (_, da_z, da_n) = _split(a), _split(da)
    da_n[...] = dh * (1 - z) * (1 - n * n)  # h = z * h_prev + (1 - z) * n, n = tanh(.)
    da_z[...] = dh * (h_prev - n) * z * (1 - z)  # z = sigmoid(a_z)
    dh *= z


def _reset_after_gates(a, product, h_prev, m, h):
    """All of a become r, z, n in place, product (N, 3 * H) being U h_prev + b_hh; fills m, the last of it, and h."""
    size = h.shape[1]
    m[...] = product[:, 2 * size :]
    a[:, : 2 * size] += product[:, : 2 * size]
    sigmoid_(a[:, : 2 * size])
    a[:, 2 * size :] += a[:, :size] * m  # n = tanh(a_n + r * m)
    _new_state(a, h_prev, h)


def _reset_after_gates_backward(a, h_prev, m, dh, da, dn):
    """Fills da, that of product, and dn (N, H), that of a_n; dh becomes its part for h_prev, in place."""
    _new_state_backward(a, h_prev, dh, da)
    (r, _, _), (da_r, _, da_n) = _split(a), _split(da)
    dn[...] = da_n
    da_r[...] = da_n * m  # n = tanh(a_n + r * m)
    da_r *= r * (1 - r)  # r = sigmoid(a_r)
    da_n *= r


def _state_factors(w, reset_after, transposed):
    """U (3 H, H), or its transpose, as a list: all rows, or without reset_after those of r and z, and those of n."""
    u = w.hh.value
    parts = [u] if reset_after else [u[: 2 * u.shape[1]], u[2 * u.shape[1] :]]
    return [FixedFactor(part.T if transposed else part) for part in parts]


def _step(a, h_prev, w, u, h, m):
    """a (N, 3 * H), with W x + b, become r, z, n in place; fills h (N, H). m: None, or to be filled."""
    size = h.shape[1]
    if m is not None:
        product = np.tile(w.bias_hh.value, (len(h), 1))
        u[0].add(h_prev, product)
        by_rows(_reset_after_gates, a, product, h_prev, m, h)
        return
    u[0].add(h_prev, a[:, : 2 * size])
    by_rows(_gates, a, h_prev, h)  # h is room for m until it is known
    u[1].add(h, a[:, 2 * size :])
    by_rows(_new_state, a, h_prev, h)


def _step_backward(a, h_prev, u, m, dh, da, dn):
    """dh becomes that of h_prev, in place; fills da (N, 3 * H), and with reset_after dn (N, H)."""
    size = dh.shape[1]
    if m is not None:
        by_rows(_reset_after_gates_backward, a, h_prev, m, dh, da, dn)
        u[0].add(da, dh)
        return
    by_rows(_new_state_backward, a, h_prev, dh, da)
    dm = np.zeros(dh.shape, dh.dtype)
    u[1].add(da[:, 2 * size :], dm)  # a_n = W_n x + U_n m + b_n
    by_rows(_gates_backward, a, h_prev, dm, dh, da)
    u[0].add(da[:, : 2 * size], dh)  # a_r, a_z = W x + U h_prev + b


def _input_product(x, w, reset_after):
    """(a (P, 3 H) = W x + b; m (P, H) to be filled with reset_after, else None). With reset_after U h has its own b."""
    a = affine(x, w.ih, w.bias_ih, *(() if reset_after else (w.bias_hh,)))
    return a, np.empty((len(a), a.shape[1] // 3), a.dtype) if reset_after else None


def _weights_backward(a, h_prev, w, x, da, dn):
    """dx for da and dn (None without reset_after) of step_backward; adds to the gradients of w."""
    size = h_prev.shape[1]
    if dn is None:
        w.hh.grad[: 2 * size] += matmul(da[:, : 2 * size].T, h_prev)  # a_r, a_z = W x + U h_prev + b
        w.hh.grad[2 * size :] += matmul(da[:, 2 * size :].T, a[:, :size] * h_prev)  # a_n = W_n x + U_n (r * h_prev) + b
        return affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh)
    add_product(w.hh.grad, da.T, h_prev)
    w.bias_hh.grad += da.sum(axis=0)
    da[:, 2 * size :] = dn
    return affine_backward(da, x, w.ih, w.bias_ih)


def gru_step(x, h_prev, w, reset_after):
    """((h,), what the backward needs) of one step."""
    a, m = _input_product(x, w, reset_after)
    h = np.empty(h_prev.shape, a.dtype)
    _step(a, h_prev, w, _state_factors(w, reset_after, transposed=True), h, m)
    return (h,), (x, h_prev, a, m)


def gru_step_backward(dh, w, cache, reset_after):
    """(dx, (dh_prev,)) for the gradient of h; adds to the gradients of w."""
    x, h_prev, a, m = cache
    dh, da, dn = dh.copy(), np.empty(a.shape, a.dtype), np.empty(h_prev.shape, a.dtype) if reset_after else None
    _step_backward(a, h_prev, _state_factors(w, reset_after, transposed=False), m, dh, da, dn)
    return _weights_backward(a, h_prev, w, x, da, dn), (dh,)  # dh is that of h_prev now


class SequenceCache(NamedTuple):
    """The packing, and packed: the input, the initial states, the gates, m of reset_after or None, the output."""

    packing: Packing
    x: np.ndarray
    h0: np.ndarray
    a: np.ndarray
    m: np.ndarray | None
    y: np.ndarray


def gru_sequence(x, h0, w, lengths, reverse, reset_after):
    """(y, (h_n,), what the backward needs) of one layer and one direction."""
    packing = Packing(x.shape, lengths, reverse)
    x, h0 = packing.pack(x, h0)
    a, m = _input_product(x, w, reset_after)  # for all steps at once
    h, y, u = h0.copy(), np.empty((len(x), h0.shape[1]), a.dtype), _state_factors(w, reset_after, transposed=True)
    for now, n in packing.steps:
        _step(a[now], h[:n], w, u, y[now], m[now] if reset_after else None)
        h[:n] = y[now]
    return *packing.unpack(y, h), SequenceCache(packing, x, h0, a, m, y)


def gru_sequence_backward(dy, dh_n, w, cache, reset_after):
    """(dx, (dh0,)) for the gradients of y and h_n; adds to the gradients of w."""
    packing, x, h0, a, m, y = cache
    (dy, dh), h_prev = packing.pack(dy, dh_n), packing.previous(y, h0)
    da, dn = np.empty(a.shape, a.dtype), np.empty(y.shape, a.dtype) if reset_after else None
    u = _state_factors(w, reset_after, transposed=False)
    for now, n in reversed(packing.steps):
        dh[:n] += dy[now]  # h goes to the output and to the next step
        m_now, dn_now = (m[now], dn[now]) if reset_after else (None, None)
        _step_backward(a[now], h_prev[now], u, m_now, dh[:n], da[now], dn_now)
    return packing.unpack(_weights_backward(a, h_prev, w, x, da, dn), dh)
