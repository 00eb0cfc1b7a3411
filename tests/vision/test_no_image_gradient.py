"""Nobody wants the gradient of the data: in no model does a layer that sees the data alone compute its dx.

Which layers these are is found by two forwards with different weights: what is fed with the same array in both.
"""

import numpy as np
import pytest

import vision
from nn import Conv2d, Linear
from scripts.gradcheck import begun_pairs, tiny_batch, tiny_data


@pytest.fixture
def watched(monkeypatch):
    """Of convolutions and Linears: {id of the layer: its calls of forward}, and the caches of its calls of backward."""
    fed, backwards = {}, []

    def watch(owner):
        forward, backward = owner.forward, owner.backward

        def noted_forward(self, x, training=True):
            y, cache = forward(self, x, training)
            fed.setdefault(id(self), []).append((self, x, cache))
            return y, cache

        def noted_backward(self, dy, cache):
            backwards.append((self, cache))
            return backward(self, dy, cache)

        monkeypatch.setattr(owner, "forward", noted_forward)
        monkeypatch.setattr(owner, "backward", noted_backward)

    watch(Conv2d)
    watch(Linear)
    return fed, backwards


def run(name):
    """Losses and gradients of each stage of a tiny version of a model."""
    entry = vision.MODELS[name]
    data = tiny_data(name, entry.tiny)
    model = vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options)
    return model, tiny_batch(model, data, entry.tiny.scenes)


@pytest.mark.parametrize("name", vision.MODELS)
def test_layers_that_see_the_data_alone_compute_no_input_gradient(name, watched):
    fed, backwards = watched
    model, batch = run(name)
    for (loss, backward), trains in begun_pairs(model):
        if not any(p.trainable and key.startswith(trains) for key, p in model.parameters().items()):
            continue
        fed.clear()
        _, cache = getattr(model, loss)(batch, np.random.default_rng(0))
        first = {key: list(calls) for key, calls in fed.items()}
        fed.clear()
        backwards.clear()
        getattr(model, backward)(cache)
        entered = list(backwards)
        values = {key: parameter.value for key, parameter in model.parameters().items()}
        for parameter in model.parameters().values():
            parameter.value = parameter.value * 1.01 + 0.01
        fed.clear()
        getattr(model, loss)(batch, np.random.default_rng(0))
        for key, parameter in model.parameters().items():
            parameter.value = values[key]
        names = {id(layer): key for key, layer in model.layers()}
        for key, calls in first.items():
            for (layer, x, cache), (_, again, _) in zip(calls, fed.get(key, [])):
                if x.shape == again.shape and x.any() and np.array_equal(x, again):
                    lost = [c for owner, c in entered if owner is layer and c is cache]
                    assert not lost, f"{names.get(key, type(layer).__name__)}: dx of {x.shape} is computed for nobody"
