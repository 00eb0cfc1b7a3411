import re

import numpy as np
import pytest

import nn
import scripts.gradcheck
import vision
from nn.cases import LAYERS, LOSSES, LayerCase, LossCase
from nn.layer import Layer
from nn.model_check import is_silent
from scripts.gradcheck import begun_pairs, choose, main, off_the_kinks, tiny_batch, tiny_data
from vision.options import complete

X = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -0.75]])


class Wrong(Layer):
    """y = x * x, and a factor of 2 forgotten."""

    def forward(self, x, training=True):
        return x * x, x

    def backward(self, dy, cache):
        return dy * cache


class Broken(Wrong):
    def backward(self, dy, cache):
        return dy @ cache


class NotAnalytic(Wrong):
    """y = |x|"""

    def forward(self, x, training=True):
        return np.abs(x), x

    def backward(self, dy, cache):
        return dy * np.sign(cache)


def wrong_loss(prediction, target):
    return (prediction - target).sum().item(), prediction


def rows(out):
    """{name: the other columns} of the output."""
    lines = [re.split(r"\s{2,}", line) for line in out.splitlines()[1:-1] if not line.startswith(" ")]
    return {name: columns for name, *columns in lines}


@pytest.fixture
def planted(monkeypatch):
    """planted(layer, **options of its case): adds a layer to the cases."""

    def add(layer, **options):
        case = LayerCase(layer, (X,), (X[:1],), **options)
        monkeypatch.setattr(scripts.gradcheck, "LAYERS", LAYERS | {layer: {"a case": case}})

    return add


def test_a_layer_by_name(capsys):
    assert main(["Linear"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["name", "cases", "central", "complex", "step", "seconds"]
    cases, central, exact, _seconds, result = rows(out)["Linear"]
    assert (int(cases), result) == (len(LAYERS[nn.Linear]), "pass")
    assert 0 < float(central) < 1e-7
    assert 0 < float(exact) < 1e-12
    assert re.fullmatch(r"1 checked in \d+ s: none failed", out.splitlines()[-1])


def test_a_loss_and_layers_in_the_order_given_each_once(capsys):
    assert main(["triplet", "ReLU", "StochasticDepth", "ReLU"]) == 0
    found = rows(capsys.readouterr().out)
    assert list(found) == ["triplet", "ReLU", "StochasticDepth"]
    assert int(found["triplet"][0]) == len(LOSSES[nn.triplet])
    assert int(found["StochasticDepth"][0]) == len(LAYERS[nn.DropPath])


def test_a_model(capsys):
    assert main(["resnet20_cifar"]) == 0
    cases, central, exact, _seconds, result = rows(capsys.readouterr().out)["resnet20_cifar"]
    assert (cases, result) == ("1", "pass")
    assert 0 < float(central) < 1e-6
    assert 0 < float(exact) < 1e-9


def test_without_names_everything_is_checked_once():
    names = [name for name, _ in choose([])]
    layers, losses = [layer.__name__ for layer in LAYERS], [loss.__name__ for loss in LOSSES]
    assert names == [*layers, *losses, *vision.MODELS]


def test_every_model_has_a_tiny_version(entries):
    for name in vision.MODELS.keys() - entries.keys():
        entry = vision.MODELS[name]
        assert complete(name, entry.options, entry.tiny.options) != entry.options(), f"{name}: give it a tiny version"
        assert len(tiny_data(name, entry.tiny)) > 0


@pytest.mark.parametrize(
    "name, close",
    [
        ("Conv3d", "did you mean Conv2d"),
        ("lstm", "did you mean LSTM or LSTMCell"),
        ("pool", "did you mean .*MaxPool2d"),
        ("smoothl1", "did you mean smooth_l1"),
        ("faster_rcnn", "did you mean .*faster_rcnn_small"),
        ("zzz", "--help lists all names"),
    ],
)
def test_unknown_names(name, close, error_of):
    assert re.match(f"error: there is no layer, loss or model '{name}'; {close}", error_of(main, "Linear", name))


def test_a_wrong_layer_fails_and_the_rest_is_still_checked(planted, capsys):
    planted(Wrong)
    assert main(["Wrong", "Linear"]) == 1
    out = capsys.readouterr().out
    assert rows(out)["Wrong"][:1] + rows(out)["Wrong"][-1:] == ["1", "FAIL"]
    assert re.search(r"\n    a case, central differences: Wrong: gradient of x\[\d, \d\] is .*wanted 1e-07", out)
    assert re.search(r"\n    a case, complex step: Wrong: gradient of x\[\d, \d\] is .*wanted 1e-12", out)
    assert rows(out)["Linear"][-1] == "pass"
    assert out.splitlines()[-1].endswith("Wrong failed")


def test_an_error_inside_a_layer_is_a_failure_of_it(planted, capsys):
    planted(Broken)
    assert main(["Broken"]) == 1
    out = capsys.readouterr().out
    assert "a case, central differences: ValueError: matmul" in out
    with pytest.raises(ValueError, match="matmul"):
        main(["Broken", "--debug"])


def test_why_there_is_no_complex_step(planted, capsys):
    planted(NotAnalytic, not_analytic="it takes the modulus")
    assert main(["NotAnalytic"]) == 0
    out = capsys.readouterr().out
    assert rows(out)["NotAnalytic"][2] == "-"
    assert "\n    a case: no complex step: it takes the modulus" in out


def test_the_plain_version_is_checked_for_plain_cases(planted, capsys):
    seen = []

    class Watching(NotAnalytic):
        def forward(self, x, training=True):
            seen.append(nn.config.plain)
            return super().forward(x, training)

    planted(Watching, plain=True, not_analytic="modulus")
    assert main(["Watching"]) == 0
    assert set(seen) == {True}
    assert nn.config.plain is False


def test_a_wrong_loss_fails(monkeypatch, capsys):
    monkeypatch.setattr(scripts.gradcheck, "LOSSES", {wrong_loss: {"a case": LossCase(X, (X + 1,))}})
    assert main(["wrong_loss"]) == 1
    assert "a case, complex step: wrong_loss: gradient of prediction[" in capsys.readouterr().out


def test_a_wrong_model_fails(monkeypatch, capsys):
    right = vision.MODELS["resnet20_cifar"]

    def make(classes, options, rng):
        model = right.make(classes, options, rng)
        backward = model.backward
        model.backward = lambda cache: backward(cache._replace(dlogits=2 * cache.dlogits))
        return model

    monkeypatch.setitem(vision.MODELS, "wrong_model", right._replace(name="wrong_model", make=make))
    assert main(["wrong_model"]) == 1
    assert "tiny version, complex step: Classifier: the derivative along a random direction" in capsys.readouterr().out


def test_a_doubled_concat_fails_in_squeezenet(monkeypatch, capsys):
    """At width 1 all ReLUs behind it were dead, the gradients 0, and the check said pass."""
    backward = nn.Concat.backward
    monkeypatch.setattr(nn.Concat, "backward", lambda self, dy, cache: 2 * backward(self, dy, cache))
    assert main(["squeezenet1_0"]) == 1
    assert "tiny version, complex step: Classifier: the derivative along a random direction" in capsys.readouterr().out


@pytest.mark.parametrize("name", vision.MODELS)
def test_the_tiny_version_leaves_no_gradient_0(name):
    entry = vision.MODELS[name]
    data = tiny_data(name, entry.tiny)
    model = off_the_kinks(vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options))
    batch = tiny_batch(model, data, entry.tiny.scenes)
    for (loss, backward), trains in begun_pairs(model):
        model.zero_grad()
        for draw in range(3):  # as check_model draws
            getattr(model, backward)(getattr(model, loss)(batch, np.random.default_rng(draw))[1])
        parameters = model.parameters()
        trained = [key for key, p in parameters.items() if p.trainable and key.startswith(trains)]
        assert [key for key in trained if is_silent(key, parameters)] == []


def test_each_stage_of_training_is_checked(monkeypatch, capsys):
    """One stage of these trains the network, and one its last layer only, with a wrong backward."""
    right = vision.MODELS["resnet20_cifar"]

    def make(classes, options, rng):
        model = right.make(classes, options, rng)
        last = vision.Stage("last", trains=("linear",), backward="halved")
        model.stages = lambda: (vision.Stage(), vision.Stage("fitted", fit="solve"), last)
        model.halved = lambda cache: model.backward(cache._replace(dlogits=cache.dlogits / 2))
        return model

    monkeypatch.setitem(vision.MODELS, "two_stages", right._replace(name="two_stages", make=make))
    assert main(["two_stages"]) == 1
    assert "random direction of linear." in capsys.readouterr().out


def test_help(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert "python -m scripts.gradcheck LSTM triplet faster_rcnn_small" in text
    for name in ("DeformConv2d", "softmax_cross_entropy", "faster_rcnn_vgg16"):
        assert name in text
