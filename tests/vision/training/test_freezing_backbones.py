"""Freezing the first stages of a backbone: gradients of all else stay, and nothing is computed below."""

import numpy as np
import pytest

import vision
from nn import Conv2d
from scripts.gradcheck import off_the_kinks, tiny_batch, tiny_data
from vision.backbones import Backbone
from vision.training.parameters import backbones, freeze
from vision.training.update import step_generator

HELD = 2  # stages
SEEN = ("classification", "detection", "segmentation")


def tiny(name):
    entry = vision.MODELS[name]
    data = tiny_data(name, entry.tiny)
    model = vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options)
    return off_the_kinks(model), tiny_batch(model, data, entry.tiny.scenes)


def first_stages(model):
    """The names of the layers with parameters in the first stages of all backbones."""
    held = {id(p) for b in backbones(model) for s in b.names[:HELD] for p in b.parts[s].parameters().values()}
    return sorted({name.rpartition(".")[0] for name, p in model.parameters().items() if id(p) in held})


def below_is_entered(model, entered):
    """Whether layers of the first stages are among those whose backward was called."""
    return any(layer in entered for b in backbones(model) for s in b.names[:HELD] for _, layer in b.parts[s].layers())


def gradients(model, batch):
    model.zero_grad()
    losses, cache = model.loss(batch, step_generator(0, 0))
    model.backward(cache)
    return losses, {name: p.grad.copy() for name, p in model.parameters().items() if p.trainable}


@pytest.mark.parametrize("name", [name for name, entry in vision.MODELS.items() if entry.task in SEEN])
def test_gradients_above_are_the_same_bits(name, monkeypatch):
    model, batch = tiny(name)
    if not (found := list(backbones(model))):
        pytest.skip("no backbone")
    if all(b.frozen == len(b.names) for b in found):
        pytest.skip("the model never trains its backbone")
    freeze(model, first_stages(model))
    assert all(b.frozen >= min(HELD, len(b.names)) for b in found)
    entered, backward, walked, forward = [], Conv2d.backward, [], Backbone.forward_stages
    monkeypatch.setattr(Conv2d, "backward", lambda self, *a: entered.append(self) or backward(self, *a))
    alone = Conv2d.backward_parameters  # of the lowest trainable one
    monkeypatch.setattr(Conv2d, "backward_parameters", lambda self, *a: entered.append(self) or alone(self, *a))

    def noted(self, *arguments, **named):
        walked.append(self)
        return forward(self, *arguments, **named)

    monkeypatch.setattr(Backbone, "forward_stages", noted)
    losses, frozen = gradients(model, batch)
    if not all(b in walked for b in found):
        pytest.skip("the model walks the layers of its backbone itself")
    assert entered and not below_is_entered(model, entered)
    if any(b.parts[s].generators() for b in found for s in b.names[:HELD]):
        return  # a frozen stage is inference: no dropout

    whole, batch = tiny(name)
    freeze(whole, first_stages(whole))
    for backbone in backbones(whole):
        backbone.frozen = 0  # the same parameters are held, but backward goes down to the images
    down = Backbone.backward_stages
    monkeypatch.setattr(Backbone, "backward_stages", lambda self, dmaps, cache, images=True: down(self, dmaps, cache))
    entered.clear()
    losses_again, wanted = gradients(whole, batch)
    assert below_is_entered(whole, entered) and losses_again == losses
    for key, grad in wanted.items():
        np.testing.assert_array_equal(frozen[key], grad, err_msg=key)
