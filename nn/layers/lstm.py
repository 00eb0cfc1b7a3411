"""Long short-term memory."""

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


def lstm_step(x, h_prev, c_prev, w):
    """((h, c), what the backward needs) of one step.    x (N, D), states (N, H); see LSTMCell for the equations."""
    xp = array_module(x)
    a = x @ w.ih.value.T + (w.bias_ih.value + w.bias_hh.value) + h_prev @ w.hh.value.T  # (N, 4 H)
    a_i, a_f, a_o, a_g = xp.split(a, 4, axis=1)  # (N, H) each
    i = sigmoid(a_i)
    f = sigmoid(a_f)
    o = sigmoid(a_o)
    g = xp.tanh(a_g)
    c = f * c_prev + i * g
    h = o * xp.tanh(c)
    return (h, c), (x, h_prev, c_prev, i, f, o, g, c)


def lstm_step_backward(dh, dc, w, cache):
    """(dx, (dh_prev, dc_prev)) for the gradients of h and c; adds to the gradients of w."""
    x, h_prev, c_prev, i, f, o, g, c = cache
    xp = array_module(x)
    do = dh * xp.tanh(c)  # h = o * tanh(c)
    dc = dc + dh * o * (1 - xp.tanh(c) ** 2)  # term 1: through the next step; term 2: through h
    df = dc * c_prev  # c = f * c_prev + i * g
    dc_prev = dc * f
    di = dc * g
    dg = dc * i
    da_i = di * i * (1 - i)  # i, f, o = sigmoid(a)
    da_f = df * f * (1 - f)
    da_o = do * o * (1 - o)
    da_g = dg * (1 - g**2)  # g = tanh(a_g)
    da = xp.concatenate([da_i, da_f, da_o, da_g], axis=1)  # (N, 4 H)
    w.ih.grad += da.T @ x  # a = x @ W.T + (b + b) + h_prev @ U.T
    w.hh.grad += da.T @ h_prev
    w.bias_ih.grad += da.sum(axis=0)
    w.bias_hh.grad += da.sum(axis=0)
    return da @ w.ih.value, (da @ w.hh.value, dc_prev)


def lstm_sequence(x, h0, c0, w, lengths, reverse):
    """(y, (h_n, c_n), what the backward needs) of one layer and one direction: lstm_step over time.

    x (T, N, D), y (T, N, H), states (N, H); lengths (N,) or None. reverse: from the last step to the first.
    """
    return over_time(lstm_step, x, (h0, c0), w, lengths, reverse)


def lstm_sequence_backward(dy, dh_n, dc_n, w, cache):
    """(dx, (dh0, dc0)) for the gradients of y, h_n and c_n; adds to the gradients of w."""
    return over_time_backward(lstm_step_backward, dy, (dh_n, dc_n), w, cache)


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
        set_forget_bias(self, "", forget_bias)

    def forward(self, x, h=None, c=None, training=True):
        h_prev, c_prev = self._check_states(x, h, c)
        w = self._weights()
        ops = functions(__name__, x, w.ih.value, h_prev, c_prev)
        (h_new, c_new), kept = ops.lstm_step(x, h_prev, c_prev, w)
        return (h_new, c_new), (ops, kept, h_prev, (h is not None, c is not None))

    def backward(self, dy, cache):
        ops, kept, h_prev, (h_given, c_given) = cache
        dh, dc = self._check_gradients(dy, h_prev)
        dx, (dh_prev, dc_prev) = ops.lstm_step_backward(dh, dc, self._weights(), kept)
        return dx, dh_prev if h_given else None, dc_prev if c_given else None


class LSTM(_Stack):
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

    lengths (N,), integers in 0 .. T, in any order: sequence n ends after lengths[n] steps. The rest of x is not
    read, y is 0 there, the final states are those after the last step of the sequence, and the backward direction
    begins at that step: as PyTorch's packed sequences. Time always comes first: there is no batch_first.

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
        for suffix in self.suffixes:
            set_forget_bias(self, suffix, forget_bias)

    def forward(self, x, h0=None, c0=None, lengths=None, training=True):
        initial, lengths = self._check_inputs(x, (h0, c0), lengths)
        ops = functions(__name__, x, self.weight_ih_l0.value, *initial)
        y, layers = self._forward_stack(ops.lstm_sequence, x, initial, lengths, training)
        return y, RecurrentCache(ops, len(x), initial, [h0 is not None, c0 is not None], layers)

    def backward(self, dy, cache):
        return self._backward_stack(cache.functions.lstm_sequence_backward, dy, cache)


def set_forget_bias(layer, suffix, forget_bias):
    """Let the two biases of f add up to forget_bias; None or no biases: leave them."""
    bias_ih, bias_hh = getattr(layer, f"bias_ih{suffix}"), getattr(layer, f"bias_hh{suffix}")
    if forget_bias is not None and bias_ih is not None:
        rows = slice(layer.hidden_size, 2 * layer.hidden_size)
        bias_ih.value[rows], bias_hh.value[rows] = forget_bias, 0


def swap_lstm_gates(state: dict[str, np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    """A state dict whose LSTM gates have PyTorch's order i, f, g, o, converted to ours, i, f, o, g, or back.

    Both ways are the same: the last two of the four blocks of rows are exchanged. The arrays weight_ih, weight_hh,
    bias_ih and bias_hh, with any ending, of the LSTM or LSTMCell whose name in the model is `prefix` are copied and
    converted; all others stay as they are. A GRU or RNN has the same names and must not be converted: name each LSTM.

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
