"""What RNN, LSTM and GRU share: parameters, the loop over time steps, and stacks of layers and directions."""

import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from nn.config import config
from nn.dispatch import array_module
from nn.layer import Layer, Parameter, check_shape, positive
from nn.random import generator, spawn, uniform

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Weights(NamedTuple):
    """The parameters of one cell, the rows of its gates stacked. A cell without bias has zeros here."""

    ih: Parameter  # (gates * H, D), for the input: W
    hh: Parameter  # (gates * H, H), for the state: U
    bias_ih: Parameter  # (gates * H,)
    bias_hh: Parameter


def over_time(step, x, state, w, lengths, reverse, *options):
    """A cell's step for one time step after the other: (y, final states, what the backward needs).

    state = step(x_t, state) for t = 0 .. T - 1, or T - 1 .. 0 if reverse;  y_t = h, the first of the states
    A sequence that has no step t (t >= its length) keeps its states, and its y_t is 0.

    x (T, N, D), each of the states (N, H), y (T, N, H); lengths (N,), or None where all are T.
    """
    xp, (steps, n, _), h = array_module(x), x.shape, state[0]
    if lengths is None:
        lengths = xp.full(n, steps)
    active = xp.arange(steps)[:, None, None] < lengths[:, None]  # (T, N, 1): whether the sequence has this step
    x = xp.where(active, x, 0)  # past the end there may be anything
    y, kept = xp.zeros((steps, *h.shape), h.dtype), {}
    order = range(steps)[::-1] if reverse else range(steps)
    for t in order:
        new, kept[t] = step(x[t], *state, w, *options)
        state = [xp.where(active[t], after, before) for after, before in zip(new, state)]
        y[t] = xp.where(active[t], state[0], 0)
    return y, state, (order, active, kept)


def over_time_backward(step_backward, dy, dstate, w, cache, *options):
    """(dx, gradients of the initial states), the steps in the opposite order; adds to the gradients of w.

    dy (T, N, H); dstate: the gradients of the final states, each (N, H).
    """
    (order, active, kept), xp = cache, array_module(dy)
    dx = xp.zeros((*dy.shape[:2], w.ih.value.shape[1]), dy.dtype)
    for t in reversed(order):
        dh, *others = dstate
        dstate = dh + xp.where(active[t], dy[t], 0), *others  # h goes to the output and to the next step
        dnew = [xp.where(active[t], d, 0) for d in dstate]
        dx[t], dbefore = step_backward(*dnew, w, kept[t], *options)
        dstate = [xp.where(active[t], before, d) for before, d in zip(dbefore, dstate)]  # an ended one kept its state
    return dx, dstate


class _Recurrent(Layer):
    """What the cells and the layers share: parameters by name."""

    gates: int
    states: tuple[str, ...] = ("h",)

    def _add_weights(self, suffix, in_size, bias, rng):
        """Make weight_ih<suffix> and so on, uniform in (-1 / sqrt(H), 1 / sqrt(H))."""
        limit, rows = 1 / math.sqrt(self.hidden_size), self.gates * self.hidden_size
        for name, shape in zip(NAMES, ((rows, in_size), (rows, self.hidden_size), (rows,), (rows,))):
            made = bias or name.startswith("weight")
            value = Parameter(rng.uniform(-limit, limit, shape).astype(np.float32)) if made else None
            setattr(self, name + suffix, value)

    def _weights(self, suffix=""):
        """The Weights whose names end in suffix."""
        ih, hh, *biases = (getattr(self, name + suffix) for name in NAMES)
        return Weights(ih, hh, *(Parameter(0 * hh.value[:, 0]) if b is None else b for b in biases))


class _Cell(_Recurrent):
    """What RNNCell, LSTMCell and GRUCell share: checks of states and gradients."""

    def __init__(self, input_size, hidden_size, bias, rng):
        positive(self, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self._add_weights("", input_size, bias, rng or generator())

    def _check_states(self, x, *states):
        """The states, zeros for those that are None."""
        check_shape(self, x=(x, ("N", self.input_size)))
        wanted = len(x), self.hidden_size
        check_shape(self, **{s: (h, wanted) for s, h in zip(self.states, states) if h is not None})
        given, xp = [h.dtype for h in states if h is not None], array_module(x)
        dtype = np.result_type(x.dtype, self.weight_ih.value.dtype, *given)
        return [xp.zeros(wanted, dtype) if h is None else h.astype(dtype, copy=False) for h in states]

    def _check_gradients(self, dys, state):
        """The gradients of the new states, zeros for None."""
        return _gradients(self, dys, tuple(f"d{s}" for s in self.states), [state.shape] * len(self.states), state)

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        return output_shape[0] * (self.weight_ih.value.size + self.weight_hh.value.size)


class LayerCache(NamedTuple):
    """One layer of a stack: the dropout mask of its input (None: all is kept), and what each direction needs."""

    mask: np.ndarray | None
    kept: list[Any]


class RecurrentCache(NamedTuple):
    """The module that computed, the number of time steps, the initial states, which were given, and all layers."""

    functions: ModuleType
    steps: int
    initial: list[np.ndarray]
    given: list[bool]
    layers: list[LayerCache]


class _Stack(_Recurrent):
    """What RNN, LSTM and GRU share: num_layers layers, each of one or two directions.

    A subclass has the functions of one layer and one direction:
    y, final states, kept = sequence(x, *initial states, weights, lengths, reverse, *options)
    dx, gradients of the initial states = sequence_backward(dy, *those of the final states, weights, kept, *options)
    """

    def __init__(self, input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng):
        positive(self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout < 1:
            raise ValueError(f"{type(self).__name__}: dropout must be in [0, 1), got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.dropout, self.bidirectional = bool(bias), dropout, bool(bidirectional)
        self.directions = 2 if bidirectional else 1
        ends = ("", "_reverse")[: self.directions]
        self.suffixes = [f"_l{k}{end}" for k in range(num_layers) for end in ends]  # of the names of the parameters
        drawn_from = rng or generator()
        for i, suffix in enumerate(self.suffixes):
            size = input_size if i < self.directions else self.directions * hidden_size
            self._add_weights(suffix, size, bias, drawn_from)
        if dropout:
            self.rng = rng or spawn()

    def _check_inputs(self, x, initial, lengths):
        """(initial states, zeros for those that are None; lengths as int64, or None)."""
        check_shape(self, x=(x, ("T", "N", self.input_size)))
        wanted = self.num_layers * self.directions, x.shape[1], self.hidden_size
        check_shape(self, **{f"{s}0": (h, wanted) for s, h in zip(self.states, initial) if h is not None})
        dtype, xp = np.result_type(x.dtype, self.weight_ih_l0.value.dtype), array_module(x)
        initial = [xp.zeros(wanted, dtype) if h is None else h.astype(dtype, copy=False) for h in initial]
        return initial, None if lengths is None else check_lengths(self, lengths, x)

    def _forward_stack(self, sequence, x, initial, lengths, training, *options):
        """(y, final states ...) and the LayerCache of each layer."""
        xp, final, layers = array_module(x), [], []
        for k in range(self.num_layers):
            x, mask = self._drop(x, training) if k else (x, None)
            outputs, kept = [], []
            for i in range(k * self.directions, (k + 1) * self.directions):
                w, reverse = self._weights(self.suffixes[i]), len(outputs) == 1
                y, state, own = sequence(x, *(s[i] for s in initial), w, lengths, reverse, *options)
                outputs.append(y)
                final.append(state)
                kept.append(own)
            layers.append(LayerCache(mask, kept))
            x = xp.concatenate(outputs, axis=2) if self.bidirectional else y  # (T, N, directions * H)
        return (x, *(xp.stack(s) for s in zip(*final))), layers  # states (num_layers * directions, N, H)

    def _backward_stack(self, sequence_backward, dys, cache, *options):
        """(dx, gradients of the initial states ..., None for lengths)."""
        _, steps, initial, given, layers = cache
        stack, n, size = initial[0].shape
        names, shapes = ("dy", *(f"d{s}_n" for s in self.states)), [(steps, n, self.directions * size)]
        dy, *dfinal = _gradients(self, dys, names, shapes + [(stack, n, size)] * len(initial), initial[0])
        dinitial = [None] * stack
        for k in reversed(range(self.num_layers)):
            mask, kept = layers[k]
            dx = 0
            for d in range(self.directions):
                i, dy_own = k * self.directions + d, dy[:, :, d * size : (d + 1) * size]
                w, dstate = self._weights(self.suffixes[i]), (s[i] for s in dfinal)
                dx_own, dinitial[i] = sequence_backward(dy_own, *dstate, w, kept[d], *options)
                dx = dx + dx_own if d else dx_own  # both directions read the same x
            dy = dx if mask is None else dx * mask  # x = mask * y of the layer below
        stacked = (array_module(dy).stack(s) for s in zip(*dinitial))
        return dy, *(d if was_given else None for d, was_given in zip(stacked, given)), None

    def _drop(self, y, training):
        """Dropout between layers, and its mask (None: all is kept)."""
        if not training or self.dropout == 0:
            return y, None
        keep = uniform(self.rng, y.shape, np.float32, array_module(y)) >= self.dropout
        mask = keep * y.real.dtype.type(1 / (1 - self.dropout))
        return y * mask, mask

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape, all sequences being of full length."""
        weights = [p.value.size for name, p in self.parameters().items() if name.startswith("weight")]
        return int(np.prod(output_shape[:-1])) * sum(weights)


def check_lengths(owner, lengths, x):
    """The lengths as int64, where x (T, N, D) is. ValueError unless there are N, in 0 .. T; TypeError unless integers.

    Those on a GPU are not looked at, since the host would have to wait for them: the fast version makes a sequence of
    wrong length NaN.
    """
    who, xp, (t, n) = type(owner).__name__, array_module(x), x.shape[:2]
    unseen = xp is not np and array_module(lengths) is xp and not config.plain
    lengths = lengths.get() if hasattr(lengths, "get") and not unseen else lengths
    lengths = lengths if unseen else np.asarray(lengths)
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{who}: lengths must be whole numbers, got {lengths.dtype}")
    if lengths.shape != (n,):
        raise ValueError(f"{who}: lengths must have shape (N={n},), got {lengths.shape}")
    if not unseen and len(wrong := lengths[(lengths < 0) | (lengths > t)]):
        raise ValueError(f"{who}: lengths must be in 0 .. T={t}, got {int(wrong[0])}")
    return xp.ascontiguousarray(xp.asarray(lengths, np.int64))


def _gradients(owner, dys, names, shapes, like):
    """All gradients in the dtype of `like`, zeros for None. With a single name dys is an array, else a tuple.

    Raises ValueError unless they have these shapes, or where all are None.
    """
    if len(names) == 1:
        dys = (dys,)
    if not isinstance(dys, tuple) or len(dys) != len(names) or all(d is None for d in dys):
        got = f"a tuple of {len(dys)}" if isinstance(dys, tuple) else type(dys).__name__
        wanted = ", ".join(names)
        raise ValueError(f"{type(owner).__name__}: backward wants ({wanted}), not all of them None, got {got}")
    check_shape(owner, **{name: (d, shape) for name, d, shape in zip(names, dys, shapes) if d is not None})
    zeros = array_module(like).zeros
    return [zeros(s, like.dtype) if d is None else d.astype(like.dtype, copy=False) for d, s in zip(dys, shapes)]
