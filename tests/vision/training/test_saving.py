from dataclasses import dataclass

import numpy as np
import pytest

import vision
from nn import Dropout, Linear
from nn.io.checkpoint import write_checkpoint
from vision.model import Model
from vision.training.saving import load_model, load_state, prefixed, unprefixed


@dataclass(frozen=True)
class Options:
    size: int = 3


class Line(Model):
    """The parameters of a Linear."""

    def __init__(self, classes, options, rng):
        super().__init__(classes, options)
        linear = Linear(options.size, len(classes), rng=rng)
        self.weight, self.bias = linear.weight, linear.bias


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(vision.MODELS, "line", None)
    del vision.MODELS["line"]
    vision.register("line", "regression", {}, options=Options)(Line)


def saved(path, **options):
    model = vision.build("line", ["a", "b"], np.random.default_rng(5), **options)
    write_checkpoint(path, prefixed("model/", model.state_dict()), {"model": model.config, "note": 1})
    return model


def test_a_model_comes_back_with_its_weights_and_options(tmp_path):
    model = saved(tmp_path / "a.npz", size=4)
    loaded, meta = load_model(tmp_path / "a.npz")
    assert loaded.config == {"model": "line", "classes": ["a", "b"], "size": 4}
    assert meta["note"] == 1
    np.testing.assert_array_equal(loaded.weight.value, model.weight.value)


def test_state_of_another_model_is_refused_and_the_difference_named(tmp_path):
    model = vision.build("line", ["a", "c"])
    arrays = prefixed("model/", model.state_dict())
    with pytest.raises(
        ValueError, match=r"x\.npz: checkpoint of another model: classes \['a', 'b'\], not \['a', 'c'\]"
    ):
        load_state("x.npz", model, arrays, {"model": {"model": "line", "classes": ["a", "b"]}})
    with pytest.raises(ValueError, match=r"x\.npz: holds no model"):
        load_state("x.npz", model, arrays, {})
    with pytest.raises(ValueError, match=r"x\.npz: .*missing bias.*; it was written by another version of the model"):
        load_state("x.npz", model, {"model/weight": arrays["model/weight"]}, {"model": model.config})


def test_an_option_that_is_newer_than_the_file_has_its_default():
    model = vision.build("line", ["a", "b"])
    arrays, old = prefixed("model/", model.state_dict()), {"model": "line", "classes": ["a", "b"]}
    load_state("x.npz", model, arrays, {"model": old})
    with pytest.raises(ValueError, match="checkpoint of another model: size 3, not 4"):
        load_state("x.npz", vision.build("line", ["a", "b"], size=4), arrays, {"model": old})


@pytest.mark.parametrize("backbone, padding", [("alexnet", 2), ("small_vgg", 10)])
def test_a_file_from_before_conv1_padding_keeps_what_it_was_trained_with(tmp_path, backbone, padding):
    """Cells of AlexNet's map lay 7.5 pixels off then; other backbones do not read the option."""
    options = {"backbone": backbone, "hidden": 2, "width": 2, "stride": 16 if backbone == "alexnet" else 8}
    model = vision.build("fast_rcnn_small", ["a"], np.random.default_rng(0), **options)
    meta = {"model": {name: value for name, value in model.config.items() if name != "conv1_padding"}}
    arrays = prefixed("model/", model.state_dict())
    write_checkpoint(tmp_path / "a.npz", arrays, meta)
    assert load_model(tmp_path / "a.npz")[0].options.conv1_padding == padding
    assert load_model(tmp_path / "a.npz", conv1_padding=10)[0].options.conv1_padding == 10
    if padding == 2:
        with pytest.raises(ValueError, match="checkpoint of another model: conv1_padding 2, not 10"):
            load_state("a.npz", model, arrays, meta)


def test_a_model_that_is_not_registered_is_named(tmp_path, monkeypatch):
    saved(tmp_path / "a.npz")
    monkeypatch.delitem(vision.MODELS, "line")
    message = r"a\.npz: checkpoint of the model 'line', which is not registered; .* --import FILE"
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "a.npz")


def test_prefixes():
    arrays = {"a": 1, "model/a": 2}
    assert prefixed("model/", arrays) == {"model/a": 1, "model/model/a": 2}
    assert unprefixed("model/", prefixed("model/", arrays)) == arrays
    assert unprefixed("x/", arrays) == {}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"size": "3"}, "line: size must be a whole number, got '3'"),
        ({"size": 10**9}, "its options name larger arrays than it holds"),
        ({"size": 10**30}, ""),
        ({"width": 1}, "line: there is no option 'width'"),
        ({"classes": 7}, "damaged, it does not say which model and classes it is of"),
        ({"classes": ["a", 1]}, "damaged, it does not say which model and classes it is of"),
        ({"classes": []}, "build: line needs at least one class name"),
        ({"classes": ["a", "a"]}, r"damaged, its classes must be names, none twice, got \['a', 'a'\]"),
        ({"classes": ["a", ""]}, r"damaged, its classes must be names, none twice, got \['a', ''\]"),
        ({"model": ["line"]}, "damaged, it does not say which model and classes it is of"),
        ({"rng": 1}, "damaged, line has no option 'rng'"),
    ],
)
def test_a_checkpoint_with_other_options_is_named(tmp_path, change, message):
    model = saved(tmp_path / "a.npz")
    arrays = prefixed("model/", model.state_dict())
    write_checkpoint(tmp_path / "a.npz", arrays, {"model": model.config | change})
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        load_model(tmp_path / "a.npz")


def test_the_layers_of_a_loaded_model_draw_from_streams_of_their_own(tmp_path, monkeypatch):
    class Two(Line):
        def __init__(self, classes, options, rng):
            super().__init__(classes, options, rng)
            self.first, self.second = (Dropout(0.5, rng=rng.spawn(1)[0]) for _ in range(2))

    monkeypatch.delitem(vision.MODELS, "line")
    vision.register("line", "regression", {}, options=Options)(Two)
    saved(tmp_path / "a.npz")
    loaded, _ = load_model(tmp_path / "a.npz")
    again, _ = load_model(tmp_path / "a.npz")
    draws = {layer.rng.random() for model in (loaded, again) for layer in (model.first, model.second)}
    assert len(draws) == 4


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a * np.float32("nan"), "damaged, weight holds NaN or infinity; take another copy"),
        (lambda a: np.full_like(a, np.inf), "damaged, weight holds NaN or infinity; take another copy"),
        (lambda a: np.zeros(a.shape, "M8[s]"), r"weight is datetime64\[s\], wanted float32"),
        (lambda a: np.zeros(a.shape, "S3"), r"weight is \|S3, wanted float32"),
    ],
)
def test_weights_that_cannot_be_are_named(tmp_path, change, message):
    model = saved(tmp_path / "a.npz")
    arrays = prefixed("model/", model.state_dict())
    arrays["model/weight"] = change(arrays["model/weight"])
    write_checkpoint(tmp_path / "a.npz", arrays, {"model": model.config})
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        load_model(tmp_path / "a.npz")
