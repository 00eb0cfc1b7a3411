"""The sliding window and the same weights at once: equal scores, unequal cost; the patches of training; gradients."""

import time

import numpy as np
import pytest

from nn.gradcheck import check_contract, check_layer, check_model
from nn.summary import _record_calls, multiply_adds
from tests.vision.segmentation.systems import CLASSES, check_image_gradient, count, normal, overfit, small
from vision.segmentation import PatchNetwork
from vision.segmentation.patch_classifier import without_steps


def network(**options):
    options = {"width": 3, "kernels": (4, 3, 3), "last": 2, "hidden": 5} | options
    return PatchNetwork(4, **options, rng=np.random.default_rng(0))


def tiny(**options):
    options = {"width": 2, "kernels": [2, 2], "last": 1, "hidden": 3, "patches": 5} | options
    return small("patch_classifier_small", **options)


def test_the_published_net():
    """N4 of Ciresan et al. 2012, table 1: 95 -> 92 -> 46 -> 42 -> 21 -> 18 -> 9 -> 6 -> 3 -> 200 -> classes."""
    net = PatchNetwork(2, rng=np.random.default_rng(0))
    assert net.patch == 95
    calls = _record_calls(net.layers_of_window, np.zeros((1, 3, 95, 95), np.float32))
    sides = [y.shape[2] for name, layer, y, _ in calls if type(layer).__name__ != "ReLU"]
    assert sides == [92, 46, 42, 21, 18, 9, 6, 3, 1, 1]
    by_hand = 48 * (16 * 3 + 1) + 48 * (25 * 48 + 1) + 2 * 48 * (16 * 48 + 1) + 200 * (9 * 48 + 1) + 2 * 201
    assert count(net) == by_hand == 220_826


@pytest.mark.parametrize("options", [{}, {"kernels": (4, 5), "last": 3}, {"kernels": (2, 1, 2, 3), "last": 2}])
def test_the_same_scores_at_once(options):
    """Every pixel's patch classified alone, and the whole image by the network with stride 1."""
    net = network(**options).astype(np.float64)
    images = normal(2, 3, 9, 7)
    logits = net(images)
    assert logits.shape == (2, 4, 9, 7)
    np.testing.assert_allclose(net.slide(images), logits, rtol=1e-11, atol=1e-12)
    padded = np.pad(images, ((0, 0), (0, 0), (net.patch // 2,) * 2, (net.patch // 2,) * 2))
    for r, c in [(0, 0), (4, 3), (8, 6)]:  # by hand, too
        patch = padded[1:, :, r : r + net.patch, c : c + net.patch]
        np.testing.assert_allclose(net.layers_of_window(patch)[0, :, 0, 0], logits[1, :, r, c], rtol=1e-11)


def test_the_weights_are_the_same_objects():
    net = network()
    pairs = zip(net.layers_of_window.parameters().values(), net.layers_of_image.parameters().values())
    assert all(a is b for a, b in pairs)
    assert list(net.parameters())[:2] == ["network.0.weight", "network.0.bias"]
    dilations = [layer.geometry.dilation[0] for layer in net.layers_of_image if hasattr(layer, "geometry")]
    assert dilations == [1, 1, 2, 2, 4, 4, 8, 8]
    assert [*without_steps(net.layers_of_window[:2])][1] is net.layers_of_window[1]


def test_prediction_is_counted_at_once():
    """The layers of prediction are not children of the model, so the model counts them itself."""
    model = small("patch_classifier_small")
    at_once = model.network.multiply_adds_by(24, 32)[1]
    assert multiply_adds(model, (2, 3, 24, 32)) == 2 * at_once > 0


def test_the_cost_of_the_window():
    """Multiply-adds as nn.summary counts them in a run, and the time of both ways on a small image."""
    net = PatchNetwork(4, 8, (4, 3, 3), 2, 16, rng=np.random.default_rng(0))
    images = normal(1, 3, 24, 32).astype(np.float32)
    sliding, at_once = net.multiply_adds_by(24, 32)
    macs = [
        call[3] for call in _record_calls(net.layers_of_image, np.pad(images, ((0, 0), (0, 0), (15, 15), (15, 15))))
    ]
    assert sum(macs) == at_once
    macs = [call[3] for call in _record_calls(net.layers_of_window, np.zeros((1, 3, 31, 31), np.float32))]
    assert 24 * 32 * sum(macs) == sliding
    assert sliding / at_once > 10
    seconds = []
    for way in (net.slide, net):
        started = time.perf_counter()
        way(images)
        seconds.append(time.perf_counter() - started)
    assert seconds[0] > 3 * seconds[1]


@pytest.mark.parametrize("balanced", [False, True])
def test_the_patches_drawn(balanced):
    """Pixels with a label, uniformly, or all classes of the image equally often."""
    labels = np.full((3, 10, 12), -1)
    labels[0, :5] = 0
    labels[0, 2, 3:9] = 1  # 6 of 60
    labels[1, 7:, 4:] = 2
    model = tiny(patches=2000, balanced=balanced)
    pixels = model.draw(labels, np.random.default_rng(0))
    assert np.bincount(pixels[:, 0]).tolist() == [2000, 2000]  # none from the image without labels
    own = labels[tuple(pixels.T)]
    assert (own[:2000] == 1).mean() == pytest.approx(0.5 if balanced else 0.1, abs=0.04)
    assert (own[2000:] == 2).all()


def test_all_patches_at_once_are_those_of_every_pixel():
    """The loss and the gradients of all windows, one by one, are the image network's."""
    model, rng = tiny(patches=None), np.random.default_rng(5)
    images, labels = normal(2, 3, 6, 7), rng.integers(-1, len(CLASSES), (2, 6, 7))
    losses, cache = model.loss((images, labels), rng)
    model.backward(cache)
    gradients = {name: parameter.grad.copy() for name, parameter in model.parameters().items()}
    model.zero_grad()
    pixels = np.argwhere(labels >= 0)
    logits, cache = model.network.classify(images, pixels)
    value, dlogits = model.pixel_loss(logits, labels[tuple(pixels.T)][:, None, None])
    model.network.layers_of_window.backward(dlogits, cache)
    assert losses["pixels"] == pytest.approx(value, rel=1e-12)
    for name, parameter in model.parameters().items():
        np.testing.assert_allclose(gradients[name], parameter.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("patches", [5, None])
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient_of_the_whole_model(complex_step, patches):
    model, rng = tiny(patches=patches), np.random.default_rng(5)
    batch = normal(2, 3, 6, 7), rng.integers(-1, len(CLASSES), (2, 6, 7))
    errors = check_model(model, batch, complex_step=complex_step, tolerance=1e-9 if complex_step else 1e-6)
    assert set(errors) == set(model.parameters())


def test_gradients_of_the_image_s_network():
    net = tiny().network
    check_layer(net, normal(1, 3, 3, 4), complex_step=True, tolerance=1e-11)
    check_contract(net, (normal(2, 3, 4, 5),), (normal(1, 3, 3, 4),))
    check_image_gradient(network(), (9, 12), [(0, 0, 0), (1, 4, 7), (2, 8, 11)])


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=8, kernels=[4, 3], last=2, hidden=16, patches=30), 60, lr=0.02)
    assert fallen < 0.3 and right > 0.9


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: network(kernels=(3, 3)), r"PatchNetwork: kernels \[3, 3\] make patches of 14: the first must be even"),
        (lambda: network(kernels=()), "PatchNetwork: kernels must be at least one, got none"),
        (lambda: network(kernels=(4, 0)), r"PatchNetwork: kernels must be a list of whole numbers >= 1, got \(4, 0\)"),
        (lambda: network(kernels=4), "PatchNetwork: kernels must be a list of whole numbers >= 1, got 4"),
        (lambda: tiny(patches=0), "PatchClassifier: patches must be a whole number >= 1, got 0"),
        (lambda: tiny(patches=None, balanced=True), "PatchClassifier: balanced needs patches, how many to draw"),
        (lambda: tiny(border_weights=[10, 5]), "PatchClassifier: border_weights must be none"),
        (lambda: network(last=0), "PatchNetwork: last must be a whole number >= 1, got 0"),
        (lambda: network()(normal(1, 1, 8, 8)), r"PatchNetwork: images must have shape \(N, 3, H, W\)"),
        (lambda: tiny().loss((normal(1, 3, 6, 6), np.full((1, 6, 6), -1)), np.random.default_rng(0)), "no pixel of"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
