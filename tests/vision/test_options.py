"""The options of a model: names and kinds of values, and their --help."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

import pytest

import vision
from nn.io.checkpoint import write_checkpoint
from vision.options import as_json, complete, describe


@dataclass(frozen=True)
class Options:
    """One field of each kind."""

    crf: bool = False  # whether a CRF follows
    width: int = 8  # channels
    dropout: float = 0.1
    rates: tuple[float, ...] = (6, 12)  # of the branches
    taps: tuple[str, ...] = ("conv1", "fc7")
    mean: float | tuple[float, float, float] = (0.0, 0.0, 0.0)
    unpool: Literal["max", "bed_of_nails"] = "max"
    border_weights: tuple[float, float] | None = (10, 5)
    weights: str | None = None
    class_weights: Literal["median"] | tuple[float, ...] | None = "median"


@dataclass(frozen=True)
class Narrow(Options):
    """A variant."""

    width: int = 2  # few channels


@pytest.mark.parametrize(
    "given",
    [
        {"crf": True, "width": 3, "dropout": 0, "rates": [1], "taps": ["conv5"], "mean": 128},
        {"rates": (1.5, 2), "taps": [], "mean": [1, 2.5, 3], "unpool": "bed_of_nails"},
        {"border_weights": None, "weights": None, "class_weights": None},
        {"class_weights": [1, 2.5], "border_weights": [10, 5.5], "weights": "a.npz"},
    ],
)
def test_values_that_fit(given):
    made = asdict(complete("net", Options, given))
    assert made == asdict(Options()) | {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    assert complete("net", Options, as_json(complete("net", Options, given))) == Options(**made)


def test_none_is_a_word_where_it_is_one_to_choose():
    """A command line reads it as None."""
    assert vision.build("ram_mnist", "ab", hidden=2, detach=None).options.detach == "none"
    assert vision.build("unet_small", "ab", width=1, depth=1, separate=None).options.separate == "none"


@dataclass(frozen=True)
class Pooled(Options):
    """A variant without rates."""

    rates: tuple[float, ...] = (6, 12)  # not used: there is one branch


def test_an_option_that_is_not_used_has_its_default_alone():
    assert complete("net", Pooled, {"rates": [6, 12], "width": 3}) == Pooled(width=3)
    with pytest.raises(ValueError, match="net: rates is not used: there is one branch; leave it out"):
        complete("net", Pooled, {"rates": [6]})


def test_a_model_refuses_options_that_it_does_not_use(tmp_path):
    """But a checkpoint may hold any value of them, from before they were marked."""
    tiny = vision.MODELS["faster_rcnn_fpn_small"].tiny.options
    with pytest.raises(ValueError, match="faster_rcnn_fpn_small: dropout is not used: the head has none"):
        vision.build("faster_rcnn_fpn_small", "ab", **tiny, dropout=0.1)
    model = vision.build("faster_rcnn_fpn_small", "ab", **tiny)
    weights = {f"model/{name}": array for name, array in model.state_dict().items()}
    write_checkpoint(tmp_path / "old.npz", weights, {"model": model.config | {"dropout": 0.1}})
    assert vision.load(tmp_path / "old.npz").options == model.options


@pytest.mark.parametrize(
    "name, values, wanted",
    [
        ("crf", ("no", 0, 1, None), "true or false"),
        ("width", (True, 8.0, "8", None, [8]), "a whole number"),
        ("dropout", (True, "0.1", math.nan, math.inf, None, [0.1]), "a number"),
        ("rates", (6, "6,12", ["6"], None, [True], [6, math.nan]), "a list of numbers"),
        ("taps", ("conv1", [1], None), "a list of words"),
        ("mean", ("128", None, [1, 2]), "a number or a list of 3 numbers"),
        ("unpool", ("least", 1, None), "'max' or 'bed_of_nails'"),
        ("border_weights", (10, "10,5", False, [1]), "a list of 2 numbers or none"),
        ("weights", (1, ["a"]), "a word or none"),
        ("class_weights", ("mean", 1, True), "'median' or a list of numbers or none"),
    ],
)
def test_values_that_do_not_fit_are_named(name, values, wanted):
    for value in values:
        with pytest.raises(ValueError) as error:  # noqa: PT011  (the message is compared whole)
            complete("net", Options, {name: value})
        assert str(error.value) == f"net: {name} must be {wanted}, got {value!r}"


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="net: there is no option 'widht'; did you mean 'width'"):
        complete("net", Options, {"widht": 3})
    with pytest.raises(ValueError, match="net: there is no option 'colour'; choose from: crf, width"):
        complete("net", Options, {"colour": 3})


def test_fields_describe_themselves():
    rows = {row.name: row for row in describe(Narrow)}
    assert list(rows) == list(asdict(Options()))
    assert rows["crf"] == ("crf", "true or false", False, "whether a CRF follows")
    assert rows["width"] == ("width", "a whole number", 2, "few channels")
    assert rows["dropout"].comment == ""


@pytest.mark.parametrize("name", sorted(vision.MODELS))
def test_every_option_of_every_model_is_documented(name):
    assert [row.name for row in describe(vision.MODELS[name].options) if not row.comment] == []


@pytest.mark.parametrize("name", ["unet_small", "segnet_small", "show_and_tell", "mnist_conv", "deeplabv3_small"])
def test_a_model_takes_its_own_options(name):
    """Those of its config, also after JSON."""
    words = ("<pad>", "<start>", "<end>", "<unk>", "a")
    model = vision.build(name, words)
    assert vision.build(**model.config).config == model.config
