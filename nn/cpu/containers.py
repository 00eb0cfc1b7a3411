"""Layers one after another and sums of branches for NumPy. The functions of nn/containers.py.

A ReLU behind batch normalisation is computed in training with it, while its channels are in the cache: the same bits,
and the same caches. Not where somebody watches one of the two by a method of the object's own.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np

from nn.cpu import normalise
from nn.cpu.chunks import in_chunks, in_slices, real
from nn.dispatch import instead_of
from nn.layer import y_and_cache
from nn.layers import batch_norm
from nn.layers.activation import ReLU
from nn.layers.batch_norm import BatchNorm1d, BatchNorm2d

METHODS = {"forward", "backward"}
RECTIFIED = SimpleNamespace(  # as nn.cpu.batch_norm, and ReLU of the result
    batch_norm=partial(normalise.by_batch, relu=True),
    batch_norm_inference=partial(normalise.by_running, relu=True),
)


def takes(*arrays) -> bool:
    """Whether these functions are for such arrays: real ones of one dtype and shape."""
    known = all(isinstance(a, np.ndarray) for a in arrays) and real(*arrays)
    return known and len({(a.dtype, a.shape) for a in arrays}) == 1


def add(a, b):
    """a + b."""
    return in_chunks(lambda a, b, out: np.add(a, b, out=out), a, b)


def add_to(total, part):
    """total += part, in place."""
    in_slices(lambda n: np.add(total[n], part[n], out=total[n]), len(total), total.size)


def is_rectified_norm(layers, i) -> bool:
    """Whether layers[i] and the next one are batch normalisation of real weights and ReLU, as they stand in nn."""
    norm, relu = layers[i], layers[i + 1] if i + 1 < len(layers) else None
    if type(norm) not in (BatchNorm1d, BatchNorm2d) or type(relu) is not ReLU:
        return False
    return not METHODS & {*vars(norm), *vars(relu)} and (norm.weight is None or real(norm.weight.value))


def forward_through(layers, x, training):
    """layer_n(... layer_1(x)), and the caches of all layers."""
    caches = []
    while len(caches) < len(layers):
        i = len(caches)
        if training and is_rectified_norm(layers, i):
            with instead_of(batch_norm.__name__, RECTIFIED):
                x, cache = layers[i].forward(x, training)
            caches += [cache, x]  # ReLU keeps its output
        else:
            x, cache = y_and_cache(layers[i], layers[i].forward(x, training))
            caches.append(cache)
    return x, caches


def backward_through(layers, dy, caches):
    """dx of layers one after another, and the gradients of their parameters."""
    i = len(layers)
    while i > 0:
        if i > 1 and is_rectified_norm(layers, i - 2):
            i -= 2
            with instead_of(batch_norm.__name__, _backward_from(caches[i + 1])):
                dy = layers[i].backward(dy, caches[i])
        else:
            i -= 1
            dy = layers[i].backward(dy, caches[i])
    return dy


def _backward_from(y):
    """As nn.cpu.batch_norm, for the gradient of y = ReLU of the result."""
    rows = y.reshape(*y.shape[:2], -1) if y.size else y  # (N, C, M)
    return SimpleNamespace(
        batch_norm_backward=partial(normalise.by_batch_backward, rectified=rows),
        batch_norm_inference_backward=partial(normalise.by_running_backward, rectified=rows),
    )
