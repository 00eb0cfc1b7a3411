"""VGG: parameter counts and names of the public models, freezing, gradients."""

import numpy as np
import pytest

from nn.gradcheck import check_layer
from vision.backbones import VGG, small_vgg, vgg16
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
@pytest.mark.parametrize("frozen_layers", [0, 3])
def test_gradients(batch_norm, frozen_layers):
    rng = np.random.default_rng(2)
    model = VGG((2, POOL, 3), batch_norm=batch_norm, rng=rng)
    x = rng.standard_normal((2, 3, 6, 8))
    check_layer(model, x, complex_step=True, tolerance=1e-11)


def test_frozen_layers_get_no_gradient_and_are_not_trained():
    model = vgg16(frozen_layers=10, rng=np.random.default_rng(0))
    y, cache = model.forward(np.random.default_rng(1).standard_normal((1, 3, 32, 32)).astype(np.float32))
    model.backward(np.ones_like(y), cache)
    for name, parameter in model.parameters().items():
        frozen = int(name.split(".")[1]) < 10
        assert parameter.trainable != frozen
        assert (abs(parameter.grad).max() == 0) == frozen
    with pytest.raises(ValueError, match=r"frozen_layers must be in 0 \.\. 30"):
        vgg16(frozen_layers=31, rng=np.random.default_rng(0))
