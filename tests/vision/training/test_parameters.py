import numpy as np
import pytest

from nn import BatchNorm2d, Conv2d, Linear, Sequential, decay_groups
from nn.layer import Layer
from vision.training.parameters import freeze, scale_rates
from vision.training.recipe import build_optimiser, with_defaults


class Net(Layer):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.body = Sequential(Conv2d(3, 4, 1, rng=rng), BatchNorm2d(4), Conv2d(4, 4, 1, rng=rng))
        self.body2, self.head = Linear(4, 3, rng=rng), Linear(4, 2, rng=rng)


def moving(net):
    return [name for name, parameter in net.parameters().items() if parameter.trainable]


def test_freezing_holds_whole_words_of_names_and_the_statistics_of_normalisations():
    net = Net()
    freeze(net, ["body"])
    assert moving(net) == ["body2.weight", "body2.bias", "head.weight", "head.bias"]
    net.body[1].forward(np.random.default_rng(1).standard_normal((2, 4, 3, 3), np.float32))
    assert not net.body[1].running_mean.any()
    freeze(net, ["head.bias", "body2"])
    assert moving(net) == ["head.weight"]


def test_freezing_nothing_changes_nothing():
    net = Net()
    freeze(net, [])
    assert len(moving(net)) == len(net.parameters())
    assert not net.body[1].frozen


@pytest.mark.parametrize(
    ("beginnings", "message"),
    [
        (["boddy"], "no parameter's name begins with 'boddy': did you mean body or body2 or body.2"),
        (["xyz"], "'xyz': choose from body, body2, head, or parts of them"),
        (["bod"], "'bod': did you mean"),
        (["body", "body2", "head"], "freezing body body2 head leaves nothing to train"),
    ],
)
def test_beginnings_at_fault_are_named(beginnings, message):
    with pytest.raises(ValueError, match=message):
        freeze(Net(), beginnings)


def test_rates_of_parts():
    """The longest beginning holds; weights and biases keep their decay; without scales the groups are the same."""
    net = Net()
    groups = decay_groups(net, 0.1)
    assert scale_rates(groups, 0.5, {}) is groups
    split = scale_rates(groups, 0.5, {"body": 0.1, "body.2": 3.0, "head.bias": 2.0})
    rates = {name: (group["lr"], group["weight_decay"]) for group in split for name in group["parameters"]}
    assert rates["body.0.weight"] == (0.05, 0.1) and rates["body.0.bias"] == (0.05, 0.0)
    assert rates["body.1.weight"] == (0.05, 0.0)
    assert rates["body.2.weight"] == (1.5, 0.1) and rates["body.2.bias"] == (1.5, 0.0)
    assert rates["body2.weight"] == rates["head.weight"] == (0.5, 0.1)
    assert rates["head.bias"] == (1.0, 0.0)
    assert len(rates) == len(net.parameters())
    with pytest.raises(ValueError, match="no parameter's name begins with 'tail'"):
        scale_rates(groups, 0.5, {"tail": 2})


def test_biases_learn_faster_but_for_those_of_normalisations():
    net, recipe = Net(), {"lr": 0.5, "lr_scale": {"head": 10.0}, "bias_rate": 2.0}
    groups = build_optimiser(net, with_defaults(recipe)).groups
    rates = {name: group["lr"] for group in groups for name in group["parameters"]}
    assert rates.keys() == net.parameters().keys()
    assert rates.pop("head.weight") == 5 and rates.pop("head.bias") == 10
    assert rates == {name: 1.0 if name in ("body.0.bias", "body.2.bias", "body2.bias") else 0.5 for name in rates}


def test_a_step_moves_each_part_by_its_rate():
    net, recipe = Net(), {"lr": 0.5, "lr_scale": {"head": 0.1}, "momentum": 0.0, "weight_decay": 0.0}
    before = {name: parameter.value.copy() for name, parameter in net.parameters().items()}
    for parameter in net.parameters().values():
        parameter.grad[...] = 1
    build_optimiser(net, with_defaults(recipe)).step(0.1)
    for name, parameter in net.parameters().items():
        step = 0.005 if name.startswith("head") else 0.05
        np.testing.assert_allclose(before[name] - parameter.value, step, atol=1e-6)
