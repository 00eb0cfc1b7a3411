"""What RNN, LSTM and GRU share: parameters, layers, directions, states in and out."""

import math
from typing import Any, NamedTuple

import numpy as np

from nn.cpu.chunks import add_product, in_slices
from nn.cpu.packing import Packing, Padded
from nn.cpu.parallel import matmul
from nn.dispatch import array_module
from nn.gpu.kernels import use_kernels
from nn.layer import Layer, Parameter, check_shape, positive
from nn.random import uniform


class Weights(NamedTuple):
    """The parameters of one cell; those of its gates are stacked along the first axis. Biases None without bias."""

    ih: Parameter  # (gates * H, D), for the input
    hh: Parameter  # (gates * H, H), for the state
    bias_ih: Parameter | None  # (gates * H,)
    bias_hh: Parameter | None


def add_weights(layer, suffix, in_size, hidden_size, gates, bias, rng):
    """Give the layer weight_ih<suffix> and so on, uniform in (-1 / sqrt(H), 1 / sqrt(H))."""
    limit, rows = 1 / math.sqrt(hidden_size), gates * hidden_size
    shapes = {"weight_ih": (rows, in_size), "weight_hh": (rows, hidden_size), "bias_ih": (rows,), "bias_hh": (rows,)}
    for name, shape in shapes.items():
        made = bias or name.startswith("weight")
        value = Parameter(rng.uniform(-limit, limit, shape).astype(np.float32)) if made else None
        setattr(layer, name + suffix, value)


def weights_of(layer, suffix=""):
    """The Weights whose names end in suffix, as the layer holds them now."""
    return Weights(*(getattr(layer, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))


def affine(x, weight, *biases):
    """x @ weight.T + biases, one matrix product for all rows; biases that are None are left out."""
    y = matmul(x, weight.value.T)
    present = [b.value for b in biases if b is not None]
    if present:
        y += sum(present[1:], present[0])
    return y


def affine_backward(da, x, weight, *biases):
    """Add to the gradients of weight and biases in a = x @ weight.T + biases, for da."""
    add_product(weight.grad, da.T, x)
    present = [b for b in biases if b is not None]
    if present:
        dbias = da.sum(axis=0)
        for b in present:
            b.grad += dbias


def sigmoid_(a):
    """1 / (1 + exp(-a)) in place, as 0.5 * tanh(0.5 * a) + 0.5, which cannot overflow."""
    a *= 0.5
    array_module(a).tanh(a, out=a)
    a *= 0.5
    a += 0.5


def by_rows(task, a):
    """task(slice) for slices that make up the rows of the matrix a: small enough to cache, shared among threads."""
    in_slices(task, len(a), a.size, array_module(a))


class LayerCache(NamedTuple):
    """One layer of a stack, all arrays packed: input, mask that made it (or None), output, what each scan kept."""

    x: np.ndarray
    mask: np.ndarray | None
    y: np.ndarray
    kept: list[Any]


class RecurrentCache(NamedTuple):
    """How the sequences are packed, the sorted initial states and which of them were given, and all layers."""

    packing: Packing
    first: list[np.ndarray]
    given: list[bool]
    layers: list[LayerCache]


class _Cell(Layer):
    """What RNNCell, LSTMCell and GRUCell share: parameters, and checks of states and gradients."""

    gates: int
    states: tuple[str, ...] = ("h",)

    def __init__(self, input_size, hidden_size, bias, rng):
        positive(self, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        add_weights(self, "", input_size, hidden_size, self.gates, bias, rng or np.random.default_rng(0))

    def _check_states(self, x, *states):
        """The states, zeros for those that are None, and which were given."""
        check_shape(self, x=(x, ("N", self.input_size)))
        wanted = len(x), self.hidden_size
        check_shape(self, **{s: (h, wanted) for s, h in zip(self.states, states) if h is not None})
        zeros = array_module(x).zeros(wanted, np.result_type(x.dtype, self.weight_ih.value.dtype))
        return [zeros if h is None else h for h in states], [h is not None for h in states]

    def _check_gradients(self, dys, state):
        """Copies of the gradients of the new states, zeros for None."""
        dys = _gradients(self, dys, tuple(f"d{s}" for s in self.states), [state.shape] * len(self.states))
        xp = array_module(state)
        return [xp.zeros(state.shape, state.dtype) if d is None else d.astype(state.dtype, order="C") for d in dys]

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        return output_shape[0] * (self.weight_ih.value.size + self.weight_hh.value.size)


def _gradients(owner, dys, names, shapes):
    """dys as a tuple; ValueError unless arrays of these shapes, or None, not all of them. A single name: an array."""
    if len(names) == 1:
        dys = (dys,)
    if not isinstance(dys, tuple) or len(dys) != len(names) or all(d is None for d in dys):
        got = f"a tuple of {len(dys)}" if isinstance(dys, tuple) else type(dys).__name__
        wanted = ", ".join(names)
        raise ValueError(f"{type(owner).__name__}: backward wants ({wanted}), not all of them None, got {got}")
    check_shape(owner, **{name: (d, shape) for name, d, shape in zip(names, dys, shapes) if d is not None})
    return dys


class _Recurrent(Layer):
    """A stack of recurrent layers. A subclass has the recurrence itself: `_scan` and `_scan_backward`.

    kept = _scan(x, weights, state, steps, y): x (P, D); fills y (P, H), the hidden state after each step, and
    brings the arrays of state, each (N, H), from initial to final.
    dx = _scan_backward(dy, dstate, weights, kept, x, y, first, steps): dy (P, H) or None; brings the arrays of dstate
    from the final states' gradients to the initial states'; first are the initial states.
    """

    gates: int
    states: tuple[str, ...] = ("h",)

    def __init__(self, input_size, hidden_size, num_layers, bias, dropout, bidirectional, rng):
        positive(self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout < 1:
            raise ValueError(f"{type(self).__name__}: dropout must be in [0, 1), got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.dropout, self.bidirectional = bool(bias), dropout, bool(bidirectional)
        self.directions = 2 if bidirectional else 1
        rng = rng or np.random.default_rng(0)
        for i, suffix in enumerate(self._suffixes()):
            in_size = input_size if i < self.directions else self.directions * hidden_size
            add_weights(self, suffix, in_size, hidden_size, self.gates, bias, rng)
        if dropout:
            self.rng = rng

    def _forward_stack(self, x, initial, lengths, training):
        """((y, final states ...), cache) for the initial states, each an array or None."""
        check_shape(self, x=(x, ("T", "N", self.input_size)))
        wanted = self.num_layers * self.directions, x.shape[1], self.hidden_size
        check_shape(self, **{f"{s}0": (h, wanted) for s, h in zip(self.states, initial) if h is not None})
        xp = array_module(x)
        packing = (Padded if use_kernels(x) else Packing)(self, x.shape, lengths, xp)
        dtype = np.result_type(x.dtype, self.weight_ih_l0.value.dtype)
        first = [xp.zeros(wanted, dtype) if h is None else packing.sort(h) for h in initial]
        state = [h.astype(dtype, order="C") for h in first]  # copies: from initial to final, in place

        rows, layers = packing.pack(x), []
        for k in range(self.num_layers):
            rows, mask = self._drop(rows, training) if k else (rows, None)
            y, kept = xp.empty((len(rows), self.directions * self.hidden_size), dtype), []
            for d, suffix, columns, steps in self._each_direction(k, packing):
                own = [s[k * self.directions + d] for s in state]
                kept.append(self._scan(rows, weights_of(self, suffix), own, steps, y[:, columns]))
            layers.append(LayerCache(rows, mask, y, kept))
            rows = y
        cache = RecurrentCache(packing, first, [h is not None for h in initial], layers)
        return (packing.unpack(rows), *map(packing.unsort, state)), cache

    def _backward_stack(self, dys, cache):
        """(dx, gradients of the initial states ..., None for lengths)."""
        packing, first, given, layers = cache
        y_shape = (*packing.shape, self.directions * self.hidden_size)
        names = ("dy", *(f"d{s}_n" for s in self.states))
        dy, *dfinal = _gradients(self, dys, names, [y_shape, *(h.shape for h in first)])
        xp, dtype = array_module(layers[0].y), layers[0].y.dtype
        dstate = [
            xp.zeros(h.shape, dtype) if d is None else packing.sort(d).astype(dtype, order="C")
            for d, h in zip(dfinal, first)
        ]

        drows = None if dy is None else packing.pack(dy)
        for k, (x, mask, y, kept) in reversed([*enumerate(layers)]):
            dx = None
            for d, suffix, columns, steps in self._each_direction(k, packing):
                own = [[s[k * self.directions + d] for s in states] for states in (dstate, first)]
                part = None if drows is None else drows[:, columns]
                w = weights_of(self, suffix)
                one = self._scan_backward(part, own[0], w, kept[d], x, y[:, columns], own[1], steps)
                dx = one if dx is None else dx + one  # both directions read the same x
            drows = dx if mask is None else dx * mask  # x = mask * y of the layer below
        dfirst = [packing.unsort(d) if was_given else None for d, was_given in zip(dstate, given)]
        return packing.unpack(drows), *dfirst, None

    def _suffixes(self):
        """The ends of the parameters' names, in the order of the states: layer by layer, forward first."""
        ends = ("", "_reverse")[: self.directions]
        return [f"_l{k}{end}" for k in range(self.num_layers) for end in ends]

    def _each_direction(self, layer, packing):
        """(number, end of the parameters' names, columns of y, steps in their order) for each direction."""
        for d in range(self.directions):
            columns = slice(d * self.hidden_size, (d + 1) * self.hidden_size)
            steps = packing.steps[::-1] if d else packing.steps
            yield d, self._suffixes()[layer * self.directions + d], columns, steps

    def _drop(self, y, training):
        """Dropout between layers, and its mask (None: all is kept). On a GPU it is drawn for padded places too."""
        if not training or self.dropout == 0:
            return y, None
        keep = uniform(self.rng, y.shape, np.float32, array_module(y)) >= self.dropout
        mask = keep * y.real.dtype.type(1 / (1 - self.dropout))
        return y * mask, mask

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape, all sequences being of full length."""
        weights = [p.value.size for name, p in self.parameters().items() if name.startswith("weight")]
        return int(np.prod(output_shape[:-1])) * sum(weights)
