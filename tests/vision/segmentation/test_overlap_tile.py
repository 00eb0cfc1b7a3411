"""Every pixel gets logits, tiles are seamless, and gradients flow back through the mirrored border."""

import numpy as np
import pytest

from nn.gradcheck import check_contract, check_layer
from vision.segmentation import OverlapTile, UNet
from vision.segmentation.overlap_tile import mirrored


def make(tile=388, depth=2, seed=0):
    net = UNet(2, 3, width=2, depth=depth, dropout=0.0, rng=np.random.default_rng(seed))
    rng = np.random.default_rng(4)
    for name, parameter in net.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.2 * rng.standard_normal(parameter.value.shape)
    return OverlapTile(net, tile)


def images(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def test_the_paper_s_tile():
    """572 x 572 in, 388 x 388 out: 92 pixels of border; tiles 384 apart, as four poolings halve 16 pixels."""
    layer = OverlapTile(UNet(width=1, rng=np.random.default_rng(0)))
    assert (layer.input, layer.tile, layer.border, layer.step) == (572, 388, 92, 384)


@pytest.mark.parametrize("size, tile", [((37, 50), 12), ((37, 50), 20), ((8, 70), 16), ((21, 21), 20)])
def test_tiles_are_seamless(size, tile):
    """Tile by tile gives the same as the whole image at once."""
    x = images(2, 2, *size)
    whole, tiled = make(tile=96), make(tile=tile)
    assert max(size) > tiled.tile and max(size) <= whole.tile
    np.testing.assert_allclose(tiled(x), whole(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(tiled.forward(x)[0], whole(x), rtol=1e-9, atol=1e-12)  # training: whole


def test_the_image_is_mirrored_at_the_border():
    """The output is that of the network on an image padded by NumPy's reflection, by the border that it loses."""
    x, layer = images(1, 2, 20, 28), make()
    border = layer.border
    assert border == 20
    assert layer.network.input_size(20, 28) == (60, 68)
    padded = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)), mode="reflect")
    np.testing.assert_array_equal(layer(x), layer.network(padded))
    assert layer(images(1, 2, 17, 3)).shape == (1, 3, 17, 3)  # mirrored several times


@pytest.mark.parametrize("n", [1, 2, 5])
def test_mirrored(n):
    np.testing.assert_array_equal(mirrored(-7, 20, n), np.pad(np.arange(n), (7, 13 - n), mode="reflect"))
    np.testing.assert_array_equal(mirrored(3, 4, n), mirrored(-7, 20, n)[10:14])


@pytest.mark.parametrize("complex_step", [True, False])
def test_gradients(complex_step):
    check_layer(make(depth=1), images(1, 2, 3, 4), complex_step=complex_step, tolerance=1e-12 if complex_step else 1e-6)


def test_contract():
    check_contract(make(depth=1), (images(2, 2, 6, 9),), (images(1, 2, 4, 4),))


def test_a_small_tile_is_a_pixel_of_the_lowest_level():
    """Depth 3 has outputs of 4, 12, 20, ... pixels; tiles must begin at multiples of 8."""
    assert (make(tile=1, depth=3).tile, make(tile=1, depth=3).step) == (12, 8)
    with pytest.raises(ValueError, match="OverlapTile: the network's padding must be 'valid', got 'same'"):
        OverlapTile(UNet(2, 3, width=2, depth=2, padding="same", rng=np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"OverlapTile: images must have shape \(N, 2, H, W\), got \(2, 8, 8\)"):
        make()(images(2, 8, 8))
    with pytest.raises(ValueError, match="OverlapTile: tile must be a whole number >= 1, got 0"):
        make(tile=0)
