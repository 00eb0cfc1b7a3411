"""What the fast LSTM, GRU and RNN share.

One matrix product takes the input of all time steps. The products with the state, and the elementwise rest of each
step, are shared among threads. Sequences of unequal length are packed: see nn.cpu.packing.
"""

import numpy as np

from nn.cpu.chunks import add_product, in_slices
from nn.cpu.parallel import matmul


def affine(x, weight, *biases):
    """x @ weight.T + biases, one matrix product for all rows."""
    y = matmul(x, weight.value.T)
    y += sum((b.value for b in biases[1:]), biases[0].value)
    return y


def affine_backward(da, x, weight, *biases):
    """dx of affine, for da; adds to the gradients of weight and biases."""
    add_product(weight.grad, da.T, x)
    dbias = da.sum(axis=0)
    for bias in biases:
        bias.grad += dbias
    return matmul(da, weight.value)


def by_rows(function, *arrays):
    """function(*arrays) for some rows of all arrays at a time: few enough for the cache, shared among threads."""
    first = arrays[0]
    in_slices(lambda rows: function(*(a[rows] for a in arrays)), len(first), first.size)


def sigmoid_(a):
    """1 / (1 + exp(-a)) in place, as 0.5 * tanh(0.5 * a) + 0.5, which cannot overflow."""
    a *= 0.5
    np.tanh(a, out=a)
    a *= 0.5
    a += 0.5
