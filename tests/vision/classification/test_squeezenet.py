"""SqueezeNet 1.0: gradients, the paper's table, the published weights."""

import os
from pathlib import Path

import numpy as np
import pytest

import nn
import vision
from nn.gradcheck import check_contract, check_model
from nn.io.state import load_state

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))
CLASSES = ("cat", "dog", "cow", "hen", "ant")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def off_the_kinks(layer):
    """Biases that are not 0, so that no ReLU is at its kink; and no tiny last weights."""
    rng = np.random.default_rng(4)
    for name, parameter in layer.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.3 * rng.standard_normal(parameter.value.shape)
        elif name.startswith("classifier"):
            parameter.value[...] = 0.5 * rng.standard_normal(parameter.value.shape)
    return layer


def tiny(**options):
    return vision.build("squeezenet1_0", CLASSES, np.random.default_rng(3), **{"width": 2} | options)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient_of_the_whole_model(dropout, complex_step):
    model = off_the_kinks(tiny(dropout=dropout))
    batch = normal(3, 3, 33, 40), np.array([4, 0, 2])
    tolerance = 1e-10 if complex_step else 1e-6
    errors = check_model(model, batch, complex_step=complex_step, tolerance=tolerance, step=1e-6)  # 1e-5 meets a kink
    assert set(errors) == set(model.parameters())


def test_contract_of_the_network():
    network = off_the_kinks(tiny(dropout=0.5).network)
    check_contract(network, (normal(2, 3, 33, 40),), (normal(1, 3, 21, 21),))


def test_logits_are_the_mean_over_rectified_class_maps_and_dropout_acts_in_training():
    model, x = off_the_kinks(tiny(dropout=0.5)), normal(2, 3, 33, 40)
    network = model.network
    maps = network.backbone["classifier.1"](network.backbone.up_to("fire9")(x))
    assert maps.min() < 0
    np.testing.assert_allclose(model(x), np.maximum(maps, 0).mean(axis=(2, 3)), rtol=1e-12)
    np.testing.assert_array_equal(model(x), model(x))
    one, two = (network.forward(x)[0] for _ in range(2))
    assert (one != two).any()


def test_the_paper_s_table():
    """Table 1: output sizes from 111 to 13, 1,248,424 parameters; the authors' code has 13 after ceil pooling."""
    model = vision.build("squeezenet1_0", [str(i) for i in range(1000)])
    lines = nn.summary(model, (1, 3, 227, 227)).splitlines()
    shapes = {line.split("  ")[0]: line[line.index("(") : line.index(")") + 1] for line in lines if "(" in line}
    assert shapes["features.0"] == "(1, 96, 111, 111)"
    assert shapes["features.2"] == "(1, 96, 55, 55)"
    assert shapes["features.5.expand3x3"] == "(1, 128, 55, 55)"
    assert shapes["features.6"] == "(1, 256, 27, 27)"
    assert shapes["features.11"] == "(1, 512, 13, 13)"
    assert shapes["features.12.squeeze"] == "(1, 64, 13, 13)"
    assert shapes["classifier.1"] == "(1, 1000, 13, 13)"
    assert "1,248,424" in lines[-1]


def test_config_rebuilds_the_model():
    model = tiny(dropout=0.25)
    again = vision.build(**model.config)
    assert again.config == model.config
    assert again.network.backbone["classifier.0"].p == 0.25
    again.load_state_dict(model.state_dict())
    images = normal(1, 3, 30, 30)
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(n=3), "squeezenet1_0: there is no option 'n'; choose from: short_side"),
        (lambda: tiny(width=0), "SqueezeNet: width must be a whole number >= 1, got 0"),
        (lambda: tiny(dropout=1), r"Dropout: p must be in \[0, 1\), got 1"),
        (lambda: tiny().predict(np.zeros((1, 3, 6, 40))), "Conv2d: output size"),
        (lambda: tiny().predict(np.zeros((1, 3, 20, 40))), "MaxPool2d: output size"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_published_weights_give_the_published_logits():
    weights = DATA / "weights" / "squeezenet1_0_imagenet.npz"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    model = vision.build("squeezenet1_0", (DATA / "weights" / "imagenet_labels.txt").read_text().splitlines())
    assert load_state(model, weights) == []
    logits = model(np.linspace(-120, 120, 3 * 64 * 64).astype(np.float32).reshape(1, 3, 64, 64))[0]
    np.testing.assert_allclose(logits[:5], [12.164454, 8.4878, 12.617352, 12.91798, 11.27743], atol=1e-3)
    assert logits.max() == pytest.approx(20.509338, abs=1e-3)
    assert logits.argmax() == 107


def test_with_all_features_frozen_backward_touches_the_head_alone(monkeypatch):
    """As scripts.train --freeze features: no gradient, and no backward, below classifier.1."""
    model, called = off_the_kinks(tiny(dropout=0.0)), []
    for name, parameter in model.parameters().items():
        parameter.trainable = not name.startswith("features")
    _, cache = model.loss((normal(3, 3, 33, 40), np.array([4, 0, 2])), np.random.default_rng(0))

    def watch(kind, method):
        own = getattr(kind, method)

        def watched(self, dy, cache):
            called.append(self)
            return own(self, dy, cache)

        monkeypatch.setattr(kind, method, watched)

    for kind in (nn.Conv2d, nn.MaxPool2d, nn.ReLU, nn.Concat):
        watch(kind, "backward")
    watch(nn.Conv2d, "backward_parameters")
    model.backward(cache)
    conv10, relu = (model.network.backbone[name] for name in ("classifier.1", "classifier.2"))
    assert called == [relu, conv10]  # the latter's parameters only
    assert conv10.weight.grad.any()
