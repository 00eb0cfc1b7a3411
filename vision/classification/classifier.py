"""What all image classifiers share: softmax cross-entropy to train them, probabilities to predict with."""

import json
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from nn.losses.classification import softmax_cross_entropy


class Cache(NamedTuple):
    """From loss to backward: the network's cache, and the gradient of the loss with respect to its output."""

    network: Any
    dlogits: np.ndarray


class Classifier(Layer):
    """A network, images (N, 3, H, W) to logits (N, classes), with the loss it is trained by and its predictions.

    loss((images, labels), rng): images normalised as `preprocess` says, labels (N,) int, 0 for `classes[0]`; -1 does
    not count. Its parameters are named as the network's, so that published weights of the network fit.
    options: short_side, max_side, mean and std make `preprocess`, all of them `hyperparameters`.
    """

    def __init__(self, network: Layer, classes: Sequence[str], options: dict):
        self.network, self.classes = network, tuple(classes)
        self.hyperparameters = json.loads(json.dumps(options))  # tuples become lists
        self.preprocess = {name: options[name] for name in ("short_side", "max_side", "mean", "std")}

    def children(self):
        """Those of the network."""
        return self.network.children()

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        return self.network.forward(x, training)

    def loss(self, batch, rng: np.random.Generator):
        """({cls}, cache): the mean of -log p(label) over the images."""
        images, labels = batch
        logits, c_network = self.forward(images)
        cls, dlogits = softmax_cross_entropy(logits, labels)
        return {"cls": cls}, Cache(c_network, dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters; returns that of the images."""
        return self.network.backward(cache.dlogits, cache.network)

    def predict(self, images) -> np.ndarray:
        """(N, classes): the probability of each class."""
        logits = self(images)
        e = array_module(logits).exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


def complete(model: str, given: dict, **defaults) -> dict:
    """The options of a model: as given, the rest by default.

    Raises ValueError for a name that is none, and for a value of another kind than the default's (see kinds_of).
    """
    if unknown := sorted(set(given) - set(defaults)):
        raise ValueError(f"{model}: there is no option {unknown[0]!r}, choose from {', '.join(defaults)}")
    for name, value in given.items():
        wanted = kinds_of(name, defaults[name])
        if wanted and not any(KINDS[kind](value) for kind in wanted):
            raise ValueError(f"{model}: {name} must be {' or '.join(wanted)}, got {value!r}")
    return defaults | given


def _number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _list_of(value, holds):
    return isinstance(value, (list, tuple)) and all(map(holds, value))


KINDS = {
    "none": lambda value: value is None,
    "true or false": lambda value: isinstance(value, bool),
    "a whole number": lambda value: _number(value) and isinstance(value, Integral),
    "a number": _number,
    "a word": lambda value: isinstance(value, str),
    "a list of numbers": lambda value: _list_of(value, _number),
    "a list of words": lambda value: _list_of(value, lambda each: isinstance(each, str)),
}
OTHER_KINDS = {  # of options that take more than their default's
    "border_weights": ["none"], "levels": ["none"], "superpixels": ["none"], "mean": ["a number"],
    "std": ["a number", "a list of numbers"],
}  # fmt: skip


def kinds_of(name: str, default: Any) -> list[str]:
    """The names in KINDS of the kinds of values that an option with this default takes; [] if the model checks them."""
    if default is None or name == "class_weights":
        return []
    kind = next(kind for kind, holds in KINDS.items() if holds(default))
    return list(dict.fromkeys([kind, *OTHER_KINDS.get(name, [])]))
