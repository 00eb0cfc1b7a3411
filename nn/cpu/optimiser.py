"""The step of nn/optim/optimiser.py in blocks that stay in the cache, shared among threads; that of SGD in place."""

import numpy as np

from nn.cpu.blocks import in_blocks_of_all
from nn.cpu.parallel import workspace
from nn.optim import optimiser as textbook
from nn.optim.sgd import sgd


def takes(*arrays) -> bool:
    """All arrays of NumPy."""
    return True


def update(rule, rows, options):
    """One step of each row (value, grad, *state arrays), in place."""
    one_dtype = all(value.dtype == grad.dtype for value, grad, *_ in rows)
    step = sgd_in_place if rule is sgd and one_dtype else lambda *row: textbook.update(rule, [row[:-1]], row[-1])
    in_blocks_of_all(lambda *row: step(*row, options), rows)


def sgd_in_place(value, grad, v, options):
    """value and v after one step of nn.optim.sgd.sgd: the same bits, without new arrays."""
    lr, weight_decay, momentum, nesterov = options
    g = np.multiply(weight_decay, value, out=workspace(value.shape, value.dtype))
    g += grad
    direction = g
    if v is not None:
        v *= momentum
        v += g
        direction = g + momentum * v if nesterov else v
    value -= np.multiply(lr, direction, out=g)
