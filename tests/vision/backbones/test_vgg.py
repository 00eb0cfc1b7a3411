"""VGG: parameter counts and names of the public models, dilation, gradients."""

import numpy as np
import pytest

import nn
from nn.gradcheck import check_layer
from vision.backbones import VGG, small_vgg, vgg16, vgg16_plan
from vision.backbones.vgg import POOL


def test_vgg16_is_the_published_one():
    model = vgg16(rng=np.random.default_rng(0))
    parameters = model.parameters()
    assert sum(p.value.size for p in parameters.values()) == 14_714_688  # 138,357,544 less the three linear layers
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # torchvision's indices
    assert list(parameters) == [f"features.{i}.{name}" for i in convolutions for name in ("weight", "bias")]
    assert (model.out_channels, model.stride) == (512, 16)


def test_small_vgg_has_torchvisions_batch_norm_names():
    model = small_vgg(width=4, stride=8, rng=np.random.default_rng(0))
    assert list(model.parameters())[:4] == [
        "features.0.weight",
        "features.0.bias",
        "features.1.weight",
        "features.1.bias",
    ]
    assert model.forward(np.zeros((1, 3, 45, 67), np.float32))[0].shape == (1, 32, 5, 8)  # odd sizes round down
    assert model.stride == 8
    finer = small_vgg(width=4, stride=4, rng=np.random.default_rng(0))
    assert finer.forward(np.zeros((1, 3, 45, 67), np.float32))[0].shape == (1, 32, 11, 16)
    assert finer.stride == 4
    with pytest.raises(ValueError, match="stride must be 4 or 8, got 5"):
        small_vgg(stride=5, rng=np.random.default_rng(0))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("options", [{}, {"pool_size": 3, "ceil_mode": True, "output_stride": 2}])
def test_gradients(batch_norm, options):
    rng = np.random.default_rng(2)
    model = VGG((2, POOL, 3, POOL, 2), batch_norm=batch_norm, **options, rng=rng)
    x = rng.standard_normal((2, 3, 6, 8))
    check_layer(model, x, complex_step=True, tolerance=1e-11)


def test_odd_sizes_round_down_or_up():
    x = np.zeros((1, 3, 9, 7), np.float32)
    for ceil_mode, size in ((False, (2, 1)), (True, (3, 2))):
        model = VGG(vgg16_plan(1, depth=2), ceil_mode=ceil_mode, rng=np.random.default_rng(0))
        assert model(x).shape[2:] == size


def test_from_the_output_stride_on_dilation_replaces_strides():
    """With the same weights every second position of the dense map is one of the map with all strides."""
    strided, dense = (
        VGG((2, POOL, 3, POOL, 2), pool_size=3, output_stride=stride, rng=np.random.default_rng(0))
        for stride in (None, 2)
    )
    assert (*strided.strides.values(),) == (1, 2, 2, 4, 4) and (*dense.strides.values(),) == (1, 2, 2, 2, 2)
    x = np.random.default_rng(1).random((1, 3, 48, 40), np.float32)
    np.testing.assert_allclose(dense(x)[:, :, ::2, ::2], strided(x), rtol=1e-5)
    deeper = VGG((1, POOL, 1, POOL, 1, POOL, 1), pool_size=3, output_stride=2, rng=np.random.default_rng(0))
    convolutions = [layer.geometry for layer in deeper.body if isinstance(layer, nn.Conv2d)]
    assert [(g.dilation[0], g.padding[0]) for g in convolutions] == [(1, 1), (1, 1), (2, 2), (4, 4)]


def test_plans():
    assert vgg16_plan(2, 2) == [2, 2, "pool", 4, 4, "pool"]
    assert vgg16_plan()[-4:] == [512, 512, 512, "pool"]
    with pytest.raises(ValueError, match=r"a VGG has 5 poolings, depth must be in 1 .. 5, got 0"):
        vgg16_plan(depth=0)


def test_blocks_have_no_poolings():
    vgg = VGG(vgg16_plan(1), rng=np.random.default_rng(0))
    assert [len(block) for block in vgg.blocks] == [4, 4, 6, 6, 6]
    assert vgg.blocks[1][0] is vgg["features.5"]
    vgg = VGG(vgg16_plan(1), batch_norm=True, rng=np.random.default_rng(0))
    assert [len(block) for block in vgg.blocks] == [6, 6, 9, 9, 9]
