"""Residual blocks: the equation of every form, gradients, shortcuts."""

import numpy as np
import pytest

from nn.gradcheck import check_contract, check_layer
from tests.vision.classification.helpers import normal, off_the_start
from vision.backbones import BasicBlock, Bottleneck, PaddedShortcut, Style

PADDED = Style(shortcut="A", name="shortcut")


SHORTCUTS = [(3, 6, 2), (2, 4, 1), (3, 4, 3), (2, 7, 2), (3, 3, 2)]


@pytest.mark.parametrize("channels, out_channels, stride", SHORTCUTS)
def test_shortcut(channels, out_channels, stride):
    x = normal(2, channels, 5, 8)
    layer = PaddedShortcut(channels, out_channels, stride)
    y = layer(x)
    before = (out_channels - channels) // 2
    assert y.shape == (2, out_channels, -(-5 // stride), -(-8 // stride))
    for index in np.ndindex(y.shape):
        n, c, i, j = index
        inside = before <= c < before + channels
        assert y[index] == (x[n, c - before, i * stride, j * stride] if inside else 0)
    check_layer(layer, x, complex_step=True, tolerance=1e-12)
    check_contract(layer, (x,), (normal(1, channels, 3, 1),))


def test_shortcut_of_the_published_code():
    """F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4)): 16 zeros, 32 channels, 16 zeros."""
    x = normal(1, 32, 4, 4)
    np.testing.assert_array_equal(
        PaddedShortcut(32, 64, 2)(x), np.pad(x[:, :, ::2, ::2], ((0, 0), (16, 16), (0, 0), (0, 0)))
    )


@pytest.mark.parametrize("channels, out_channels, stride", [(3, 3, 1), (2, 4, 2), (3, 5, 1), (2, 2, 2)])
def test_gradients_of_a_block(channels, out_channels, stride):
    block = off_the_start(BasicBlock(channels, out_channels, stride, 1, PADDED, rng=np.random.default_rng(2)))
    x = normal(2, channels, 5, 6)
    for training in (True, False):
        check_layer(block, x, complex_step=True, tolerance=1e-11, training=training)
        check_layer(block, x, tolerance=1e-6, training=training)
    check_contract(block, (x,), (normal(3, channels, 4, 7),))


def test_a_block_is_its_equation():
    block = off_the_start(BasicBlock(2, 4, 2, 1, PADDED, rng=np.random.default_rng(2)))
    x = normal(2, 2, 5, 6)
    inner = block["conv2"](np.maximum(block["bn1"](block["conv1"](x)), 0))
    np.testing.assert_array_equal(block(x), np.maximum(block["bn2"](inner) + block["shortcut"](x), 0))


STYLES = [
    Style(shortcut, form, reduction)
    for shortcut in "ABC"
    for form in ("residual", "plain", "pre_activation")
    for reduction in (0, 2)
]


def equation(block, style, x, first):
    """y of a block with two convolutions, written out."""
    h, relu, named = x, lambda a: np.maximum(a, 0), block.named
    shortcut = named.get(style.name, lambda a: a)
    excite = named.get("se", lambda a: a)
    if style.form == "pre_activation":
        h = relu(named["bn1"](x))
        fork = h if first or style.name in named else x
        return excite(named["conv2"](relu(named["bn2"](named["conv1"](h))))) + shortcut(fork)
    h = excite(named["bn2"](named["conv2"](relu(named["bn1"](named["conv1"](h))))))
    return relu(h if style.form == "plain" else h + shortcut(x))


@pytest.mark.parametrize("style", STYLES, ids=lambda s: f"{s.shortcut}-{s.form}-{s.reduction}")
@pytest.mark.parametrize("channels, stride, first", [(3, 1, False), (3, 1, True), (2, 2, True)])
def test_equation_and_gradients_of_every_style(style, channels, stride, first):
    block = off_the_start(BasicBlock(channels, 3, stride, 1, style, first, rng=np.random.default_rng(2)))
    x = normal(2, channels, 5, 4)
    np.testing.assert_allclose(block(x), equation(block, style, x, first), rtol=1e-12)
    check_layer(block, x, complex_step=True, tolerance=1e-11)


@pytest.mark.parametrize("form", ["residual", "plain", "pre_activation"])
def test_gradients_of_bottlenecks(form):
    block = off_the_start(Bottleneck(3, 2, 2, 1, Style("B", form, 4), rng=np.random.default_rng(2)))
    check_layer(block, normal(2, 3, 5, 4), complex_step=True, tolerance=1e-11)
    check_contract(block, (normal(2, 3, 5, 4),), (normal(3, 3, 4, 7),))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PaddedShortcut(4, 3, 1), "out_channels=3 must be >= in_channels=4"),
        (lambda: PaddedShortcut(4, 5, 0), "stride must be a whole number >= 1, got 0"),
        (lambda: PaddedShortcut(4, 5, 1)(np.zeros((1, 3, 2, 2))), r"PaddedShortcut: x must have shape \(N, 4, H, W\)"),
        (
            lambda: PaddedShortcut(4, 5, 2).backward(np.zeros((1, 5, 2, 2)), (1, 4, 3, 5)),
            r"PaddedShortcut: dy must have shape \(1, 5, 2, 3\), got \(1, 5, 2, 2\)",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
