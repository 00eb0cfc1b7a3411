"""Hypercolumns: equal to a classifier on the stacked maps, names, counts, gradients."""

import numpy as np
import pytest

import vision
from nn.gradcheck import check_contract
from tests.vision.segmentation.systems import (
    check_gradients,
    check_image_gradient,
    count,
    normal,
    overfit,
    small,
    without_drawing,
)
from vision.preprocess import IMAGENET_MEAN, IMAGENET_STD
from vision.segmentation import Hypercolumns

TAPS = ["conv1", "pool2", "conv4", "fc7"]


def tiny(**options):
    return small("hypercolumns_small", **{"width": 2, "hidden": 3, "dropout": 0.0, "taps": TAPS} | options)


def enlarged(x, stride, size):
    """x at each pixel: linear between the centres of its stride x stride blocks, pixel by pixel."""
    (h, w), y = x.shape[2:], np.zeros((*x.shape[:2], *size))
    for r in range(size[0]):
        for c in range(size[1]):
            row, col = (np.clip((p + 0.5) / stride - 0.5, 0, n - 1) for p, n in ((r, h), (c, w)))
            (i, fi), (j, fj) = ((min(int(p), n - 2) if n > 1 else 0, p) for p, n in ((row, h), (col, w)))
            fi, fj, down, right = fi - i, fj - j, min(i + 1, h - 1), min(j + 1, w - 1)
            y[:, :, r, c] = (1 - fi) * ((1 - fj) * x[:, :, i, j] + fj * x[:, :, i, right]) + fi * (
                (1 - fj) * x[:, :, down, j] + fj * x[:, :, down, right]
            )
    return y


@pytest.mark.parametrize("batch_norm", [False, True])
def test_scores_are_those_of_the_stack(batch_norm):
    """The literal way (sec. 3): maps of all taps enlarged, stacked at each pixel, one linear classifier on them."""
    network = tiny(batch_norm=batch_norm).network.astype(np.float64)
    x = normal(1, 3, 37, 34)
    stack, weights = [], []
    maps, _ = network.backbone.forward_stages(x, training=False, names=network.taps)
    for tap, score, stride in zip(maps, network.scores, (1, 4, 8, 32)):
        seen = score[:-1](tap)  # batch normalisation, if there is one
        stack.append(enlarged(seen, stride, (37, 34)))
        weights.append(score[len(score) - 1].weight.value[:, :, 0, 0])
    columns = np.concatenate(stack, axis=1)
    assert columns.shape[1] == 2 + 4 + 16 + 3
    bias = network.scores[-1][len(network.scores[-1]) - 1].bias.value
    wanted = np.einsum("kc,nchw->nkhw", np.concatenate(weights, axis=1), columns) + bias[:, None, None]
    np.testing.assert_allclose(network(x), wanted, rtol=1e-10, atol=1e-12)


def test_parameters_of_the_published_net(monkeypatch):
    """VGG-16 up to fc7 (Simonyan and Zisserman 2015: 138,357,544 with the 1000 classes of fc8), and one linear
    classifier on 128 + 512 + 4096 channels."""
    without_drawing(monkeypatch)
    network = Hypercolumns(21, rng=np.random.default_rng(0))
    assert count(network) == 138_357_544 - (4096 * 1000 + 1000) + (128 + 512 + 4096) * 21 + 21


def test_names():
    names = [*tiny(batch_norm=False).parameters()]
    assert names[:2] == ["features.0.weight", "features.0.bias"]
    tail = [f"score_{tap}.0.weight" for tap in TAPS] + ["score_fc7.0.bias"]
    assert [name for name in names if not name.startswith("features")] == [
        "classifier.0.weight", "classifier.0.bias", "classifier.3.weight", "classifier.3.bias", *tail,
    ]  # fmt: skip


def test_layers_above_the_last_tap_are_left_out():
    names = [*tiny(taps=["conv2", "pool3"], batch_norm=False).parameters()]
    assert "features.14.weight" in names and not any(name.startswith(("features.17", "classifier")) for name in names)


def test_weights_of_a_classifier_fit():
    model = tiny()
    turned = model.pretrained_names({"classifier.0.weight": np.zeros((3, 16 * 49))})
    assert turned["classifier.0.weight"].shape == model.parameters()["classifier.0.weight"].value.shape


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_gradient_of_the_whole_model(batch_norm):
    model = tiny(width=1, batch_norm=batch_norm, dropout=0.2, taps=["pool1", "conv3", "fc6"])
    check_gradients(model, (66, 40), kinds=[(True, 1e-9)])


def test_gradient_of_the_images_and_contract():
    network = tiny(width=1, batch_norm=False).network
    check_contract(network, (normal(2, 3, 33, 20),), (normal(1, 3, 20, 9),))
    check_image_gradient(network, (33, 20), [(0, 0, 0), (1, 18, 9), (2, 32, 19)])


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=4, hidden=16), 40, size=32)
    assert fallen < 0.2 and right > 0.95


@pytest.mark.parametrize(
    "name", ["hypercolumns", "fcn32s", "fcn8s_at_once", "deeplab_v1", "deeplab_v2", "segnet", "deconvnet"]
)
def test_images_are_as_the_published_weights_of_vgg_want_them(name):
    ours = vision.MODELS[name].options().preprocess()
    assert (ours.mean, ours.std) == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("taps", [[], ["conv6"], ["conv4", "pool2"]])
def test_mistakes_are_named(taps):
    with pytest.raises(
        ValueError, match="Hypercolumns: taps must be some of conv1, pool1, .*, fc7, in this order, got"
    ):
        tiny(taps=taps)


def test_other_shapes_are_named():
    with pytest.raises(ValueError, match=r"Hypercolumns: images must have shape \(N, 3, H, W\)"):
        tiny().network(normal(1, 1, 8, 8))
