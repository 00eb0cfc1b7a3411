"""Long short-term memory."""

from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import add_product
from nn.cpu.packing import previous
from nn.cpu.parallel import matmul
from nn.dispatch import array_module
from nn.gpu import recurrent as recurrent_cuda
from nn.gpu.kernels import use_kernels
from nn.layers.recurrent import _Cell, _Recurrent, affine, affine_backward, by_rows, sigmoid_, weights_of


def lstm_step(a, c_prev, c, h):
    """a (N, 4 * H), gates before their non-linearity, become the gates i, f, o, g in place; fills c and h (N, H)."""
    xp = array_module(a)

    def step(rows):
        i, f, o, g = split(a[rows])
        sigmoid_(a[rows, : 3 * i.shape[1]])  # i, f, o
        xp.tanh(g, out=g)
        xp.multiply(f, c_prev[rows], out=c[rows])
        c[rows] += i * g  # c = f * c_prev + i * g
        xp.tanh(c[rows], out=h[rows])
        h[rows] *= o  # h = o * tanh(c)

    by_rows(step, a)


def lstm_step_backward(a, c_prev, c, dh, dc, da):
    """a holds the gates. dc, that of c through later steps, becomes that of c_prev, in place; fills da (N, 4 * H)."""
    xp = array_module(a)

    def step(rows):
        (i, f, o, g), (di, df, do, dg), dc_rows = split(a[rows]), split(da[rows]), dc[rows]
        tanh_c = xp.tanh(c[rows])
        xp.multiply(dh[rows], tanh_c, out=do)  # h = o * tanh(c)
        dc_rows += dh[rows] * o * (1 - tanh_c * tanh_c)
        xp.multiply(dc_rows, g, out=di)  # c = f * c_prev + i * g
        xp.multiply(dc_rows, c_prev[rows], out=df)
        xp.multiply(dc_rows, i, out=dg)
        dc_rows *= f
        s = a[rows, : 3 * i.shape[1]]
        da[rows, : 3 * i.shape[1]] *= s * (1 - s)  # s = sigmoid(a) for i, f, o
        dg *= 1 - g * g  # g = tanh(a)

    by_rows(step, a)


def lstm_scan(a, w, state, steps, y):
    """All steps of W x + b = a (P, 4 * H): fills y (P, H), brings the state along; gives the cell states (P, H)."""
    (h, c), cells = state, array_module(y).empty(y.shape, y.dtype)
    for start, n in steps:
        now = slice(start, start + n)
        a[now] += matmul(h[:n], w.hh.value.T)
        lstm_step(a[now], c[:n], cells[now], y[now])
        h[:n], c[:n] = y[now], cells[now]
    return cells


def lstm_scan_backward(a, w, c_prev, cells, dy, dstate, steps):
    """da (P, 4 * H) of all steps; brings dstate along. dy (P, H) or None."""
    (dh, dc), da = dstate, array_module(a).empty(a.shape, a.dtype)
    for start, n in reversed(steps):
        now = slice(start, start + n)
        if dy is not None:
            dh[:n] += dy[now]  # h goes to the output and to the next step
        lstm_step_backward(a[now], c_prev[now], cells[now], dh[:n], dc[:n], da[now])
        dh[:n] = matmul(da[now], w.hh.value)  # a = W x + U h_prev + b
    return da


def split(a):
    """The gates i, f, o, g: views (N, H) of a (N, 4 * H)."""
    h = a.shape[1] // 4
    return [a[:, k * h : (k + 1) * h] for k in range(4)]


class LSTMCellCache(NamedTuple):
    """The inputs, the gates, the new cell state, and which states were given."""

    x: np.ndarray
    h_prev: np.ndarray
    c_prev: np.ndarray
    gates: np.ndarray
    c: np.ndarray
    given: list[bool]


class LSTMCell(_Cell):
    """One step of an LSTM.    x (N, D), h_prev, c_prev, h, c (N, H).

    i, f, o = sigmoid(W x + U h_prev + b),  g = tanh(W x + U h_prev + b), each with its rows of W, U and b
    c = f * c_prev + i * g
    h = o * tanh(c)

    W is weight_ih (4 H, D), U weight_hh (4 H, H), b the sum of bias_ih and bias_hh (4 H,), rows in the order i, f, o,
    g. PyTorch has them as i, f, g, o: `swap_lstm_gates` converts. Parameters start uniform in (-1 / sqrt(H),
    1 / sqrt(H)), but the bias of f at forget_bias, so that the cell remembers from the start (None: uniform too, as
    PyTorch).

    (h, c), cache = forward(x, h_prev, c_prev); states left out or None are zeros.
    dx, dh_prev, dc_prev = backward((dh, dc), cache); dh or dc may be None for zeros; None for a state not given.
    Raises ValueError for arrays of other shapes.

    Reference: Hochreiter and Schmidhuber 1997, Long short-term memory; the forget gate: Gers et al. 2000, Learning to
    forget; its bias: Jozefowicz et al. 2015, An empirical exploration of recurrent network architectures, sec. 2.2.
    """

    gates, states = 4, ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        forget_bias: float | None = 1.0,
        rng: "np.random.Generator | None" = None,
    ):
        super().__init__(input_size, hidden_size, bias, rng)
        self.forget_bias = forget_bias
        set_forget_bias(weights_of(self), forget_bias)

    def forward(self, x, h=None, c=None, training=True):
        (h_prev, c_prev), given = self._check_states(x, h, c)
        w = weights_of(self)
        a = affine(x, w.ih, w.bias_ih, w.bias_hh)
        product = matmul(h_prev, w.hh.value.T)
        xp, dtype = array_module(a), a.dtype
        h_new, c_new = xp.empty(h_prev.shape, dtype), xp.empty(h_prev.shape, dtype)
        if use_kernels(a):
            recurrent_cuda.lstm_step(a, product, c_prev, c_new, h_new)
        else:
            a += product
            lstm_step(a, c_prev, c_new, h_new)
        return (h_new, c_new), LSTMCellCache(x, h_prev, c_prev, a, c_new, given)

    def backward(self, dy, cache):
        x, h_prev, c_prev, a, c, given = cache
        dh, dc = self._check_gradients(dy, c)
        w, da = weights_of(self), array_module(a).empty(a.shape, a.dtype)
        if use_kernels(a):
            recurrent_cuda.lstm_step_backward(a, c_prev, c, None, None, dh, dc, da)
        else:
            lstm_step_backward(a, c_prev, c, dh, dc, da)  # dh and dc are copies; dc is dc_prev now
        affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh)
        w.hh.grad += matmul(da.T, h_prev)  # a = W x + U h_prev + b
        dh_prev = matmul(da, w.hh.value) if given[0] else None
        return matmul(da, w.ih.value), dh_prev, dc if given[1] else None


class LSTM(_Recurrent):
    """LSTM layers over sequences, each step as LSTMCell.    x (T, N, D), y (T, N, H), or (T, N, 2 H) if bidirectional.

    num_layers: each further layer reads the y of the one below, in training after dropout with probability `dropout`
    (none after the last). bidirectional: a second set of cells, named ..._reverse, goes from the last step to the
    first, and y has both outputs, forward first. Parameters weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0,
    weight_ih_l0_reverse, ..., weight_ih_l1, ...: PyTorch's names, gates in the order i, f, o, g (PyTorch: i, f, g, o;
    see swap_lstm_gates). Their starting values and forget_bias: as LSTMCell. `rng` draws them, and the dropout.

    (y, h_n, c_n), cache = forward(x, h0, c0, lengths)
    dx, dh0, dc0, None = backward((dy, dh_n, dc_n), cache)

    h0, c0, h_n, c_n (num_layers * directions, N, H), a layer's two directions side by side; initial states left out or
    None are zeros, and have no gradient. Of dy, dh_n and dc_n those that are None are zeros. Handing the final state on
    as the next chunk's initial state, and None as its gradient, is truncated backpropagation through time.

    lengths (N,), whole numbers in 0 .. T: sequence n ends after lengths[n] steps. What x holds further on is not
    looked at, y is 0 there, the final states are those after its own last step, and the backward direction begins at
    its own last step: as PyTorch's packed sequences, in any order. Time first always: there is no batch_first.

    Raises ValueError for arrays of other shapes or lengths outside 0 .. T, TypeError for lengths that are not integers.

    Reference: see LSTMCell; both directions: Schuster and Paliwal 1997, Bidirectional recurrent neural networks.
    """

    gates, states = 4, ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
        forget_bias: float | None = 1.0,
        rng: "np.random.Generator | None" = None,
    ):
        super().__init__(input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng)
        self.forget_bias = forget_bias
        for suffix in self._suffixes():
            set_forget_bias(weights_of(self, suffix), forget_bias)

    def forward(self, x, h0=None, c0=None, lengths=None, training=True):
        return self._forward_stack(x, (h0, c0), lengths, training)

    def backward(self, dy, cache):
        return self._backward_stack(dy, cache)

    def _scan(self, x, w, state, steps, y):
        a = affine(x, w.ih, w.bias_ih, w.bias_hh)  # for all steps at once
        scan = recurrent_cuda.lstm_scan if use_kernels(a) else lstm_scan
        return a, scan(a, w, state, steps, y)

    def _scan_backward(self, dy, dstate, w, kept, x, y, first, steps):
        a, cells = kept
        scan = recurrent_cuda.lstm_scan_backward if use_kernels(a) else lstm_scan_backward
        da = scan(a, w, previous(cells, first[1], steps), cells, dy, dstate, steps)
        affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh)
        add_product(w.hh.grad, da.T, previous(y, first[0], steps))
        return matmul(da, w.ih.value)


def set_forget_bias(weights, forget_bias):
    """Let the two biases of f add up to forget_bias; None or no biases: leave them."""
    if forget_bias is not None and weights.bias_ih is not None:
        size = weights.hh.value.shape[1]
        weights.bias_ih.value[size : 2 * size] = forget_bias
        weights.bias_hh.value[size : 2 * size] = 0


def swap_lstm_gates(state: dict[str, np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    """A state dict with the LSTM gates in PyTorch's order i, f, g, o made into one with ours, i, f, o, g, or back.

    Both ways are the same: the last two of the four blocks of rows change places. Converted (copied) are the weight_ih,
    weight_hh, bias_ih and bias_hh arrays, with any ending, of the LSTM or LSTMCell whose name in the model is `prefix`;
    all else stands as it was. A GRU or RNN has the same names and must not be converted: so name each LSTM.

        lstm.load_state_dict(swap_lstm_gates(torch_lstm_state))
        model.load_state_dict(swap_lstm_gates(torch_model_state, "decoder.lstm"))

    Raises ValueError where there is nothing to convert, or the rows of an array are not four blocks of equal size.
    """
    start = f"{prefix}." if prefix else ""
    kinds = tuple(f"{start}{kind}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    names = [name for name in state if name.startswith(kinds)]
    if not names:
        raise ValueError(f"swap_lstm_gates: no name begins with {kinds[0]}, got {', '.join(state) or 'no names'}")
    swapped = dict(state)
    for name in names:
        array = state[name]
        if len(array) % 4:
            raise ValueError(f"swap_lstm_gates: {name} must have 4 * hidden_size rows, got shape {tuple(array.shape)}")
        blocks = array.reshape(4, len(array) // 4, *array.shape[1:])
        swapped[name] = blocks[[0, 1, 3, 2]].reshape(array.shape)
    return swapped
