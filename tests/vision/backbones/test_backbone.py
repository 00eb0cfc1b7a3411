"""Backbones cut into stages: what their stages promise is what their layers give."""

import numpy as np
import pytest

from nn import BatchNorm2d, Conv2d, ReLU, Sequential
from vision.backbones import VGG, ResNet, freeze_cancelled, small_vgg, vgg16_plan
from vision.classification import SqueezeNet

X = np.random.default_rng(1).random((1, 3, 96, 64), np.float32)


def rng():
    return np.random.default_rng(0)


BACKBONES = {
    "vgg16": lambda: VGG(vgg16_plan(2), rng=rng()),
    "vgg16_bn": lambda: VGG(vgg16_plan(2), batch_norm=True, ceil_mode=True, rng=rng()),
    "small_vgg": lambda: small_vgg(width=2, rng=rng()),
    "resnet": lambda: ResNet((1, 2, 1, 1), 2, (False, True, True), rng=rng()),
    "squeezenet": lambda: SqueezeNet(5, 2, rng=rng()),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_channels_and_strides_of_all_stages(name):
    """SqueezeNet's first convolution has no padding: its maps are a little smaller than the stride says."""
    backbone = BACKBONES[name]()
    x, parts = X, backbone.cut(*backbone.stages)
    for part, stage in zip(parts, backbone.stages.values(), strict=True):
        x = part(x)
        lost = [round(n / stage.stride) - got for n, got in zip(X.shape[2:], x.shape[2:])]
        assert x.shape[1] == stage.channels
        assert all(0 <= n <= (2 if name == "squeezenet" else 0) for n in lost)
    layers = [layer for part in parts for layer in part]
    assert all(a is b for a, b in zip(layers, backbone.features))


def test_names_of_stages():
    squeezenet = BACKBONES["squeezenet"]()
    fires = ["fire2", "fire3", "fire4", "pool4", "fire5", "fire6", "fire7", "fire8", "pool8", "fire9"]
    assert [*squeezenet.stages] == fires and squeezenet.stages["fire9"].end == len(squeezenet.features)
    assert [*BACKBONES["small_vgg"]().stages] == ["conv1", "pool1", "conv2", "pool2", "conv3"]
    assert [*BACKBONES["vgg16"]().stages][-2:] == ["conv5", "pool5"]


def test_a_cut_in_parts():
    vgg = BACKBONES["vgg16"]()
    parts = vgg.cut("pool3", "conv5")
    assert [len(part) for part in parts] == [17, 13] and parts[1][0] is vgg.features[17]
    for names in (["conv6"], ["pool3", "pool2"], []):
        with pytest.raises(ValueError, match=r"VGG: cuts must be some of conv1, pool1, .*, in this order, got \["):
            vgg.cut(*names)


def test_blocks_have_no_poolings():
    vgg = BACKBONES["vgg16"]()
    assert [len(block) for block in vgg.blocks] == [4, 4, 6, 6, 6]
    assert [len(block) for block in BACKBONES["vgg16_bn"]().blocks] == [6, 6, 9, 9, 9]
    assert vgg.blocks[1][0] is vgg.features[5]


def test_odd_sizes_round_down_or_up():
    x = np.zeros((1, 3, 9, 7), np.float32)
    for ceil_mode, size in ((False, (2, 1)), (True, (3, 2))):
        assert VGG(vgg16_plan(1, depth=2), ceil_mode=ceil_mode, rng=rng())(x).shape[2:] == size


def test_plans():
    assert vgg16_plan(2, 2) == [2, 2, "pool", 4, 4, "pool"]
    assert vgg16_plan()[-4:] == [512, 512, 512, "pool"]
    with pytest.raises(ValueError, match=r"VGG-16 has 5 poolings, depth must be in 1 .. 5, got 0"):
        vgg16_plan(depth=0)


def test_cancelled_biases_are_frozen():
    """Those that batch normalisation subtracts again, and no others."""
    layers = Sequential(
        Conv2d(1, 2, 1), BatchNorm2d(2), ReLU(), Conv2d(2, 2, 1), Conv2d(2, 2, 1, bias=False), BatchNorm2d(2)
    )
    assert freeze_cancelled(layers) is layers
    assert [name for name, parameter in layers.parameters().items() if not parameter.trainable] == ["0.bias"]
