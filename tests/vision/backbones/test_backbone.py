"""Backbones with named stages: channels and strides of stages, forks, frozen stages, shorter backbones, bad input."""

import numpy as np
import pytest

from nn import BatchNorm2d, Conv2d, ReLU, Sequential
from nn.gradcheck import check_layer
from nn.layer import Layer
from vision.backbones import (
    VGG,
    AlexNet,
    Backbone,
    BasicBlock,
    FeatureMap,
    GoogLeNet,
    ResNet,
    SmallCNN,
    SqueezeNet,
    Style,
    freeze_cancelled,
    small_vgg,
    vgg16_plan,
)
from vision.classification import ResNetCifar

X = np.random.default_rng(1).random((2, 3, 96, 64), np.float32)
NETWORKS = {
    "vgg16": lambda rng: VGG(vgg16_plan(2), rng=rng),
    "vgg16_bn": lambda rng: VGG(vgg16_plan(2), batch_norm=True, ceil_mode=True, rng=rng),
    "vgg16_holes": lambda rng: VGG(vgg16_plan(2), pool_size=3, ceil_mode=True, output_stride=8, rng=rng),
    "small_vgg": lambda rng: small_vgg(width=2, rng=rng),
    "resnet": lambda rng: ResNet((1, 2, 1, 1), 2, rng=rng),
    "resnet_dilated": lambda rng: ResNet((1, 2, 1, 1), 2, (False, True, True), rng=rng),
    "resnet_before": lambda rng: ResNet((1, 1, 1, 2), 2, block=BasicBlock, style=Style(form="pre_activation"), rng=rng),
    "resnet_cifar": lambda rng: ResNetCifar(2, 3, rng=rng),
    "alexnet": lambda rng: AlexNet(1, 4, rng=rng),
    "alexnet_2012": lambda rng: AlexNet(2, 6, rng=rng),
    "googlenet": lambda rng: GoogLeNet(8, rng=rng),
    "squeezenet": lambda rng: SqueezeNet(5, 2, rng=rng),
    "small_cnn": lambda rng: SmallCNN(2, rng=rng),
}
# {stage: (channels, stride)} of the papers' tables, for the widths above
VGG16 = {
    "conv1": (2, 1), "pool1": (2, 2), "conv2": (4, 2), "pool2": (4, 4), "conv3": (8, 4), "pool3": (8, 8),
    "conv4": (16, 8), "pool4": (16, 16), "conv5": (16, 16), "pool5": (16, 32),
}  # fmt: skip
RESNET = {"conv1": (2, 2), "layer1": (8, 4), "layer2": (16, 8), "layer3": (32, 16), "layer4": (64, 32)}
STAGES = {
    "vgg16": VGG16,
    "vgg16_bn": VGG16,
    "vgg16_holes": VGG16 | {"pool4": (16, 8), "conv5": (16, 8), "pool5": (16, 8)},
    "small_vgg": {"conv1": (2, 1), "pool1": (2, 2), "conv2": (4, 2), "pool2": (4, 4), "conv3": (16, 4)},
    "resnet": RESNET,
    "resnet_dilated": RESNET | {"layer3": (32, 8), "layer4": (64, 8)},
    "resnet_before": {"conv1": (2, 2), "layer1": (2, 4), "layer2": (4, 8), "layer3": (8, 16), "layer4": (16, 32)},
    "alexnet": {
        "conv1": (4, 4), "pool1": (4, 8), "conv2": (12, 8), "pool2": (12, 16), "conv3": (24, 16), "conv4": (16, 16),
        "conv5": (16, 16), "pool5": (16, 32),
    },
    "alexnet_2012": {
        "conv1": (6, 4), "pool1": (6, 8), "conv2": (16, 8), "pool2": (16, 16), "conv3": (24, 16), "conv4": (24, 16),
        "conv5": (16, 16), "pool5": (16, 32),
    },
    "googlenet": {
        "conv1": (8, 2), "pool1": (8, 4), "conv2": (24, 4), "pool2": (24, 8), "inception3a": (32, 8),
        "inception3b": (60, 8), "pool3": (60, 16), "inception4a": (64, 16), "inception4b": (64, 16),
        "inception4c": (64, 16), "inception4d": (66, 16), "inception4e": (104, 16), "pool4": (104, 32),
        "inception5a": (104, 32), "inception5b": (128, 32),
    },
    "resnet_cifar": {"conv1": (3, 1), "layer1": (3, 1), "layer2": (6, 2), "layer3": (12, 4)},
    "squeezenet": {
        "conv1": (12, 2), "pool1": (12, 4), "fire2": (16, 4), "fire3": (16, 4), "fire4": (32, 4), "pool4": (32, 8),
        "fire5": (32, 8), "fire6": (48, 8), "fire7": (48, 8), "fire8": (64, 8), "pool8": (64, 16), "fire9": (64, 16),
        "conv10": (5, 16),
    },
    "small_cnn": {"conv1": (4, 2), "pool1": (4, 4), "conv2": (8, 4), "pool2": (8, 8), "conv3": (16, 8)},
}  # fmt: skip
SINES = "sine1", "sine2", "sine3"
everywhere = pytest.mark.parametrize("name", NETWORKS)


def network(name):
    return NETWORKS[name](np.random.default_rng(0))


class Sine(Layer):
    """y = sin x: for checks without kinks. It counts the calls of its backward."""

    def __init__(self):
        self.backwards = 0

    def forward(self, x, training=True):
        return np.sin(x), x

    def backward(self, dy, cache):
        x, self.backwards = cache, self.backwards + 1
        return dy * np.cos(x)


def chain():
    """Three smooth stages: a and b of a convolution each, c of a convolution with batch normalisation."""
    rng = np.random.default_rng(0)
    layers = {
        "first": Conv2d(3, 2, 3, padding=1, rng=rng), "sine1": Sine(),
        "second": Conv2d(2, 3, 3, 2, rng=rng), "sine2": Sine(),
        "third": Conv2d(3, 2, 1, bias=False, rng=rng), "norm": BatchNorm2d(2), "sine3": Sine(),
    }  # fmt: skip
    stages = {"a": FeatureMap(2, 2, 1), "b": FeatureMap(4, 3, 2), "c": FeatureMap(7, 2, 2)}
    return Backbone(layers, stages)


class Taps(Layer):
    """The maps of some stages as a layer, for the gradient check."""

    def __init__(self, backbone, *names):
        self.backbone, self.names = backbone, names

    def forward(self, x, training=True):
        maps, cache = self.backbone.forward_stages(x, training, self.names)
        return (maps if len(maps) > 1 else maps[0]), cache

    def backward(self, dy, cache):
        return self.backbone.backward_stages(dy if len(self.names) > 1 else (dy,), cache)


@everywhere
def test_channels_and_strides_of_all_stages(name):
    """SqueezeNet's first convolution has no padding: its maps are a little smaller. Where poolings
    have padding, cells are at pixels 0, 8, ..., 96: one more.
    """
    backbone = network(name)
    assert {stage: (backbone.channels[stage], backbone.strides[stage]) for stage in backbone.names} == STAGES[name]
    assert (backbone.out_channels, backbone.stride) == list(STAGES[name].values())[-1]
    maps, _ = backbone.forward_stages(X)
    for y, (channels, stride) in zip(maps, STAGES[name].values(), strict=True):
        lost = [round(n / stride) - got for n, got in zip(X.shape[2:], y.shape[2:])]
        assert y.shape[:2] == (2, channels)
        within = {"squeezenet": (0, 3), "vgg16_holes": (-1, 0), "alexnet": (0, 1), "alexnet_2012": (0, 1)}
        low, high = within.get(name, (0, 0))
        assert all(low <= n <= high for n in lost)


@everywhere
@pytest.mark.parametrize("training", [True, False])
def test_taps_are_the_maps_of_the_plain_forward(name, training):
    """They are the same for any number and order of taps; nothing above the deepest is computed."""
    x, plain = X, []
    for layer in network(name).body:
        x, _ = layer.forward(x, training)
        plain.append(x)
    backbone = network(name)
    wanted = {stage: plain[backbone.stages[stage].end - 1] for stage in backbone.names}
    chosen = backbone.names[-2], backbone.names[0], backbone.names[1]
    maps, cache = network(name).forward_stages(X, training, chosen)
    assert len(cache.parts) == len(backbone.names) - 1
    for stage, y in [*zip(chosen, maps), (backbone.names[-1], backbone.forward(X, training)[0])]:
        np.testing.assert_array_equal(y, wanted[stage])


@everywhere
def test_backward_of_the_last_map_is_that_of_all_layers(name):
    plain, backbone = network(name), network(name)
    y, cache = plain.body.forward(X)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    wanted = plain.body.backward(dy, cache)
    _, cache = backbone.forward(X)
    np.testing.assert_array_equal(backbone.backward(dy, cache), wanted)
    for (key, a), b in zip(plain.parameters().items(), backbone.parameters().values(), strict=True):
        np.testing.assert_array_equal(a.grad, b.grad, err_msg=key)


@pytest.mark.parametrize("names", ["abc", "ab", "ca", "b", "bb", "cbab"])
def test_gradients_where_maps_fork(names):
    x = np.random.default_rng(1).random((2, 3, 5, 7))
    check_layer(Taps(chain(), *names), x, complex_step=True, tolerance=1e-12)
    check_layer(Taps(chain(), *names), x, tolerance=1e-7)


def test_maps_without_gradient():
    backbone, x = chain().astype(np.float64), np.random.default_rng(1).random((2, 3, 5, 7))
    maps, cache = backbone.forward_stages(x)
    dmaps = [np.random.default_rng(i).random(y.shape) for i, y in enumerate(maps)]
    none = [np.zeros_like(dmaps[0]), dmaps[1], np.zeros_like(dmaps[2])]
    wanted = backbone.backward_stages(none, cache)
    np.testing.assert_allclose(backbone.backward_stages([None, dmaps[1], None], cache), wanted, rtol=1e-12)
    assert backbone.backward_stages([None, None, None], cache) is None
    assert [backbone[name].backwards for name in SINES] == [2, 2, 1], "nothing to do in c without a gradient"
    with pytest.raises(ValueError, match="zip"):
        backbone.backward_stages([None], cache)


@pytest.mark.parametrize("last, backwards", [(None, [1, 1, 1]), ("a", [0, 1, 1]), ("b", [0, 0, 1]), ("c", [0, 0, 0])])
def test_frozen_stages_cost_no_backward(last, backwards):
    """No backward is called in them, no cache is kept, nothing is trained; stages above are not affected."""
    x = np.random.default_rng(1).random((2, 3, 5, 7)).astype(np.float32)
    free, backbone = chain(), chain()
    if last:
        backbone.freeze(last)
    count = backwards.count(0)
    of_frozen = ("first", "second", "third", "norm")[: {3: 4}.get(count, count)]
    maps, cache = backbone.forward_stages(x)
    _, free_cache = free.forward_stages(x)
    assert [c is None for c in cache.parts] == [i < count for i in range(3)]
    dmaps = [np.ones_like(y) for y in maps]
    dx, wanted = backbone.backward_stages(dmaps, cache), free.backward_stages(dmaps, free_cache)
    assert [backbone[name].backwards for name in SINES] == backwards
    assert dx is None if last else np.array_equal(dx, wanted)
    for (name, parameter), other in zip(backbone.parameters().items(), free.parameters().values()):
        frozen = name.split(".")[0] in of_frozen
        assert parameter.trainable != frozen
        np.testing.assert_array_equal(parameter.grad, 0 * other.grad if frozen else other.grad)


@pytest.mark.parametrize("held, backwards", [([], [1, 1, 1]), (["first"], [0, 1, 1]), (["first", "second"], [0, 0, 1])])
def test_without_the_gradient_of_the_images_backward_ends_with_the_lowest_trainable_layer(held, backwards):
    """The parameters alone say what is frozen, as in a stage of training that moves only some of them."""
    x = np.random.default_rng(1).random((2, 3, 5, 7)).astype(np.float32)
    free, backbone = chain(), chain()
    for name in held:
        for parameter in backbone[name].parameters().values():
            parameter.trainable = False
    maps, cache = backbone.forward_stages(x)
    dmaps = [np.ones_like(y) for y in maps]
    free.backward_stages(dmaps, free.forward_stages(x)[1])
    assert backbone.backward_stages(dmaps, cache, images=False) is None
    assert [backbone[name].backwards for name in SINES] == backwards
    for parameter, other in zip(backbone.parameters().values(), free.parameters().values()):
        np.testing.assert_array_equal(parameter.grad, other.grad if parameter.trainable else 0 * other.grad)


def test_frozen_batch_normalisation_keeps_its_running_statistics():
    backbone = small_vgg(width=2, rng=np.random.default_rng(0))
    backbone.freeze("pool1")
    before = {name: array.copy() for name, array in backbone.state_dict().items()}
    (y,), _ = backbone.forward_stages(X, names=["pool1"])
    np.testing.assert_array_equal(y, backbone.up_to("pool1")(X))
    backbone.forward(X)
    changed = [name for name, array in backbone.state_dict().items() if (array != before[name]).any()]
    first = backbone.stages["pool1"].end
    assert changed and all(int(name.split(".")[1]) >= first for name in changed)


def test_conv1_and_conv2_of_fast_r_cnn():
    """Girshick 2015, arXiv:1504.08083, sec. 4.5: all layers from conv3_1 on are trained."""
    backbone = VGG(vgg16_plan(1), rng=np.random.default_rng(0))
    backbone.freeze("pool2")
    learned = [name for name, parameter in backbone.parameters().items() if parameter.trainable]
    assert learned[0] == "features.10.weight" and len(learned) == 2 * (13 - 4)


def test_a_shorter_backbone_has_the_same_layers():
    backbone = network("squeezenet")
    backbone.freeze("fire2")
    short = backbone.up_to("fire4")
    assert short.names == backbone.names[:5] and short.out_channels == 32 and short.frozen == 3
    names = [*short.parameters()]
    assert names == [*backbone.parameters()][: len(names)] and names[-1] == "features.5.expand3x3.bias"
    assert short["features.5"] is backbone["features.5"]
    assert backbone.up_to("pool1").frozen == 2


def test_a_backbone_is_found_by_names():
    backbone = chain()
    assert [name for name, _ in backbone.children()] == ["first", "sine1", "second", "sine2", "third", "norm", "sine3"]
    assert backbone["norm"] is backbone.body[5]
    assert [len(part) for part in backbone.parts.values()] == [2, 2, 3]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda b: b.forward_stages(X, True, ["a", "d"]), "Backbone: there is no stage 'd', choose from a, b, c"),
        (lambda b: b.freeze("first"), "Backbone: there is no stage 'first', choose from a, b, c"),
        (lambda b: b.up_to(""), "Backbone: there is no stage '', choose from a, b, c"),
        (lambda b: network("vgg16").freeze("a"), "VGG: there is no stage 'a', choose from conv1, pool1, conv2"),
        (lambda b: b(X[:, :2]), r"Backbone: images must have shape \(N, 3, H, W\), got \(2, 2, 96, 64\)"),
        (lambda b: Backbone({"0": ReLU()}, {}), r"ends of stages must rise from 1 at least to .* layers, 1, got \[\]"),
        (lambda b: Backbone({"0": ReLU(), "1": ReLU()}, {"a": FeatureMap(1, 3, 1)}), r"layers, 2, got \[1\]"),
        (
            lambda b: Backbone({"0": ReLU(), "1": ReLU()}, {"a": FeatureMap(2, 3, 1), "b": FeatureMap(2, 3, 1)}),
            r"got \[2, 2\]",
        ),
        (lambda b: SmallCNN(0, rng=np.random.default_rng(0)), "SmallCNN: width must be a whole number >= 1, got 0"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(chain())


def test_cancelled_biases_are_frozen():
    """Only those that batch normalisation subtracts again."""
    layers = Sequential(
        Conv2d(1, 2, 1), BatchNorm2d(2), ReLU(), Conv2d(2, 2, 1), Conv2d(2, 2, 1, bias=False), BatchNorm2d(2)
    )
    assert freeze_cancelled(layers) is layers
    assert [name for name, parameter in layers.parameters().items() if not parameter.trainable] == ["0.bias"]
