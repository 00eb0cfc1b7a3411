"""The full-resolution stack: all maps have the image's size, receptive field, cost, gradients."""

from itertools import pairwise

import numpy as np
import pytest

from nn import Conv2d
from nn.gradcheck import check_contract
from nn.summary import _record_calls
from tests.vision.segmentation.systems import check_gradients, check_image_gradient, count, normal, overfit, small
from vision.segmentation import FullResolution


def tiny(**options):
    return small("full_resolution_small", **{"width": 2, "depth": 3, "kernel_size": 3} | options)


def test_every_map_has_the_size_of_the_image():
    net = FullResolution(4, width=3, depth=5, kernel_size=5, rng=np.random.default_rng(0))
    calls = _record_calls(net, np.zeros((1, 3, 9, 14), np.float32))
    assert {y.shape[2:] for _, _, y, _ in calls} == {(9, 14)}
    assert [y.shape[1] for _, layer, y, _ in calls if isinstance(layer, Conv2d)] == [3, 3, 3, 3, 3, 4]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_every_convolution_except_the_last_has_a_relu(batch_norm):
    net = FullResolution(4, width=3, depth=2, batch_norm=batch_norm, rng=np.random.default_rng(0))
    group = ["Conv2d", "BatchNorm2d", "ReLU"] if batch_norm else ["Conv2d", "ReLU"]
    assert [type(layer).__name__ for layer in net.features] == 2 * group
    assert type(net.score).__name__ == "Conv2d"


def test_parameters_and_cost():
    """k^2 D^2 H W multiply-adds per layer. VGG-16's widths without its poolings: 738 thousand million on 224 x 224."""
    net = FullResolution(4, width=8, depth=5, rng=np.random.default_rng(0))
    assert count(net) == 9 * 3 * 8 + 4 * 9 * 64 + 5 * 16 + 8 * 4 + 4
    macs = sum(call[3] for call in _record_calls(net, np.zeros((1, 3, 6, 7), np.float32)))
    assert macs == 6 * 7 * (9 * 3 * 8 + 4 * 9 * 64 + 8 * 4)
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    sides = [224, 224, 112, 112, 56, 56, 56, 28, 28, 28, 14, 14, 14]
    weights = [9 * i * o for i, o in pairwise(channels)]
    assert round(sum(weights) * 224**2 / 1e9) == 738
    assert round(sum(w * side**2 for w, side in zip(weights, sides)) / 1e9, 1) == 15.3


def test_receptive_field():
    """depth (k - 1) + 1 pixels in each direction."""
    net = FullResolution(2, width=2, depth=3, kernel_size=5, batch_norm=False, rng=np.random.default_rng(0))
    for name, parameter in net.parameters().items():
        parameter.value[...] = 0.1 if name.endswith("weight") else 0.01
    x = np.random.default_rng(1).random((1, 3, 30, 30))
    y, cache = net.forward(x)
    dy = np.zeros_like(y)
    dy[0, 0, 15, 15] = 1
    seen = (net.backward(dy, cache) != 0).any(axis=(0, 1))
    assert seen.any(axis=0).sum() == seen.any(axis=1).sum() == 13
    assert seen[9:22, 9:22].all()


@pytest.mark.parametrize("batch_norm", [True, False])
def test_every_gradient_of_the_whole_model(batch_norm):
    check_gradients(tiny(batch_norm=batch_norm), (7, 9))


def test_gradient_of_the_images_and_contract():
    check_contract(tiny().network, (normal(2, 3, 9, 12),), (normal(1, 3, 7, 8),))
    check_image_gradient(tiny().network, (9, 12), [(0, 0, 0), (1, 4, 7), (2, 8, 11)])


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=8, depth=4), 40, lr=0.02)
    assert fallen < 0.1 and right > 0.98


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(kernel_size=4), "FullResolution: kernel_size must be odd, got 4"),
        (lambda: tiny(depth=0), "FullResolution: depth must be a whole number >= 1, got 0"),
        (lambda: tiny()(normal(1, 4, 8, 8)), r"FullResolution: images must have shape \(N, 3, H, W\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
