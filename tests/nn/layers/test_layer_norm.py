"""LayerNorm against its formula, sample by sample."""

import math
import statistics

import numpy as np
import pytest

from nn.config import config
from nn.layers.batch_norm import BatchNorm1d
from nn.layers.layer_norm import LayerNorm

CASES = [((5,), (3,)), ((4,), (2, 3)), ((3, 4), (2,)), ((2, 3, 4), (5,)), ((3, 2), ()), ((1,), (4,)), ((6,), (0,))]


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


def layer_of(normalized_shape, **options):
    layer, rng = LayerNorm(normalized_shape, **options).astype(np.float64), np.random.default_rng(100)
    for parameter in layer.parameters().values():
        parameter.value[...] = rng.uniform(0.5, 2, parameter.value.shape) * rng.choice([-1, 1], parameter.value.shape)
    return layer


def data(*shape):
    return np.random.default_rng(101).normal(size=(2, *shape)) * 3 + 1


@pytest.mark.parametrize("options", [{}, {"eps": 0.1}, {"bias": False}, {"elementwise_affine": False}])
@pytest.mark.parametrize("normalized_shape, lead", CASES)
def test_equals_the_formula_and_its_gradients_the_steps(normalized_shape, lead, options):
    """dx in the steps of batch normalisation's paper, of which this is the same over other axes."""
    layer, (x, dy) = layer_of(normalized_shape, **options), data(*lead, *normalized_shape)
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    assert y.shape == dx.shape == x.shape
    size, eps = math.prod(normalized_shape), options.get("eps", 1e-5)
    weight = layer.weight.value.ravel() if layer.weight else np.ones(size)
    bias = layer.bias.value.ravel() if layer.bias else np.zeros(size)
    dweight, dbias = np.zeros(size), np.zeros(size)
    for i in np.ndindex(lead):
        v, d = x[i].ravel(), dy[i].ravel()
        mean, var = statistics.fmean(v.tolist()), statistics.pvariance(v.tolist())
        root = math.sqrt(var + eps)
        wanted = [w * (a - mean) / root + b for w, a, b in zip(weight, v, bias)]
        np.testing.assert_allclose(y[i].ravel(), wanted, rtol=1e-12, atol=1e-12)
        dx_hat = d * weight
        dvar = (dx_hat * (v - mean)).sum() * -0.5 * (var + eps) ** -1.5
        dmean = -dx_hat.sum() / root - 2 * dvar * (v - mean).sum() / size
        wanted = dx_hat / root + dvar * 2 * (v - mean) / size + dmean / size
        np.testing.assert_allclose(dx[i].ravel(), wanted, rtol=1e-10, atol=1e-11)
        dweight += d * (v - mean) / root
        dbias += d
    if layer.weight:
        np.testing.assert_allclose(layer.weight.grad.ravel(), dweight, rtol=1e-11, atol=1e-12)
    if layer.bias:
        np.testing.assert_allclose(layer.bias.grad.ravel(), dbias, rtol=1e-11, atol=1e-12)


def test_normalised_rows_have_mean_0_and_variance_1():
    y = LayerNorm(200, elementwise_affine=False)(data(3, 4, 200)[0])
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-5)


def test_a_row_does_not_touch_another():
    layer, x = layer_of(5), data(7, 5)[0]
    y, _ = layer.forward(x)
    other = x.copy()
    other[2] *= 100
    assert (layer.forward(other)[0] != y).any(axis=1).tolist() == [False, False, True, False, False, False, False]


def test_it_is_batch_norm_of_the_transpose():
    x, dy = data(4, 6)
    (y, cache), (wanted, wanted_cache) = LayerNorm(6).forward(x), BatchNorm1d(4).forward(x.T)
    np.testing.assert_allclose(y, wanted.T, rtol=1e-12)
    np.testing.assert_allclose(
        LayerNorm(6).backward(dy, cache), BatchNorm1d(4).backward(dy.T, wanted_cache).T, rtol=1e-9
    )


def test_gradients_add_up_and_training_makes_no_difference():
    layer, (x, dy) = layer_of((3, 4)), data(2, 3, 4)
    y, cache = layer.forward(x)
    layer.backward(dy, cache)
    once = [p.grad.copy() for p in layer.parameters().values()]
    layer.backward(dy, cache)
    for p, grad in zip(layer.parameters().values(), once):
        np.testing.assert_allclose(p.grad, 2 * grad, rtol=1e-14)
    assert np.array_equal(layer(x), y)


def test_float32_far_from_zero():
    x = (10_000 + np.random.default_rng(102).normal(size=(4, 256))).astype(np.float32)
    y, cache = LayerNorm(256).forward(x)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(axis=1, keepdims=True)) / exact.std(axis=1, keepdims=True)
    np.testing.assert_allclose(y, exact, atol=2e-3)
    assert y.dtype == LayerNorm(256).backward(y, cache).dtype == np.float32


def test_names_shapes_and_start():
    layer = LayerNorm((3, 4))
    assert list(layer.parameters()) == ["weight", "bias"] and list(LayerNorm(4, bias=False).parameters()) == ["weight"]
    assert LayerNorm(4, elementwise_affine=False).parameters() == {} and LayerNorm(4).normalized_shape == (4,)
    assert layer.weight.value.shape == layer.bias.value.shape == (3, 4)
    assert (layer.weight.value == 1).all() and (layer.bias.value == 0).all()


def test_what_it_refuses():
    wanted = r"normalized_shape must be a whole number >= 1 or a tuple of them, got "
    for bad, got in [
        (0, "0"),
        ((3, 0), r"\(3, 0\)"),
        ((), r"\(\)"),
        (2.5, "2.5"),
        ((3, "a"), r"\(3, 'a'\)"),
        (True, "True"),
    ]:
        with pytest.raises(ValueError, match=f"^LayerNorm: {wanted}{got}$"):
            LayerNorm(bad)
    with pytest.raises(ValueError, match="^LayerNorm: eps must be > 0, got 0$"):
        LayerNorm(3, eps=0)
    for shape in [(3, 5), (4, 3), (4,), ()]:
        got = str(shape).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=rf"^LayerNorm: x must have shape \(\.\.\., 3, 4\), got {got}$"):
            LayerNorm((3, 4)).forward(np.zeros(shape))
    with pytest.raises(TypeError, match="^LayerNorm: x must be an array of floats, got int64"):
        LayerNorm(3).forward(np.zeros((2, 3), np.int64))
    _, cache = LayerNorm(3).forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^LayerNorm: dy must have shape \(2, 3\), got \(3,\)$"):
        LayerNorm(3).backward(np.ones(3), cache)
