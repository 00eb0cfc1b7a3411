"""The plain networks that are compared with recurrent attention: gradients, and the paper's sizes."""

import numpy as np
import pytest

import vision
from nn.gradcheck import check_contract, check_layer, check_model
from vision.classification import Grey

NAMES = ("mnist_fc", "mnist_conv")


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape)


def test_gradients_of_the_mean_of_the_channels():
    check_layer(Grey(4), normal(2, 3, 4, 4), complex_step=True, tolerance=1e-12)
    check_contract(Grey(4), (normal(2, 3, 4, 4),), (normal(1, 3, 4, 4),))


def test_the_mean_of_the_channels():
    x = normal(2, 3, 4, 4)
    np.testing.assert_allclose(Grey(4)(x)[:, 0], (x[:, 0] + x[:, 1] + x[:, 2]) / 3, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient(name, complex_step):
    model = vision.build(name, "abc", np.random.default_rng(3), short_side=15, max_side=15, hidden=4)
    rng = np.random.default_rng(4)
    for parameter_name, parameter in model.parameters().items():
        if parameter_name.endswith("bias"):
            parameter.value[...] = 0.3 * rng.standard_normal(parameter.value.shape)
    tolerance = 1e-10 if complex_step else 1e-6
    errors = check_model(
        model, (normal(2, 3, 15, 15), np.array([2, 0])), complex_step=complex_step, tolerance=tolerance
    )
    assert set(errors) == set(model.parameters())


@pytest.mark.parametrize("side", [28, 60])
def test_the_paper_s_sizes(side):
    """Sec. 4.1: two layers of 256 units; 8 filters of 10x10 with stride 5, then 256 units."""
    fc, conv = (vision.build(name, "0123456789", short_side=side, max_side=side) for name in NAMES)
    shapes = [[p.value.shape for p in model.parameters().values() if p.value.ndim > 1] for model in (fc, conv)]
    positions = {28: 4, 60: 11}[side] ** 2
    assert shapes[0] == [(256, side * side), (256, 256), (10, 256)]
    assert shapes[1] == [(8, 1, 10, 10), (256, 8 * positions), (10, 256)]
    images = np.random.default_rng(0).random((2, 3, side, side), np.float32)
    for model in (fc, conv):
        np.testing.assert_allclose(model.predict(images).sum(axis=1), 1, rtol=1e-5)
        again = vision.build(**model.config)
        again.load_state_dict(model.state_dict())
        np.testing.assert_array_equal(again.predict(images), model.predict(images))


@pytest.mark.parametrize("name", NAMES)
def test_mistakes_are_named(name):
    with pytest.raises(ValueError, match=f"{name}: there is no option 'width'; choose from: short_side"):
        vision.build(name, "ab", width=3)
    with pytest.raises(ValueError, match=r"Grey: images must have shape \(N, 3, 28, 28\), got \(1, 3, 30, 28\)"):
        vision.build(name, "ab").predict(np.zeros((1, 3, 30, 28)))
    with pytest.raises(ValueError, match="must be a whole number >= 1, got 0"):
        vision.build(name, "ab", hidden=0)
