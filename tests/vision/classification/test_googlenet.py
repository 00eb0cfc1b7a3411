"""GoogLeNet: table 1, every gradient with its auxiliary heads, and predictions that do not know them."""

import numpy as np
import pytest

import vision
from nn.gradcheck import check_contract, check_layer, check_model
from nn.losses.classification import softmax_cross_entropy
from tests.vision.classification.helpers import normal, off_the_kinks
from tests.vision.segmentation.systems import count, without_drawing
from vision.backbones import GoogLeNet
from vision.backbones.googlenet import Inception

CLASSES = ("cat", "dog", "cow", "hen", "ant")
SMALL = ("googlenet", "googlenet_small")
SIZES = {"googlenet": (48, 70), "googlenet_small": (18, 15)}


def tiny(name="googlenet", **options):
    return vision.build(name, CLASSES, np.random.default_rng(3), **{"width": 8} | options)


def batch(name, n=3):
    return normal(n, 3, *SIZES[name]), np.array([4, 0, 2])[:n]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_inception_is_its_branches(batch_norm):
    module = off_the_kinks(Inception(4, (3, 2, 5, 1, 2, 4), batch_norm, rng=np.random.default_rng(0)))
    x = normal(2, 4, 5, 6)
    y, (one, three, five, pool) = module(x), (branch for _, branch in module.children())
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    largest = np.max([padded[:, :, i : i + 5, j : j + 6] for i in range(3) for j in range(3)], axis=0)
    wanted = [one(x), three[1](three[0](x)), five[1](five[0](x)), pool[1](largest)]
    np.testing.assert_allclose(y, np.concatenate(wanted, axis=1), rtol=1e-12)
    assert y.shape == (2, module.out_channels, 5, 6) == (2, 14, 5, 6)
    check_layer(module, x, complex_step=True, tolerance=1e-11)
    check_contract(module, (x,), (normal(1, 4, 3, 4),))


@pytest.mark.parametrize("name", SMALL)
def test_every_gradient_with_the_auxiliary_heads(name):
    options = {"width": 3} if name == "googlenet_small" else {"width": 8, "mixup": 0.4, "label_smoothing": 0.1}
    model = off_the_kinks(tiny(name, **options))
    errors = check_model(model, batch(name, 2), complex_step=True, tolerance=1e-10)
    assert set(errors) == set(model.parameters())
    assert {"aux1.1.weight", "aux2.7.bias"} < set(errors)


def test_losses_are_weighted():
    """Without dropout: total = cls + 0.3 (aux1 + aux2), each the cross-entropy of its head (sec. 5)."""
    model, (images, labels) = off_the_kinks(tiny(dropout=0.0, batch_norm=True)), batch("googlenet")
    for head in model.auxiliary.values():
        head[6].p = 0.0
    losses, _ = model.loss((images, labels), np.random.default_rng(0))
    maps, _ = model.network.backbone.forward_stages(images, names=("inception5b", "inception4a", "inception4d"))
    for name, features, weight in zip(("cls", "aux1", "aux2"), maps, (1, 0.3, 0.3)):
        head = model.network.head if name == "cls" else model.auxiliary[name]
        assert losses[name] == pytest.approx(weight * softmax_cross_entropy(head.forward(features)[0], labels)[0])


def test_auxiliary_heads_are_gone_at_test_time():
    """Predictions do not change when their weights do, nor without them; nothing of them is computed."""
    model, (images, _) = off_the_kinks(tiny()), batch("googlenet")
    before = model.predict(images)
    for head in model.auxiliary.values():
        for parameter in head.parameters().values():
            parameter.value[...] = np.nan
    np.testing.assert_array_equal(model.predict(images), before)
    without = tiny(auxiliary=False)
    without.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("aux")})
    np.testing.assert_array_equal(without.predict(images), before)
    assert list(without.loss(batch("googlenet"), np.random.default_rng(0))[0]) == ["cls"]


def test_parameters_of_the_paper(monkeypatch):
    """Caffe's bvlc_googlenet has 6,998,552 and 13,378,280; one seventh of them is in the fully connected layer."""
    without_drawing(monkeypatch)
    model = vision.build("googlenet", [str(i) for i in range(1000)])
    sizes = {name: parameter.value.size for name, parameter in model.parameters().items()}
    heads = sum(size for name, size in sizes.items() if name.startswith("aux"))
    assert sum(sizes.values()) - heads == count(model.network) == 6_998_552
    assert sum(sizes.values()) == 13_378_280
    assert (sizes["fc.weight"] + sizes["fc.bias"]) / 6_998_552 == pytest.approx(0.146, abs=5e-4)


def test_sizes_of_table_1(monkeypatch):
    without_drawing(monkeypatch)
    backbone = GoogLeNet(rng=np.random.default_rng(0))
    maps, _ = backbone.forward_stages(np.zeros((1, 3, 224, 224), np.float32), training=False)
    found = {name: y.shape[1:3] for name, y in zip(backbone.names, maps)}
    assert found == {
        "conv1": (64, 112), "pool1": (64, 56), "conv2": (192, 56), "pool2": (192, 28), "inception3a": (256, 28),
        "inception3b": (480, 28), "pool3": (480, 14), "inception4a": (512, 14), "inception4b": (512, 14),
        "inception4c": (512, 14), "inception4d": (528, 14), "inception4e": (832, 14), "pool4": (832, 7),
        "inception5a": (832, 7), "inception5b": (1024, 7),
    }  # fmt: skip
    assert [*backbone.strides.values()] == [2, 4, 4, 8, 8, 8, *[16] * 6, *[32] * 3]


def test_the_small_one_keeps_32_pixels_up_to_inception3b():
    backbone = GoogLeNet(16, small_stem=True, batch_norm=True, rng=np.random.default_rng(0))
    maps, _ = backbone.forward_stages(np.zeros((1, 3, 32, 32), np.float32), training=False)
    found = {name: y.shape[1:3] for name, y in zip(backbone.names, maps)}
    assert found["inception3b"] == (120, 32) and found["inception4e"] == (208, 16) and found["inception5b"] == (256, 8)


def test_contract_of_the_network():
    network = off_the_kinks(tiny().network)
    check_contract(network, (normal(2, 3, 48, 70),), (normal(1, 3, 64, 64),))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(width=0), "GoogLeNet: width must be a whole number >= 1, got 0"),
        (lambda: tiny(dropout=1.0), r"Dropout: p must be in \[0, 1\), got 1"),
        (lambda: tiny(aux=False), "googlenet: there is no option 'aux'; choose from: short_side"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
