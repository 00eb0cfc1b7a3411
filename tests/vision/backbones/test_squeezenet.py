"""The Fire module of SqueezeNet: its equation and gradients. (The network: tests/vision/classification.)"""

import numpy as np

from nn.gradcheck import check_contract, check_layer
from vision.backbones.squeezenet import Fire


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def fire():
    """With biases that are not 0, so that no ReLU is at its kink."""
    rng, layer = np.random.default_rng(4), Fire(3, 2, rng=np.random.default_rng(0))
    for name, parameter in layer.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.3 * rng.standard_normal(parameter.value.shape)
    return layer


def test_fire_is_its_equation():
    layer, x = fire(), normal(2, 3, 4, 5)
    s = np.maximum(layer.squeeze(x), 0)
    wanted = np.concatenate([np.maximum(layer.expand1x1(s), 0), np.maximum(layer.expand3x3(s), 0)], axis=1)
    np.testing.assert_array_equal(layer(x), wanted)
    assert list(layer.parameters()) == [
        f"{conv}.{p}" for conv in ("squeeze", "expand1x1", "expand3x3") for p in ("weight", "bias")
    ]


def test_gradients_of_a_fire_module():
    check_layer(fire(), normal(2, 3, 4, 5), complex_step=True, tolerance=1e-12)
    check_layer(fire(), normal(2, 3, 4, 5), tolerance=1e-7)
    check_contract(fire(), (normal(2, 3, 4, 5),), (normal(1, 3, 1, 2),))
