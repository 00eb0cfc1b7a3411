"""PReLU element by element, and the gradients of its slopes. Tests of all activations are in test_activation.py."""

import math
from fractions import Fraction

import numpy as np
import pytest

from nn.config import config
from nn.layers.activation import LeakyReLU
from nn.layers.prelu import PReLU


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 3), (1, 3, 7), (0, 3, 2), (3, 3, 130, 150)])
@pytest.mark.parametrize("num_parameters", [1, 3])
def test_element_by_element(num_parameters, shape):
    rng = np.random.default_rng(75)
    layer = PReLU(num_parameters).astype(np.float64)
    layer.weight.value[...] = [0.3, -0.7, 1.6][:num_parameters]
    x, dy = rng.normal(size=(2, *shape))
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    dweight = [0.0] * num_parameters
    for index in np.ndindex(shape) if x.size < 1000 else [tuple(i) for i in rng.integers(0, shape, (300, len(shape)))]:
        c = index[1] if num_parameters > 1 else 0
        slope = 1 if x[index] > 0 else layer.weight.value[c]
        assert y[index] == slope * x[index] and dx[index] == slope * dy[index]
        dweight[c] += min(x[index], 0) * dy[index]
    if x.size < 1000:
        np.testing.assert_allclose(layer.weight.grad, dweight, rtol=1e-12, atol=1e-13)
    layer.backward(dy, cache)
    negative = np.minimum(x, 0) * dy
    wanted = negative.sum(axis=(0, *range(2, x.ndim))) if num_parameters > 1 else [negative.sum()]
    np.testing.assert_allclose(layer.weight.grad, 2 * np.array(wanted), rtol=1e-11, atol=1e-12)  # gradients add up


def test_starts_at_init_and_is_leaky_relu():
    assert PReLU().weight.value.tolist() == [0.25] and PReLU(4, init=0.1).weight.value.shape == (4,)
    x = np.random.default_rng(76).normal(size=(4, 5)).astype(np.float32)
    (y, cache), (wanted, wanted_cache) = PReLU(5, 0.125).forward(x), LeakyReLU(0.125).forward(x)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(PReLU(5, 0.125).backward(x, cache), LeakyReLU(0.125).backward(x, wanted_cache))


def test_of_a_single_number():
    layer = PReLU(init=0.5).astype(np.float64)
    y, cache = layer.forward(np.array(-2.0))
    assert y == -1 and y.shape == ()
    assert layer.backward(np.array(3.0), cache) == 1.5 and layer.weight.grad.tolist() == [-6]


def test_example():
    """By hand, in fractions: y, dx and the slope's gradient of four numbers."""
    layer = PReLU(init=0.5).astype(np.float64)
    y, cache = layer.forward(np.array([[-4.0, 2.0], [-1.0, 0.0]]))
    assert y.tolist() == [[-2, 2], [-0.5, 0]]
    assert layer.backward(np.array([[3.0, 5.0], [8.0, 7.0]]), cache).tolist() == [[1.5, 5], [4, 3.5]]
    assert Fraction(layer.weight.grad[0]) == -4 * 3 + -1 * 8


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: PReLU(0), "PReLU: num_parameters must be a whole number >= 1, got 0"),
        (lambda: PReLU(2, init=math.nan), "PReLU: init must be a finite number, got nan"),
    ],
)
def test_bad_constructor_arguments(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()


def test_wants_its_channels():
    with pytest.raises(ValueError, match=r"^PReLU: x must have shape \(N, 4, None\), got \(2, 3, 5\)$"):
        PReLU(4).forward(np.zeros((2, 3, 5)))
    with pytest.raises(ValueError, match=r"^PReLU: x must have shape \(N, 4\), got \(4,\)$"):
        PReLU(4).forward(np.zeros(4))
