"""The simple recurrent network's sequences, the inputs of all steps in one product. See nn.layers.rnn."""

from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import add_product
from nn.cpu.chunks import real as takes  # noqa: F401  (for dispatch)
from nn.cpu.gates import FixedFactor, affine, affine_backward, by_rows
from nn.cpu.packing import Packing
from nn.layers.rnn import rnn_step, rnn_step_backward  # noqa: F401  (a single step is as fast in the textbook)


def _tanh_backward(h, dh, da):
    """Fills da for h = tanh(a)."""
    np.multiply(dh, 1 - h * h, out=da)


def _relu_backward(h, dh, da):
    """Fills da for h = max(a, 0)."""
    np.multiply(dh, h > 0, out=da)


def _relu_(a):
    """max(a, 0) in place."""
    np.maximum(a, 0, out=a)


def _tanh_(a):
    """tanh(a) in place."""
    np.tanh(a, out=a)


class SequenceCache(NamedTuple):
    """The packing, and packed: the input, the initial states, the output."""

    packing: Packing
    x: np.ndarray
    h0: np.ndarray
    y: np.ndarray


def rnn_sequence(x, h0, w, lengths, reverse, nonlinearity):
    """(y, (h_n,), what the backward needs) of one layer and one direction."""
    packing = Packing(x.shape, lengths, reverse)
    x, h0 = packing.pack(x, h0)
    y = affine(x, w.ih, w.bias_ih, w.bias_hh)  # (P, H), for all steps at once; a step makes its y of it
    h, squash_ = h0.copy(), _tanh_ if nonlinearity == "tanh" else _relu_
    u = FixedFactor(w.hh.value.T)
    for now, n in packing.steps:
        u.add(h[:n], y[now])
        by_rows(squash_, y[now])
        h[:n] = y[now]
    return *packing.unpack(y, h), SequenceCache(packing, x, h0, y)


def rnn_sequence_backward(dy, dh_n, w, cache, nonlinearity):
    """(dx, (dh0,)) for the gradients of y and h_n; adds to the gradients of w."""
    packing, x, h0, y = cache
    dy, dh = packing.pack(dy, dh_n)
    da, squash_backward = np.empty(y.shape, y.dtype), _tanh_backward if nonlinearity == "tanh" else _relu_backward
    u = FixedFactor(w.hh.value)
    for now, n in reversed(packing.steps):
        dh[:n] += dy[now]  # h goes to the output and to the next step
        by_rows(squash_backward, y[now], dh[:n], da[now])
        dh[:n] = 0
        u.add(da[now], dh[:n])  # a = W x + U h_prev + b
    add_product(w.hh.grad, da.T, packing.previous(y, h0))
    return packing.unpack(affine_backward(da, x, w.ih, w.bias_ih, w.bias_hh), dh)
