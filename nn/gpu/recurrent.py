"""LSTM, GRU and RNN on a GPU: for each step a matrix product and a kernel (a GRU without reset_after: two of each).

The kernels of nn/gpu/lstm.cu, nn/gpu/gru.cu and nn/gpu/rnn.cu do what the functions of the same names in nn/layers
do; a step's product with U is added in the kernel of the step that reads it.

The steps are nn.cpu.packing.Padded's, (t, lengths): a sequence that has no step t keeps its state in it. Rows of
padding take part in the products, with gradients of 0.
"""

from nn.dispatch import array_module
from nn.gpu.kernels import launch


def in_steps(steps, n, *arrays):
    """For each step: t, lengths, and of each array (T * N, ...) the rows of the step; None for None."""
    for t, lengths in steps:
        yield t, lengths, *(None if array is None else array[t * n : (t + 1) * n] for array in arrays)


def empty_rows(like, width=None):
    """Rows for a kernel to fill: contiguous, which y of one direction out of two is not."""
    return array_module(like).empty((len(like), width or like.shape[1]), like.dtype)


def rows_for_kernel(dy, like):
    """dy, if any, as a kernel wants it."""
    return None if dy is None else array_module(like).ascontiguousarray(dy, like.dtype)


def lstm_step(a, product, c_prev, c, h, state=(None, None), lengths=None, t=0):
    """lstm_step; product = U h_prev is still to be added to a. The state (h, c) of a scan is brought along."""
    c_prev = rows_for_kernel(c_prev, a)
    size, hidden = c.size, c.shape[1]
    launch("lstm", "lstm_forward", size, a.dtype, a, product, c_prev, c, h, *state[::-1], lengths, t, size, hidden)


def lstm_step_backward(a, c_prev, c, dy, product, dh, dc, da, lengths=None, t=0):
    """lstm_step_backward, for h's gradient dh + product + dy, of which two may be None."""
    c_prev, size, hidden = rows_for_kernel(c_prev, a), c.size, c.shape[1]
    arrays = a, c_prev, c, dy, product, dh, dc, da
    launch("lstm", "lstm_backward", size, a.dtype, *arrays, lengths, t, size, hidden)


def lstm_scan(a, w, state, steps, y):
    """All steps: fills y, brings the state along; gives the cell states (T * N, H)."""
    (h, c), cells, out = state, empty_rows(y), empty_rows(y)
    for t, lengths, a_now, c_now, h_now in in_steps(steps, len(h), a, cells, out):
        lstm_step(a_now, h @ w.hh.value.T, c, c_now, h_now, state, lengths, t)
    y[...] = out
    return cells


def lstm_scan_backward(a, w, c_prev, cells, dy, dstate, steps):
    """da of all steps; brings dstate along."""
    (dh, dc), da, product = dstate, empty_rows(a), None
    arrays = a, c_prev, cells, rows_for_kernel(dy, a), da
    for t, lengths, a_now, before, c_now, dy_now, da_now in in_steps(steps[::-1], len(dh), *arrays):
        lstm_step_backward(a_now, before, c_now, dy_now, product, dh, dc, da_now, lengths, t)
        product = da_now @ w.hh.value  # a = W x + U h_prev + b
    if product is not None:
        dh += product
    return da


def gru_step(a, h_prev, w, h, state=None, lengths=None, t=0):
    """gru_step; the state of a scan, h_prev itself, is brought along."""
    size, hidden, h_prev = h.size, h.shape[1], rows_for_kernel(h_prev, a)
    u_gates, u_new = w.hh.value[: 2 * hidden], w.hh.value[2 * hidden :]
    reset = empty_rows(h)
    launch("gru", "gru_gates", size, a.dtype, a, h_prev @ u_gates.T, h_prev, reset, lengths, t, size, hidden)
    launch("gru", "gru_new_state", size, a.dtype, a, reset @ u_new.T, h_prev, h, state, size, hidden)


def gru_step_backward(a, h_prev, w, dy, product, dh, dgates, dn):
    """gru_step_backward for h's gradient dh + product + dy: fills dgates (N, 2 * H) and dn; gives the next product."""
    size, hidden, h_prev = dh.size, dh.shape[1], rows_for_kernel(h_prev, a)
    u_gates, u_new = w.hh.value[: 2 * hidden], w.hh.value[2 * hidden :]
    arrays = a, h_prev, dy, product, dh, dgates, dn
    launch("gru", "gru_new_state_backward", size, a.dtype, *arrays, size, hidden)
    dreset = dn @ u_new  # a_n = W_n x + U_n (r * h_prev) + b_n
    launch("gru", "gru_reset_backward", size, a.dtype, a, h_prev, dreset, dh, dgates, size, hidden)
    return dgates @ u_gates  # a_r, a_z = W x + U h_prev + b


def gru_step_reset_after(a, h_prev, w, h, u, state=None, lengths=None, t=0):
    """gru_step_reset_after; the state of a scan, h_prev itself, is brought along."""
    size, hidden, h_prev = h.size, h.shape[1], rows_for_kernel(h_prev, a)
    bias = None if w.bias_hh is None else w.bias_hh.value
    arrays = a, h_prev @ w.hh.value.T, bias, h_prev, u, h, state
    launch("gru", "gru_reset_after_forward", size, a.dtype, *arrays, lengths, t, size, hidden)


def gru_step_reset_after_backward(a, h_prev, w, u, dy, product, dh, da, dn):
    """gru_step_reset_after_backward for h's gradient dh + product + dy; gives the next product."""
    size, hidden, h_prev = dh.size, dh.shape[1], rows_for_kernel(h_prev, a)
    arrays = a, h_prev, u, dy, product, dh, da, dn
    launch("gru", "gru_reset_after_backward", size, a.dtype, *arrays, size, hidden)
    return da @ w.hh.value


def gru_any_step(a, h_prev, w, h, hidden, state=None, lengths=None, t=0):
    """gru_step_reset_after, or gru_step where hidden is None."""
    if hidden is None:
        gru_step(a, h_prev, w, h, state, lengths, t)
    else:
        gru_step_reset_after(a, h_prev, w, h, hidden, state, lengths, t)


def gru_scan(a, w, hidden, state, steps, y):
    """All steps: fills y and hidden, brings the state along."""
    (h,), out = state, empty_rows(y)
    for t, lengths, a_now, h_now, hidden_now in in_steps(steps, len(h), a, out, hidden):
        gru_any_step(a_now, h, w, h_now, hidden_now, h, lengths, t)
    y[...] = out


def gru_scan_backward(a, w, hidden, h_prev, dy, dstate, steps):
    """(da, dn) of all steps; brings dstate along. dn is None without reset_after."""
    (dh,), product, dn = dstate, None, empty_rows(a, dstate[0].shape[1])
    da = empty_rows(a) if hidden is not None else empty_rows(a, 2 * dh.shape[1])  # of r and z alone
    arrays = a, h_prev, hidden, rows_for_kernel(dy, a), da, dn
    for _, _, a_now, before, hidden_now, dy_now, da_now, dn_now in in_steps(steps[::-1], len(dh), *arrays):
        if hidden is None:
            product = gru_step_backward(a_now, before, w, dy_now, product, dh, da_now, dn_now)
        else:
            step = gru_step_reset_after_backward
            product = step(a_now, before, w, hidden_now, dy_now, product, dh, da_now, dn_now)
    if product is not None:
        dh += product
    return (da, dn) if hidden is not None else (array_module(a).concatenate([da, dn], axis=1), None)


def rnn_step(a, product, h, nonlinearity, state=None, lengths=None, t=0):
    """rnn_step; product = U h_prev is still to be added to a. The state of a scan is brought along."""
    sizes = h.size, h.shape[1], nonlinearity == "relu"
    launch("rnn", "rnn_forward", h.size, a.dtype, a, product, h, state, lengths, t, *sizes)


def rnn_step_backward(h, dy, product, dh, da, nonlinearity, lengths=None, t=0):
    """rnn_step_backward, for h's gradient dh + product + dy, of which two may be None."""
    sizes = h.size, h.shape[1], nonlinearity == "relu"
    launch("rnn", "rnn_backward", h.size, h.dtype, h, dy, product, dh, da, lengths, t, *sizes)


def rnn_scan(a, w, nonlinearity, state, steps, y):
    """All steps: fills y, brings the state along."""
    (h,), out = state, empty_rows(y)
    for t, lengths, a_now, h_now in in_steps(steps, len(h), a, out):
        rnn_step(a_now, h @ w.hh.value.T, h_now, nonlinearity, h, lengths, t)
    y[...] = out


def rnn_scan_backward(w, nonlinearity, y, dy, dstate, steps):
    """da of all steps; brings dstate along."""
    (dh,), y, product = dstate, rows_for_kernel(y, y), None
    da = empty_rows(y)
    for t, lengths, h, dy_now, da_now in in_steps(steps[::-1], len(dh), y, rows_for_kernel(dy, y), da):
        rnn_step_backward(h, dy_now, product, dh, da_now, nonlinearity, lengths, t)
        product = da_now @ w.hh.value  # a = W x + U h_prev + b
    if product is not None:
        dh += product
    return da
