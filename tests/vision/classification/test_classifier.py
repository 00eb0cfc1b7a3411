"""The options of a model: names and kinds of values."""

import math

import pytest

import vision
from vision.classification.classifier import complete

DEFAULTS = {
    "crf": False, "width": 8, "dropout": 0.1, "rates": (6, 12), "taps": ("conv1", "fc7"), "mean": (0.0, 0.0, 0.0),
    "std": 1.0, "border_weights": (10, 5), "levels": (4, 2), "class_weights": "median", "superpixels": "cover",
    "encoder_weights": None, "windows": [],
}  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"crf": True, "width": 3, "dropout": 0, "rates": [1], "taps": ["conv5"], "mean": 128, "std": [1, 2, 3]},
        {"rates": (1.5, 2), "windows": [1, 2], "mean": [1, 2.5, 3], "std": 2, "levels": [1]},
        {"border_weights": None, "levels": None, "class_weights": None, "superpixels": None},
        {"class_weights": [1, 2.5], "windows": (), "border_weights": [10, 5.5], "superpixels": "majority"},
        {"encoder_weights": "a.npz"},
    ],
)
def test_values_that_fit(given):
    assert complete("net", given, **DEFAULTS) == DEFAULTS | given


@pytest.mark.parametrize(
    "name, values, wanted",
    [
        ("crf", ("no", 0, 1, None), "true or false"),
        ("width", (True, 8.0, "8", None, [8]), "a whole number"),
        ("dropout", (True, "0.1", math.nan, math.inf, None, [0.1]), "a number"),
        ("rates", (6, "6,12", ["6"], None, [True], [6, math.nan]), "a list of numbers"),
        ("taps", ("conv1", [1], None), "a list of words"),
        ("superpixels", (3, ["cover"], True), "a word or none"),
        ("border_weights", (10, "10,5", False), "a list of numbers or none"),
        ("mean", ("128", None), "a list of numbers or a number"),
        ("std", ("128", None), "a number or a list of numbers"),
    ],
)
def test_values_that_do_not_fit_are_named(name, values, wanted):
    for value in values:
        with pytest.raises(ValueError) as error:  # noqa: PT011  (the message is compared whole)
            complete("net", {name: value}, **DEFAULTS)
        assert str(error.value) == f"net: {name} must be {wanted}, got {value!r}"


@pytest.mark.parametrize("name", ["unet_small", "segnet_small", "show_and_tell", "mnist_conv", "deeplabv3_small"])
def test_a_model_takes_its_own_options(name):
    """As its config has them, from JSON or not."""
    words = ("<pad>", "<start>", "<end>", "<unk>", "a")
    model = vision.build(name, words)
    assert vision.build(**model.config).config == model.config
