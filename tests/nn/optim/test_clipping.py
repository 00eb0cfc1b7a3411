"""Clipping by the common norm: the norm in float64, one factor for all, ties and frozen parameters."""

import math

import numpy as np
import pytest

from nn.config import config
from nn.layer import Parameter
from nn.optim.clipping import clip_gradient_norm


@pytest.fixture(autouse=True, params=[False, True], ids=["default", "plain"])
def plain(request, monkeypatch):
    """Every test with the blocks of nn/cpu and with the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


def test_clip_gradient_norm():
    parameters = {"a": Parameter(np.zeros(2, np.float32)), "b": Parameter(np.zeros((1, 1), np.float32))}

    def reset():
        parameters["a"].grad[...], parameters["b"].grad[...] = [3, -4], 12
        return [parameter.grad for parameter in parameters.values()]

    grads = reset()
    assert clip_gradient_norm(parameters, 20) == 13.0 and grads[0].tolist() == [3, -4]
    assert clip_gradient_norm(parameters, math.inf) == 13.0 and grads[1].item() == 12
    assert clip_gradient_norm(parameters, 6.5) == 13.0
    assert grads[0].tolist() == [1.5, -2] and grads[1].item() == 6 and grads[0].dtype == np.float32
    assert parameters["a"].grad is grads[0]

    reset()
    assert clip_gradient_norm({**parameters, "tied": parameters["b"]}, 6.5) == 13.0 and grads[1].item() == 6
    reset()
    parameters["b"].trainable = False
    assert clip_gradient_norm(parameters, 1) == 5.0 and grads[1].item() == 12
    np.testing.assert_allclose(grads[0], [0.6, -0.8], rtol=1e-6)
    assert clip_gradient_norm({}, 1) == 0.0


def test_the_norm_of_large_arrays_and_large_float32_gradients():
    parameter = Parameter(np.zeros((300, 500), np.float32))
    parameter.grad[...] = np.random.default_rng(0).normal(size=(300, 500))
    expected = math.sqrt(math.fsum(float(g) ** 2 for g in parameter.grad.ravel()))
    assert clip_gradient_norm({"w": parameter}, math.inf) == pytest.approx(expected, rel=1e-12)
    parameter.grad[...] = 1e30  # its square is no float32
    assert clip_gradient_norm({"w": parameter}, 1) == pytest.approx(math.sqrt(150000) * 1e30, rel=1e-6)
    np.testing.assert_allclose(parameter.grad, 1 / math.sqrt(150000), rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_is_returned_and_nothing_is_scaled(bad):
    parameters = {"a": Parameter(np.zeros(3)), "b": Parameter(np.zeros(2))}
    parameters["a"].grad[...] = [1, bad, 5]
    parameters["b"].grad[...] = 100
    norm = clip_gradient_norm(parameters, 1)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    assert np.array_equal(parameters["a"].grad, [1, bad, 5], equal_nan=True)
    assert parameters["b"].grad.tolist() == [100, 100]


def test_a_bad_norm():
    with pytest.raises(ValueError, match="clip_gradient_norm: max_norm must be positive, got 0"):
        clip_gradient_norm({"w": Parameter(np.zeros(3))}, 0)
