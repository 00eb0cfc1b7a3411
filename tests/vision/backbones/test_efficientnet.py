"""EfficientNet: the table of the paper, the rounding of its code, stages, drop-connect."""

import numpy as np
import pytest

from nn import DropPath, SiLU
from nn.gradcheck import check_contract
from vision.backbones import EfficientNet
from vision.backbones.efficientnet import Blocks, MBConv, scaled_channels, scaled_repeats


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def small(**options):
    return EfficientNet(**{"width": 0.1, "depth": 0.5} | options, rng=np.random.default_rng(0))


def test_channels_of_the_authors_rounding():
    """round_filters of the authors' code: B2 has a stem of 32, B3 of 40, a head of 1408 and 1536."""
    assert [scaled_channels(32, w) for w in (1.0, 1.1, 1.2, 1.4, 2.0)] == [32, 32, 40, 48, 64]
    assert [scaled_channels(1280, w) for w in (1.1, 1.2, 1.8)] == [1408, 1536, 2304]
    assert [scaled_channels(c, 1.4) for c in (16, 24, 40, 80, 112, 192, 320)] == [24, 32, 56, 112, 160, 272, 448]
    assert scaled_channels(1, 0.1) == 8
    assert scaled_channels(20, 1.0) == 24  # 16 would be a fifth less
    assert [scaled_repeats(n, 1.4) for n in (1, 2, 3, 4)] == [2, 3, 5, 6]


def test_table_1():
    """Resolution, channels and layers of each stage of B0; the last row of the paper has 1280 channels at 7x7."""
    backbone = EfficientNet(rng=np.random.default_rng(0))
    assert backbone.names == ("stem", *(f"stage{i}" for i in range(1, 8)), "head")
    assert list(backbone.channels.values()) == [32, 16, 24, 40, 80, 112, 192, 320, 1280]
    assert [224 // s for s in backbone.strides.values()] == [112, 112, 56, 28, 14, 14, 7, 7, 7]
    assert sum(name.startswith("_blocks") for name, _ in backbone.children()) == 16
    maps, _ = backbone.forward_stages(np.zeros((1, 3, 64, 64), np.float32), training=False)
    assert [m.shape[1:] for m in maps] == [
        (c, 64 // s, 64 // s) for c, s in zip(backbone.channels.values(), backbone.strides.values())
    ]


def test_odd_sizes_are_rounded_up():
    maps, _ = small().forward_stages(np.zeros((1, 3, 33, 65), np.float32), training=False)
    assert [m.shape[2:] for m in maps[:4]] == [(17, 33), (17, 33), (9, 17), (5, 9)]


def test_drop_connect_rises_with_the_block():
    backbone = small(drop_connect=0.4, depth=1.0)
    rates = {n.split(".")[1]: layer.p for n, layer in backbone.layers() if isinstance(layer, DropPath)}
    whole = [2, 4, 6, 7, 9, 10, 12, 13, 14]  # not the first of a stage
    assert {k: pytest.approx(0.4 * int(k) / 16) for k in rates} == rates
    assert set(map(int, rates)) >= set(whole)
    assert not any(isinstance(layer, DropPath) for _, layer in small(drop_connect=0.0).layers())
    assert len(backbone.generators()) == len(rates)  # a checkpoint holds their state


def test_lite_keeps_stem_head_and_the_ends():
    big = EfficientNet(1.4, 1.8, lite=True, rng=np.random.default_rng(0))
    assert (big.channels["stem"], big.channels["head"]) == (32, 1280)
    repeats = [part.children() for part in big.parts.values()]
    counts = [sum(isinstance(layer, MBConv) for _, layer in children) for children in repeats]
    assert counts == [0, 1, 4, 4, 6, 6, 8, 1, 0]
    assert not any("_se_" in name for name in big.parameters())


def test_a_block_by_its_parts():
    """With stride 2, 5x5: the image is padded by 1 before and 2 after where its size is even."""
    row = Blocks(1, 5, 2, 3, 6)
    block = MBConv(4, row, 2, SiLU, True, 0.0, 0.01, rng=np.random.default_rng(0)).astype(np.float64)
    x = normal(2, 4, 6, 8)
    p = block.state_dict()
    inv = 1 / np.sqrt(1 + 1e-3)  # running statistics are 0 and 1

    def silu(a):
        return a / (1 + np.exp(-a))

    h = silu(inv * np.einsum("oc,nchw->nohw", p["_expand_conv.weight"][:, :, 0, 0], x))
    padded, d = np.pad(h, ((0, 0), (0, 0), (1, 2), (1, 2))), np.zeros((2, 12, 3, 4))
    for r in range(3):
        for c in range(4):
            window = padded[:, :, 2 * r : 2 * r + 5, 2 * c : 2 * c + 5]
            d[:, :, r, c] = (window * p["_depthwise_conv.weight"][:, 0]).sum((2, 3))
    d = silu(inv * d)
    s = silu(d.mean((2, 3)) @ p["_se_reduce.weight"][:, :, 0, 0].T + p["_se_reduce.bias"])
    gate = 1 / (1 + np.exp(-(s @ p["_se_expand.weight"][:, :, 0, 0].T + p["_se_expand.bias"])))
    y = inv * np.einsum("oc,nchw->nohw", p["_project_conv.weight"][:, :, 0, 0], d * gate[:, :, None, None])
    np.testing.assert_allclose(block(x), y, rtol=1e-10, atol=1e-12)


def test_contract_with_dropped_blocks():
    check_contract(small(drop_connect=0.5), (normal(3, 3, 32, 32),), (normal(2, 3, 33, 40),))


def test_shifts_that_nothing_sees_are_not_learned_and_no_others():
    """B1 has two blocks in stage 1: the second begins with a depthwise convolution, whose borders of 0 see a shift."""
    backbone, x = small(depth=1.1, drop_connect=0.0).up_to("stage3").astype(np.float64), normal(2, 3, 32, 32)
    before = backbone.forward(x)[0]
    for number, seen in enumerate([True, False, False, False, False]):
        bias = backbone.parameters()[f"_blocks.{number}._bn2.bias"]
        bias.value[...] += 1
        assert (abs(backbone.forward(x)[0] - before).max() > 1e-9) == bias.trainable == seen
        bias.value[...] -= 1


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": -1}])
def test_bad_scaling(options):
    with pytest.raises(ValueError, match="EfficientNet: width and depth must be above 0, got"):
        small(**options)
