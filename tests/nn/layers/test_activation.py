"""Elementwise non-linearities against their formulas in Python's own numbers, near 0 and far from it."""

import math

import numpy as np
import pytest

from nn.config import config
from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh, sigmoid
from nn.layers.prelu import PReLU
from nn.layers.relu6 import ReLU6

LAYERS = [(ReLU(), 0.0), (LeakyReLU(), 0.01), (LeakyReLU(0.3), 0.3), (LeakyReLU(0), 0.0)]


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5), (0, 4), (), (3, 300, 200)])
@pytest.mark.parametrize("layer, slope", LAYERS)
def test_values_and_gradients(layer, slope, shape):
    rng = np.random.default_rng(70)
    x, dy = np.asarray(rng.normal(size=shape)), np.asarray(rng.normal(size=shape))
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    wanted = [v if v > 0 else slope * v for v in x.ravel()]
    np.testing.assert_allclose(np.ravel(y), wanted, rtol=1e-15)
    np.testing.assert_allclose(np.ravel(dx), [d if v > 0 else slope * d for v, d in zip(x.ravel(), dy.ravel())])
    assert np.shape(y) == np.shape(dx) == shape


@pytest.mark.parametrize("layer, slope", LAYERS)
def test_at_zero_at_infinity_and_at_nan(layer, slope):
    x = np.array([0.0, -0.0, np.inf, np.nan, 1e-300])
    with np.errstate(invalid="ignore"):  # 0 * inf, on the way to a value that is not chosen
        y, cache = layer.forward(x)
    assert y[:3].tolist() == [0, 0, np.inf] and np.isnan(y[3]) and y[4] == 1e-300
    dx = layer.backward(np.ones(5), cache)
    assert dx[[0, 1, 2, 4]].tolist() == [slope, slope, 1, 1]


@pytest.mark.parametrize("layer, slope", LAYERS)
def test_float32_stays_float32_and_arguments_stay(layer, slope):
    x = np.random.default_rng(71).normal(size=(3, 8)).astype(np.float32)
    before = x.copy()
    y, cache = layer.forward(x)
    dx = layer.backward(x, cache)
    assert y.dtype == dx.dtype == np.float32 and np.array_equal(x, before)
    assert not np.shares_memory(y, x) and not np.shares_memory(dx, x)


def test_relu6_ends_at_6():
    x = np.array([-7, -1e-9, 0, 1e-9, 3.5, 6, 6 + 1e-9, 1e30, np.inf, -np.inf, np.nan])
    y, cache = ReLU6().forward(x)
    assert y[:-1].tolist() == [0, 0, 0, 1e-9, 3.5, 6, 6, 6, 6, 0] and np.isnan(y[-1])
    assert ReLU6().backward(np.arange(1.0, 12), cache)[:-1].tolist() == [0, 0, 0, 4, 5, 0, 0, 0, 0, 0]
    for dtype in (np.float32, np.float64):
        y, cache = ReLU6().forward(x.astype(dtype))
        assert y.dtype == ReLU6().backward(y, cache).dtype == dtype


@pytest.mark.parametrize("slope", [-0.1, 1, 2.5, float("nan")])
def test_bad_slope(slope):
    with pytest.raises(ValueError, match=rf"^LeakyReLU: negative_slope must be in \[0, 1\), got {slope}$"):
        LeakyReLU(slope)


@pytest.mark.parametrize("layer", [ReLU(), ReLU6(), LeakyReLU(), PReLU(), ELU(), Sigmoid(), Tanh(), SiLU(), Softplus()])
def test_bad_input(layer):
    name = type(layer).__name__
    with pytest.raises(TypeError, match=f"^{name}: x must be an array of floats, got int64: convert with"):
        layer.forward(np.arange(3))
    with pytest.raises(TypeError, match=f"^{name}: x must be an array of floats, got list"):
        layer.forward([1.0, 2.0])
    _, cache = layer.forward(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=rf"^{name}: dy must have shape \(3, 4\), got \(4,\)$"):
        layer.backward(np.zeros(4), cache)


LEAST = 5e-324  # of float64: below it, and near it, relative errors mean nothing


def exactly(x):
    """{layer: (y, dy/dx)} at the number x, in Python's numbers, without cancellation and overflow."""
    e = math.exp(-abs(x))  # of |x|: at most 1
    s, t = (1 / (1 + e), e / (1 + e)) if x > 0 else (e / (1 + e), 1 / (1 + e))  # sigmoid(x), 1 - sigmoid(x)
    cosh = math.cosh(x) if abs(x) < 710 else math.inf
    b = math.exp(-abs(2.5 * x))
    return {
        ELU: (x, 1) if x > 0 else (math.expm1(x), e),
        Sigmoid: (s, s * t),
        Tanh: (math.tanh(x), 1 / cosh / cosh),
        SiLU: (x * s, s + x * s * t),
        Softplus: (max(x, 0) + math.log1p(e), s) if x <= 20 else (x, 1),
        "beta": ((max(2.5 * x, 0) + math.log1p(b)) / 2.5, (1 if x > 0 else b) / (1 + b)) if x <= 4 else (x, 1),
    }


SMOOTH = [(ELU(), ELU), (Sigmoid(), Sigmoid), (Tanh(), Tanh), (SiLU(), SiLU), (Softplus(), Softplus)]
SMOOTH += [(Softplus(2.5, threshold=10), "beta")]
NUMBERS = [-1000.0, -745.0, -100.0, -40.0, -30.0, -20.0, -3.0, -1.2, -1e-3, -1e-9, 0.0, 1e-12, 0.02, 1.0, 2.5, 4.0, 4.1]
NUMBERS += [8.0, 19.9, 20.0, 20.1, 36.0, 40.0, 300.0, 710.0, 1000.0]


@pytest.mark.parametrize("layer, key", SMOOTH, ids=lambda v: type(v).__name__ if hasattr(v, "forward") else "")
def test_smooth_layers_equal_their_formulas_for_any_number(layer, key):
    """No warnings (they are errors here), and values right to the last digits also where exponentials die away."""
    x, dy = np.array(NUMBERS), np.random.default_rng(73).normal(size=len(NUMBERS))
    y, cache = layer.forward(x)
    wanted = np.array([exactly(v)[key] for v in NUMBERS])
    np.testing.assert_allclose(y, wanted[:, 0], rtol=1e-14, atol=LEAST * 1e4)
    np.testing.assert_allclose(layer.backward(dy, cache), dy * wanted[:, 1], rtol=1e-13, atol=3e-15)
    single, cache = layer.forward(x.astype(np.float32))
    exact = [exactly(float(v))[key] for v in x.astype(np.float32)]
    np.testing.assert_allclose(single, np.array(exact)[:, 0], rtol=1e-6, atol=1e-37)
    assert single.dtype == layer.backward(single, cache).dtype == np.float32


@pytest.mark.parametrize("layer, key", SMOOTH, ids=lambda v: type(v).__name__ if hasattr(v, "forward") else "")
def test_smooth_layers_are_analytic_for_any_number(layer, key):
    """The complex step gives the formula's derivative at every number, 0 and +-1000 too."""
    y, _ = layer.forward(np.array(NUMBERS) + 1e-30j)
    np.testing.assert_allclose(y.imag / 1e-30, [exactly(v)[key][1] for v in NUMBERS], rtol=1e-13, atol=1e-290)
    np.testing.assert_allclose(y.real, layer.forward(np.array(NUMBERS))[0], rtol=1e-13, atol=3e-16)
    assert y.dtype == np.complex128


@pytest.mark.parametrize("layer", [layer for layer, _ in SMOOTH] + [PReLU(), PReLU(3)], ids=lambda v: type(v).__name__)
def test_infinity_nan_shapes_and_size_0(layer):
    name = type(layer).__name__
    y, _ = type(layer)().forward(np.array([-np.inf, np.nan, np.inf] if name != "SiLU" else [0.0, np.nan, np.inf]))
    ends = {"ELU": (-1, np.inf), "Sigmoid": (0, 1), "Tanh": (-1, 1), "PReLU": (-np.inf, np.inf)}
    assert y[[0, 2]].tolist() == list(ends.get(name, (0, np.inf))) and np.isnan(y[1])
    shapes = [(4, 3), (2, 3, 4), (0, 3), (2, 3, 0, 4), (2, 3, 150, 300)]
    for shape in shapes if name == "PReLU" else [*shapes, (), (7,)]:
        x = np.random.default_rng(74).normal(size=shape)
        y, cache = layer.forward(np.asarray(x))
        dx = layer.backward(np.ones(shape), cache)
        assert np.shape(y) == np.shape(dx) == shape
        rows, row_cache = layer.forward(np.reshape(x, (-1, 3)).copy() if name != "PReLU" and np.size(x) % 3 == 0 else x)
        np.testing.assert_array_equal(np.ravel(rows), np.ravel(y))
        np.testing.assert_array_equal(np.ravel(layer.backward(np.ones(rows.shape), row_cache)), np.ravel(dx))


def test_sigmoid_alone():
    x = np.linspace(-40, 40, 17).reshape(1, 17)
    np.testing.assert_allclose(sigmoid(x), 1 / (1 + np.exp(-x)), rtol=1e-14)
    assert sigmoid(x).dtype == np.float64 and sigmoid(np.zeros((), np.float32)) == np.float32(0.5)


def test_elu_with_alpha():
    x, dy = np.array([-30.0, -2.0, -0.5, 0.0, 0.5]), np.arange(1.0, 6.0)
    y, cache = ELU(1.7).forward(x)
    np.testing.assert_allclose(y, [v if v > 0 else 1.7 * math.expm1(v) for v in x], rtol=1e-15)
    np.testing.assert_allclose(
        ELU(1.7).backward(dy, cache), [d if v > 0 else 1.7 * d * math.exp(v) for v, d in zip(x, dy)], rtol=1e-15
    )
    assert not np.shares_memory(y, x)


def test_softplus_at_its_threshold():
    """beta * x = threshold is still the formula, above it y = x exactly."""
    layer, x = Softplus(beta=2.0, threshold=3.0), np.array([1.5, 1.5000001, 7.0])
    y, cache = layer.forward(x)
    assert y[0] == pytest.approx(math.log(1 + math.exp(3)) / 2, rel=1e-15) and y[1:].tolist() == x[1:].tolist()
    slopes = layer.backward(np.ones(3), cache)
    assert slopes[0] == pytest.approx(1 / (1 + math.exp(-3)), rel=1e-15) and slopes[1:].tolist() == [1, 1]
    assert layer.backward(np.full(3, 2.0), cache)[1] == 2


@pytest.mark.parametrize("slope", [0.3, 0.0])
def test_leaky_relu_on_a_large_array(slope):
    x, dy = np.random.default_rng(77).normal(size=(2, 3, 7, 100, 120))
    y, cache = LeakyReLU(slope).forward(x)
    np.testing.assert_array_equal(y, np.where(x > 0, x, slope * x))
    np.testing.assert_array_equal(LeakyReLU(slope).backward(dy, cache), np.where(x > 0, dy, slope * dy))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: ELU(-0.1), "ELU: alpha must be a finite number >= 0, got -0.1"),
        (lambda: ELU(math.nan), "ELU: alpha must be a finite number >= 0, got nan"),
        (lambda: Softplus(0), "Softplus: beta must be a finite number > 0 and threshold a number, got 0 and 20.0"),
        (lambda: Softplus(1, math.nan), "Softplus: beta must be .* and threshold a number, got 1 and nan"),
    ],
)
def test_bad_constructor_arguments(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()
