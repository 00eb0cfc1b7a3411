"""What the fast LSTM, GRU and RNN share.

One matrix product takes the input of all time steps. The products with the state, and the elementwise rest of each
step, are shared among threads. Sequences of unequal length are packed: see nn.cpu.packing.
"""

import numpy as np

from nn.cpu.chunks import add_product, in_slices
from nn.cpu.parallel import matmul, parallel_for, workspace

COLUMNS = 512  # of a fixed factor that are multiplied at a time, at most
ROWS = 1 << 16  # elements of the gates that are computed at a time


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


class FixedFactor:
    """A matrix b (K, M) that every time step multiplies: laid out once, in parts of some columns for the threads.

    A product of few rows takes as long as b takes on its way from memory, which is shortest where no factor is
    transposed.
    """

    def __init__(self, b):
        self.columns = min(COLUMNS, -(-b.shape[1] // 2))
        self.parts = [np.ascontiguousarray(b[:, i : i + self.columns]) for i in range(0, b.shape[1], self.columns)]

    def add(self, x, y):
        """y (N, M) += x (N, K) @ b."""

        def run(i):
            product = workspace((len(x), self.parts[i].shape[1]), y.dtype)
            np.matmul(x, self.parts[i], out=product)
            y[:, i * self.columns : (i + 1) * self.columns] += product

        parallel_for(run, len(self.parts))


def by_rows(function, *arrays):
    """function(*arrays) for some rows of all arrays at a time: few enough for the cache, shared among threads."""
    first = arrays[0]
    in_slices(lambda rows: function(*(a[rows] for a in arrays)), len(first), first.size, ROWS)


def sigmoid_(a):
    """1 / (1 + exp(-a)) in place, as 0.5 * tanh(0.5 * a) + 0.5, which cannot overflow."""
    a *= 0.5
    np.tanh(a, out=a)
    a *= 0.5
    a += 0.5
