"""Layers made of layers: one after another, around a shortcut, joined along the channels."""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, y_and_cache


def add(a, b):
    """a + b, of one shape."""
    return a + b


def add_to(total, part):
    """total += part, in place."""
    total += part


def forward_through(layers, x, training):
    """layer_n(... layer_1(x)), and the caches of all layers."""
    caches = []
    for layer in layers:
        x, cache = y_and_cache(layer, layer.forward(x, training))
        caches.append(cache)
    return x, caches


def backward_through(layers, dy, caches):
    """dx of layers one after another, and the gradients of their parameters."""
    for layer, cache in zip(reversed(layers), reversed(caches)):
        dy = layer.backward(dy, cache)
    return dy


class Sequential(Layer):
    """y = layer_n(... layer_1(x)).    Each layer takes one array and returns one. Children are named 0, 1, 2, ...

    `sequential[i]` is the layer i, `sequential[i:j]` a Sequential of the same layer objects.
    """

    def __init__(self, *layers: Layer):
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: layer {i} must be a Layer, got {type(layer).__name__}")
        self._layers = list(layers)

    def children(self):
        """(index, layer) pairs: PyTorch's names, so that its checkpoints fit."""
        return ((str(i), layer) for i, layer in enumerate(self._layers))

    def __len__(self):
        return len(self._layers)

    def __getitem__(self, index):
        return Sequential(*self._layers[index]) if isinstance(index, slice) else self._layers[index]

    def forward(self, x, training=True):
        return functions(__name__, x).forward_through(self._layers, x, training)

    def backward(self, dy, cache):
        return functions(__name__, dy).backward_through(self._layers, dy, cache)

    def backward_parameters(self, dy, cache):
        backward_chain(self._layers, cache, dy)


def backward_chain(layers, caches, dy) -> None:
    """The gradients of all parameters of layers one after another: goes down to the lowest one that is trainable.

    Below it nothing is computed, and of the lowest one no input gradient.
    """
    lowest = lowest_trainable(layers)
    if lowest == len(layers):
        return
    dy = functions(__name__, dy).backward_through(layers[lowest + 1 :], dy, caches[lowest + 1 :])
    layers[lowest].backward_parameters(dy, caches[lowest])


def backward_wanted(layer, dy, cache, wanted: bool):
    """layer.backward where its dx is wanted; else the gradients of its parameters alone, and None."""
    return layer.backward(dy, cache) if wanted else layer.backward_parameters(dy, cache)


def lowest_trainable(layers) -> int:
    """The index of the lowest layer with a trainable parameter; how many layers there are if there is none."""
    return next((i for i, layer in enumerate(layers) if layer.is_trainable()), len(layers))


class Residual(Layer):
    """y = body(x) + shortcut(x), or body(x) + x where no shortcut is given.    body(x) and shortcut(x) of one shape.

    Reference: He et al. 2016, arXiv:1512.03385, eq. 1 and 2.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None):
        self.body, self.shortcut = body, shortcut

    def forward(self, x, training=True):
        y, c_body = self.body.forward(x, training)
        same, c_shortcut = (x, None) if self.shortcut is None else self.shortcut.forward(x, training)
        if y.shape != same.shape:
            raise ValueError(f"Residual: body gives {y.shape} and shortcut {same.shape}: they must agree to be added")
        return functions(__name__, y, same).add(y, same), (c_body, c_shortcut)

    def backward(self, dy, cache):
        c_body, c_shortcut = cache
        dx = self.body.backward(dy, c_body)
        same = dy if self.shortcut is None else self.shortcut.backward(dy, c_shortcut)
        return functions(__name__, dx, same).add(dx, same)  # x forks: gradients add up

    def backward_parameters(self, dy, cache):
        c_body, c_shortcut = cache
        self.body.backward_parameters(dy, c_body)
        if self.shortcut is not None:
            self.shortcut.backward_parameters(dy, c_shortcut)


class Concat(Layer):
    """y = the outputs of the branches, concatenated along the channels.    x (N, C, ...), y (N, C1 + C2 + ..., ...).

    Reference: Szegedy et al. 2015, arXiv:1409.4842, fig. 2.
    """

    def __init__(self, *branches: Layer):
        if not branches:
            raise ValueError("Concat: at least one branch is needed, got none")
        self.branches = list(branches)

    def children(self):
        """(index, branch) pairs."""
        return ((str(i), branch) for i, branch in enumerate(self.branches))

    def forward(self, x, training=True):
        outputs, caches = zip(*(branch.forward(x, training) for branch in self.branches))
        if len({(y.shape[0], *y.shape[2:]) for y in outputs}) != 1:
            raise ValueError(f"Concat: branches must agree in all but the channels, got {[y.shape for y in outputs]}")
        return array_module(x).concatenate(outputs, axis=1), (caches, [y.shape[1] for y in outputs])

    def backward(self, dy, cache):
        caches, channels = cache
        parts = split_channels(dy, channels)
        return sum(branch.backward(part, c) for branch, part, c in zip(self.branches, parts, caches))

    def backward_parameters(self, dy, cache):
        caches, channels = cache
        for branch, part, c in zip(self.branches, split_channels(dy, channels), caches):
            branch.backward_parameters(part, c)


def split_channels(dy, channels):
    """The parts of dy (N, C1 + C2 + ..., ...) that belong to the branches."""
    return array_module(dy).split(dy, np.cumsum(channels)[:-1].tolist(), axis=1)
