"""ResNet: table 1's count and sizes, dilation instead of strides, gradients, names."""

import numpy as np
import pytest

import nn
from nn.gradcheck import check_contract, check_layer
from tests.vision.segmentation.systems import count, normal, without_drawing
from vision.backbones.residual import BasicBlock, Bottleneck
from vision.backbones.resnet import BLOCKS, ResNet


def tiny(**options):
    options = {"blocks": (1, 2, 1, 2), "width": 2} | options
    return ResNet(**options, rng=np.random.default_rng(0)).astype(np.float64)


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
    ],
)
def test_parameters_of_torchvision_s_nets(monkeypatch, name, wanted):
    """Less those of the classifier. The depth counts convolutions outside of shortcuts, and the classifier."""
    without_drawing(monkeypatch)
    basic = name in ("resnet18", "resnet34")
    net = ResNet(BLOCKS[name], block=BasicBlock if basic else Bottleneck, rng=np.random.default_rng(0))
    e = 1 if basic else 4
    assert count(net) == wanted - (512 * e * 1000 + 1000)
    assert list(net.channels.values()) == [64, 64 * e, 128 * e, 256 * e, 512 * e]
    convolutions = [layer for prefix, layer in net.layers() if "downsample" not in prefix and type(layer) is nn.Conv2d]
    assert len(convolutions) + 1 == int(name.removeprefix("resnet"))


def test_names_are_torchvision_s():
    names = [*tiny().parameters()]
    assert names[:6] == [
        "conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.bias",
    ]  # fmt: skip
    assert {"layer1.0.downsample.0.weight", "layer2.1.conv3.weight", "layer4.1.bn3.bias"} < {*names}
    assert not any(name.startswith("layer2.1.downsample") for name in names)


@pytest.mark.parametrize(
    "replaced, strides, dilations",
    [
        ((False, False, False), (4, 8, 16, 32), [1, 1, 1, 1, 1, 1]),
        ((False, False, True), (4, 8, 16, 16), [1, 1, 1, 1, 1, 2]),
        ((False, True, True), (4, 8, 8, 8), [1, 1, 1, 1, 2, 4]),
    ],
)
def test_strides_and_dilations(replaced, strides, dilations):
    """Of the 3x3 convolutions; as in torchvision, the first one of a stage has the dilation of the stage before."""
    net = tiny(replace_stride_with_dilation=replaced)
    maps, _ = net.forward_stages(normal(1, 3, 64, 96), training=False)
    assert [y.shape[2:] for y in maps] == [(64 // s, 96 // s) for s in (2, *strides)]
    assert tuple(net.strides.values()) == (2, *strides)
    layers = [layer for _, layer in net.layers() if isinstance(layer, Bottleneck)]
    assert [layer["conv2"].geometry.dilation[0] for layer in layers] == dilations


def test_dilation_fills_in_between_the_strides():
    """With the same weights every second pixel of the dilated layer4 is a pixel of the strided one."""
    strided, dilated = tiny(), tiny(replace_stride_with_dilation=(False, False, True))
    dilated.load_state_dict(strided.state_dict())
    x = normal(1, 3, 64, 96)
    np.testing.assert_allclose(dilated(x)[:, :, ::2, ::2], strided(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "replaced, multi_grid, rates",
    [
        ((False, False, True), (1, 2, 4), [2, 4, 8, 2]),
        ((False, True, True), (1, 2, 4), [4, 8, 16, 4]),
        ((False, False, False), (1, 2, 4), [1, 2, 4, 1]),
        ((False, False, True), (1, 1, 1), [1, 2, 2, 2]),
        ((False, False, True), (2, 2, 2), [4, 4, 4, 2]),
    ],
)
def test_multi_grid(replaced, multi_grid, rates):
    """DeepLab v3, sec. 3.2: "when output stride = 16 and Multi Grid = (1, 2, 4), the three convolutions will have
    rates = 2 * (1, 2, 4) = (2, 4, 8)"; torchvision's rule where all factors are 1.
    """
    net = tiny(blocks=(1, 1, 1, 4), replace_stride_with_dilation=replaced, multi_grid=multi_grid)
    assert [layer["conv2"].geometry.dilation[0] for layer in net["layer4"]] == rates
    assert [layer["conv2"].geometry.stride[0] for layer in net["layer4"]] == [1 if replaced[2] else 2, 1, 1, 1]
    assert net["layer3"][0]["conv2"].geometry.dilation[0] == 1


@pytest.mark.parametrize("stride, dilation, inside", [(1, 1, 8), (2, 1, 8), (1, 2, 3)])
def test_a_bottleneck(stride, dilation, inside):
    """It follows its equation, and its gradients."""
    block = Bottleneck(inside, 2, stride, dilation, rng=np.random.default_rng(0)).astype(np.float64)
    for layer in (block["bn1"], block["bn2"], block["bn3"]):
        layer.bias.value[...] = 0.3 * np.random.default_rng(1).standard_normal(layer.bias.value.shape)
    x = normal(2, inside, 5, 6)
    y = np.maximum(block["bn1"](block["conv1"](x)), 0)
    y = block["bn3"](block["conv3"](np.maximum(block["bn2"](block["conv2"](y)), 0)))
    wanted = np.maximum(y + (block["downsample"](x) if "downsample" in block.named else x), 0)
    np.testing.assert_allclose(block(x), wanted, rtol=1e-12)
    assert ("downsample" in block.named) == (stride != 1 or inside != 8)
    check_layer(block, x, complex_step=True, tolerance=1e-11)
    check_contract(block, (x,), (x[:1, :, :4],))


@pytest.mark.parametrize("counted", [(True,) * 4, (False, False, False, True), (False, True, False, False)])
def test_gradient_of_the_images(counted):
    """By differences at two pixels; the gradient is None for maps that the loss does not depend on."""
    net, x = tiny(blocks=(1, 1, 1, 1)), normal(1, 3, 64, 96)
    outputs, cache = net.forward_stages(x, names=net.names[1:])
    dys = [normal(*y.shape, seed=i) if used else None for i, (y, used) in enumerate(zip(outputs, counted))]
    dx = net.backward_stages(dys, cache)
    for index in [(0, 0, 3, 5), (0, 2, 40, 71)]:
        sums = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[index] += step
            ys, _ = net.forward_stages(moved, names=net.names[1:])
            sums.append(sum((y * dy).sum() for y, dy in zip(ys, dys) if dy is not None))
        np.testing.assert_allclose(dx[index], (sums[0] - sums[1]) / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"blocks": (3, 4, 6)}, r"ResNet: blocks must have 4 entries, got \[3, 4, 6\]"),
        ({"replace_stride_with_dilation": (True,)}, r"ResNet: replace_stride_with_dilation must have 3 entries"),
        ({"multi_grid": (1, 2)}, "ResNet: multi_grid must have 3 entries"),
        ({"width": 0}, "ResNet: width must be a whole number >= 1, got 0"),
        ({"blocks": (1, 0, 1, 1)}, "ResNet: blocks must be a whole number >= 1, got 0"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
