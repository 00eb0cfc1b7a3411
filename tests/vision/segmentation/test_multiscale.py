"""The multi-scale network: its pyramid and local normalisation by hand, one set of weights for three bands."""

import numpy as np
import pytest

from nn.gradcheck import check_contract, check_layer
from tests.vision.segmentation.systems import (
    check_gradients,
    check_image_gradient,
    count,
    normal,
    overfit,
    pooled,
    small,
)
from vision.segmentation import MultiScaleNet
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.laplacian_pyramid import LaplacianPyramid, LocalContrastNorm, halving


def tiny(**options):
    return small("multiscale_small", **{"width": 1, "hidden": 3, "kernel_size": 3} | options)


def test_parameters():
    """Three 7x7 convolutions to 16, 64 and 256 channels, shared by all scales, 768 channels per position (sec. 3.1)."""
    network = MultiScaleNet(8, rng=np.random.default_rng(0))
    net = (49 * 3 * 16 + 16) + (49 * 16 * 64 + 64) + (49 * 64 * 256 + 256)
    assert count(network.net) == net == 855_680
    assert count(network) == net + (768 * 1024 + 1024) + (1024 * 8 + 8)
    assert [*network.parameters()][:2] == ["net.0.weight", "net.0.bias"]


def test_halving():
    np.testing.assert_allclose(halving(6) * 8, [[24 / 7, 24 / 7, 8 / 7, 0, 0, 0], [0, 1, 3, 3, 1, 0],
                                                [0, 0, 0, 8 / 7, 24 / 7, 24 / 7]])  # fmt: skip
    assert halving(5).shape == (3, 5) and halving(1).shape == (1, 1)
    np.testing.assert_allclose(
        halving(64) @ (np.arange(64) + 0.5) / 2, np.arange(32) + 0.5, atol=0.2
    )  # centres of the blocks


@pytest.mark.parametrize("size", [(16, 20), (13, 7)])
def test_bands_reconstruct_the_image(size):
    """g_s = band s + enlarged g_{s+1}, from the top of the pyramid down."""
    x = normal(2, 3, *size)
    bands, _ = LaplacianPyramid(3).forward(x)
    assert [b.shape[2:] for b in bands] == [tuple(-(-n // 2**s) for n in size) for s in range(3)]
    image = bands[-1]
    for band in bands[-2::-1]:
        image = band + Enlarge(2).forward(image, band.shape[2:])[0]
    np.testing.assert_allclose(image, x, rtol=1e-12, atol=1e-12)


def test_a_smooth_image_is_all_in_the_top_band():
    rows = np.broadcast_to(np.linspace(0, 1, 64)[:, None], (1, 1, 64, 64))
    bands, _ = LaplacianPyramid(3).forward(rows.copy())
    assert abs(bands[0][:, :, 4:-4]).max() < 1e-12 < abs(bands[2]).max()


@pytest.mark.parametrize("levels", [1, 3])
def test_gradient_of_the_pyramid(levels):
    layer, x = LaplacianPyramid(levels), normal(1, 2, 7, 10)
    bands, cache = layer.forward(x)
    dbands = [normal(*band.shape, seed=s) for s, band in enumerate(bands)]
    dx = layer.backward(dbands, cache)
    other = normal(1, 2, 7, 10, seed=5)  # linear: <dbands, bands of another image> = <dx, the other image>
    wanted = sum((d * b).sum() for d, b in zip(dbands, layer.forward(other)[0]))
    assert (dx * other).sum() == pytest.approx(wanted, rel=1e-12)


def test_local_contrast_by_hand():
    x, y = normal(1, 2, 6, 9), np.zeros((1, 2, 6, 9))
    for r in range(6):
        for c in range(9):
            around = x[:, :, max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
            y[:, :, r, c] = (x[:, :, r, c] - around.mean(axis=(2, 3))) / np.sqrt(around.var(axis=(2, 3)) + 0.1)
    layer = LocalContrastNorm(3, eps=0.1)
    np.testing.assert_allclose(layer(x), y, rtol=1e-10, atol=1e-12)
    check_layer(layer, x)
    check_contract(layer, (x,), (x[:, :, :3],))


def test_one_network_on_three_bands():
    """Band by band: normalised, through the network, enlarged, stacked, classified, enlarged."""
    network = tiny().network.astype(np.float64)
    x = normal(1, 3, 22, 26)
    maps = [network.net(LocalContrastNorm()(band)) for band in LaplacianPyramid(3).forward(x)[0]]
    assert [m.shape[1:] for m in maps] == [(16, 6, 7), (16, 3, 4), (16, 2, 2)]
    maps = [Enlarge(2**s).forward(m, (6, 7))[0] for s, m in enumerate(maps)]
    small_scores = network.classifier(np.concatenate(maps, axis=1))
    np.testing.assert_allclose(network(x), Enlarge(4).forward(small_scores, (22, 26))[0], rtol=1e-12)


def normalised(x):
    """(x - mean) / sqrt(variance + 0.01), both over 15 x 15 pixels."""
    y = np.zeros_like(x)
    for r, c in np.ndindex(x.shape[2:]):
        around = x[:, :, max(r - 7, 0) : r + 8, max(c - 7, 0) : c + 8]
        y[:, :, r, c] = (x[:, :, r, c] - around.mean(axis=(2, 3))) / np.sqrt(around.var(axis=(2, 3)) + 0.01)
    return y


def test_the_network_by_hand():
    """Layer by layer, with the paper's sizes: windows of 15, tanh, 2x2 pooling."""
    network = tiny().network.astype(np.float64)
    a, b, c = (network.net[i] for i in (0, 3, 6))
    d, e = (network.classifier[i] for i in (0, 2))
    x, maps = normal(1, 3, 22, 26), []
    for s, band in enumerate(LaplacianPyramid(3).forward(x)[0]):
        y = c(pooled(np.tanh(b(pooled(np.tanh(a(normalised(band))))))))
        maps.append(Enlarge(2**s).forward(y, (6, 7))[0])
    scores = e(np.tanh(d(np.concatenate(maps, axis=1))))
    np.testing.assert_allclose(network(x), Enlarge(4).forward(scores, (22, 26))[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scales", [1, 3])
def test_every_gradient_of_the_whole_model(scales):
    check_gradients(tiny(scales=scales), (17, 20))


def test_gradient_of_the_images_and_contract():
    network = tiny().network
    check_contract(network, (normal(2, 3, 17, 20),), (normal(1, 3, 9, 12),))
    check_image_gradient(network, (17, 20), [(0, 0, 0), (1, 8, 9), (2, 16, 19)])


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=4, hidden=32, kernel_size=5), 80, lr=0.01, size=32)
    assert fallen < 0.1 and right > 0.95


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(kernel_size=4), "MultiScaleNet: kernel_size must be odd, got 4"),
        (lambda: tiny(scales=0), "MultiScaleNet: scales must be a whole number >= 1, got 0"),
        (lambda: LocalContrastNorm(eps=0), "LocalContrastNorm: eps must be > 0, got 0"),
        (lambda: tiny().network(normal(1, 1, 8, 8)), r"MultiScaleNet: images must have shape \(N, 3, H, W\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
