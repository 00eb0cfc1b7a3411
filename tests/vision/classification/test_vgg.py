"""VGG with its classifier: gradients, the paper's figures, torchvision's names, the published convolutions."""

import numpy as np
import pytest

import nn
import vision
from nn.gradcheck import check_contract, check_model
from tests.vision.classification.helpers import normal, off_the_kinks
from tests.vision.published import shared
from vision.backbones import vgg_plan
from vision.classification import VGGNetwork
from vision.training.saving import load_pretrained

CLASSES = ("cat", "dog", "cow", "hen", "ant")
SMALL = {"width": 4, "hidden": 7}


def tiny(**options):
    return vision.build("vgg16", CLASSES, np.random.default_rng(3), **SMALL | options)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient_of_the_whole_model(dropout, complex_step):
    model = off_the_kinks(tiny(dropout=dropout))
    batch = normal(2, 3, 33, 64), np.array([4, 0])
    errors = check_model(model, batch, complex_step=complex_step, tolerance=1e-10 if complex_step else 1e-6)
    assert set(errors) == set(model.parameters())


def test_contract_of_the_network():
    network = off_the_kinks(VGGNetwork(5, vgg_plan(16, 4), 7, 0.5, rng=np.random.default_rng(0)))
    check_contract(network, (normal(2, 3, 33, 40),), (normal(1, 3, 32, 32),))


def test_names_are_torchvision_s():
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    layers = [f"features.{i}" for i in convolutions] + [f"classifier.{i}" for i in (0, 3, 6)]
    assert list(tiny().parameters()) == [f"{layer}.{p}" for layer in layers for p in ("weight", "bias")]


def test_the_paper_s_table(monkeypatch):
    """Configuration D has 138 million parameters (table 2), exactly 138,357,544, and 16 layers with weights."""
    for module in (nn.layers.linear, nn.layers.conv):  # drawing so many weights takes time
        monkeypatch.setattr(module, "he_normal", lambda shape, rng: np.zeros(shape, np.float32))
    model = vision.build("vgg16", [str(i) for i in range(1000)])
    parameters = model.parameters()
    assert sum(p.value.size for p in parameters.values()) == 138_357_544
    assert sum(name.endswith("weight") for name in parameters) == 16
    assert parameters["classifier.0.weight"].value.shape == (4096, 25088)
    assert parameters["classifier.6.weight"].value.shape == (1000, 4096)


def test_sizes_halve_five_times_and_other_images_are_averaged_to_7x7():
    shapes = {}
    for size in (224, 64):
        lines = nn.summary(tiny(), (1, 3, size, size)).splitlines()
        found = {line.split("  ")[0]: line[line.index("(") : line.index(")") + 1] for line in lines if "(" in line}
        shapes[size] = [found[name] for name in ("features.4", "features.30", "pool", "classifier.6")]
    assert shapes[224] == ["(1, 4, 112, 112)", "(1, 32, 7, 7)", "(1, 32, 7, 7)", "(1, 5)"]
    assert shapes[64] == ["(1, 4, 32, 32)", "(1, 32, 2, 2)", "(1, 32, 7, 7)", "(1, 5)"]


def test_dropout_acts_in_training_only():
    model, x = tiny(), normal(2, 3, 32, 32)
    np.testing.assert_array_equal(model(x), model(x))
    one, two = (model.forward(x)[0] for _ in range(2))
    assert (one != two).any()


def test_config_rebuilds_the_model():
    model = tiny(dropout=0.25)
    again = vision.build(**model.config)
    assert again.config == model.config
    assert dict(again.layers())["classifier.2"].p == 0.25
    again.load_state_dict(model.state_dict())
    images = normal(1, 3, 32, 40)
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(n=3), "vgg16: there is no option 'n'; choose from: short_side"),
        (lambda: tiny(width=0), "must be a whole number >= 1, got 0"),
        (lambda: tiny(dropout=1), r"Dropout: p must be in \[0, 1\), got 1"),
        (lambda: tiny().predict(np.zeros((1, 3, 31, 40))), "MaxPool2d: output size"),
        (lambda: tiny().predict(np.zeros((1, 1, 32, 40))), r"Classifier: images must have shape \(N, 3, H, W\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def sizes(name, monkeypatch, **options):
    """{parameter: size} of a model for 1000 classes."""
    for module in (nn.layers.linear, nn.layers.conv):  # drawing so many weights takes time
        monkeypatch.setattr(module, "he_normal", lambda shape, rng: np.zeros(shape, np.float32))
    model = vision.build(name, [str(i) for i in range(1000)], **options)
    return {name: parameter.value.size for name, parameter in model.parameters().items()}


@pytest.mark.parametrize(
    "name, batch_norm, total, share",
    [
        ("vgg16", False, 138_357_544, 0.894),
        ("vgg16", True, 138_365_992, 0.894),
        ("vgg19", False, 143_667_240, 0.861),
        ("vgg19", True, 143_678_248, 0.861),
    ],
)
def test_most_parameters_are_in_fully_connected_layers(name, batch_norm, total, share, monkeypatch):
    """Table 2 has 138 and 144 million; the exact values are torchvision's."""
    found = sizes(name, monkeypatch, batch_norm=batch_norm)
    connected = sum(size for name, size in found.items() if name.startswith("classifier"))
    assert sum(found.values()) == total and connected == 123_642_856
    assert connected / total == pytest.approx(share, abs=5e-4)


def test_batch_norm_has_torchvision_s_indices():
    names = list(vision.build("vgg19", CLASSES, width=2, hidden=4, batch_norm=True).parameters())
    assert names[:4] == ["features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias"]
    assert "features.49.weight" in names and "features.52.weight" not in names  # 52 is a pooling


def test_the_small_one():
    model = vision.build("vgg_small", CLASSES, np.random.default_rng(0))
    lines = nn.summary(model, (1, 3, 32, 32)).splitlines()
    found = {line.split("  ")[0]: line[line.index("(") : line.index(")") + 1] for line in lines if "(" in line}
    assert found["pool"] == "(1, 128, 4, 4)" and found["classifier.6"] == "(1, 5)"


def test_published_convolutions_give_the_published_activations():
    model = vision.build("vgg16", CLASSES, hidden=2)
    assert len(load_pretrained(shared("weights", "vgg16", "vgg16_features.npz"), model)) == 26
    images = np.linspace(-2, 2, 3 * 64 * 64).astype(np.float32).reshape(1, 3, 64, 64)
    y = model.network.backbone.up_to("conv5")(images)
    assert y.shape == (1, 512, 4, 4)
    assert y.mean() == pytest.approx(0.063753, abs=1e-6) and y.max() == pytest.approx(7.2829, abs=1e-3)
