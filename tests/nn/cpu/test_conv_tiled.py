"""The tiled convolution against the textbook, for tiles of any size, and how it cuts a batch into tiles."""

import numpy as np
import pytest

from nn.cpu import conv_tiled
from nn.layers import conv
from nn.layers.windows import Geometry
from tests.nn.layers.test_conv import SHAPES


def example(shape, kernel, options):
    """x, weight, dy, two biases and the geometry, in float64."""
    (n, c, h, w, o), rng = shape, np.random.default_rng(53)
    pairs = {name: np.broadcast_to(options.get(name, i), 2).tolist() for name, i in (("stride", 1), ("padding", 0))}
    pairs["dilation"] = np.broadcast_to(options.get("dilation", 1), 2).tolist()
    g = Geometry(tuple(np.broadcast_to(kernel, 2).tolist()), *map(tuple, pairs.values()), options.get("groups", 1))
    shapes = (n, c, h, w), (o, c // g.groups, *g.kernel), (n, o, *g.output_size("", h, w)), (o,), (c,)
    return *(rng.standard_normal(s) for s in shapes), g


def all_three(ops, x, weight, dy, bias, bias_of_dx, g):
    return (
        ops.conv2d(x, weight, g, dy.shape[2:], bias),
        ops.conv2d_input_gradient(dy, weight, g, x.shape[2:], bias_of_dx),
        ops.conv2d_weight_gradient(dy, x, weight.shape, g),
    )


# all rows of the kernel together mostly or never, and so with the ways for few outputs
@pytest.mark.parametrize("tile, wide, few", [(1 << 17, 0.75, 0.8), (60, 100, 0), (1, 0, 0.99)])
@pytest.mark.parametrize("shape, kernel, options", SHAPES)
def test_equals_the_textbook(shape, kernel, options, tile, wide, few, monkeypatch):
    for name in ("TILE", "ONCE", "SPREAD"):
        monkeypatch.setattr(conv_tiled, name, tile)
    monkeypatch.setattr(conv_tiled, "WIDE", wide)
    monkeypatch.setattr(conv_tiled, "FEW", few)
    monkeypatch.setattr(conv_tiled, "RUN", min(tile, conv_tiled.RUN))
    x, weight, dy, *rest = example(shape, kernel, options)
    wanted = all_three(conv, x, weight, dy, *rest)
    spread = [np.repeat(a, 2, axis=3)[..., ::2] for a in (x, weight, dy)]  # the same values, not contiguous
    turned = [a.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0) for a in (x, weight, dy)]
    for arrays in ((x, weight, dy), spread, turned):
        for name, a, b in zip(("y", "dx", "dweight"), all_three(conv_tiled, *arrays, *rest), wanted):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11, err_msg=name)


def test_tiles_cut_images_cover_every_row_and_take_small_images_together(monkeypatch):
    def tiles(*args):
        return [((i.start, i.stop), (r.start, r.stop)) for i, r in conv_tiled.tiles(*args)]

    monkeypatch.setattr(conv_tiled, "RUN", 1)
    monkeypatch.setattr(conv_tiled, "SMALL", 1)
    two_rows = 2 * 18 * 7  # of 7 columns, 18 elements high
    assert tiles(2, 18, 5, 7, two_rows) == [((i, i + 1), rows) for i in (0, 1) for rows in ((0, 2), (2, 4), (4, 5))]
    assert tiles(1, 18, 3, 7, 1) == [((0, 1), (0, 1)), ((0, 1), (1, 2)), ((0, 1), (2, 3))]
    many = 1000 * 18  # images of 21 positions
    assert [r for _, r in tiles(17, 18, 3, 7, many)] == [(0, 3)] * 10  # 2 images at most, so 9; made even
    assert [i for i, _ in tiles(17, 18, 3, 7, many)] == [(17 * k // 10, 17 * (k + 1) // 10) for k in range(10)]
    assert tiles(0, 18, 3, 7, many) == []
    monkeypatch.setattr(conv_tiled, "SMALL", 4 * 18 * 21)  # four images at least, but two tiles
    assert [i for i, _ in tiles(17, 18, 3, 7, many)] == [(17 * k // 6, 17 * (k + 1) // 6) for k in range(6)]
    assert [i for i, _ in tiles(6, 18, 3, 7, many)] == [(0, 3), (3, 6)]
    assert [i for i, _ in tiles(1, 18, 3, 7, many)] == [(0, 1)]


@pytest.mark.parametrize(
    "options, rotated",
    [
        ({"padding": (2, 1), "dilation": (1, 2)}, True),  # reach 2 * 1 - 2 = 0 and 1 * 2 - 1 = 1
        ({"padding": (3, 1)}, False),
        ({"padding": (2, 2)}, False),
        ({"stride": (1, 2)}, False),
        ({"groups": 2}, True),
    ],
)
def test_dx_with_stride_1_is_a_convolution_unless_padding_is_beyond_the_kernel(options, rotated, monkeypatch):
    called = []
    original = conv_tiled._rotated
    monkeypatch.setattr(conv_tiled, original.__name__, lambda *a: called.append(1) or original(*a))
    values = example((2, 4, 7, 6, 2), (3, 2), options)
    for a, b in zip(all_three(conv_tiled, *values), all_three(conv, *values)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11)
    assert bool(called) == rotated
