"""Softmax and LogSoftmax against sums in exact order, near 0 and far from it."""

import math

import numpy as np
import pytest

from nn.config import config
from nn.dispatch import functions
from nn.layers.softmax import LogSoftmax, Softmax
from nn.losses.classification import softmax_cross_entropy

CASES = [
    ((5,), 0),
    ((3, 5), 1),
    ((3, 5), 0),
    ((2, 3, 4, 5), 1),
    ((2, 3, 4, 5), -1),
    ((2, 3, 4), -2),
    ((1, 6), 1),
    ((4, 1), 1),
]


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


def data(*shape):
    return np.random.default_rng(120).normal(size=(2, *shape)) * 3


def of_floats(values):
    """(softmax, its logarithm) of a list of floats."""
    largest = max(values)
    total = math.fsum(math.exp(v - largest) for v in values)
    return [math.exp(v - largest) / total for v in values], [v - largest - math.log(total) for v in values]


@pytest.mark.parametrize("shape, axis", CASES)
@pytest.mark.parametrize("scale", [1, 100])
def test_values_and_gradients(shape, axis, scale):
    x, dy = data(*shape)
    x = x * scale
    results = {}
    for layer in (Softmax(axis), LogSoftmax(axis)):
        y, cache = layer.forward(x)
        results[type(layer)] = np.moveaxis(y, axis, -1), np.moveaxis(layer.backward(dy, cache), axis, -1)
        assert y.shape == shape and np.array_equal(layer(x), y)
    rows, drows = np.moveaxis(x, axis, -1), np.moveaxis(dy, axis, -1)
    for i in np.ndindex(rows.shape[:-1]):
        p, log_p = map(np.array, of_floats(rows[i].tolist()))
        np.testing.assert_allclose(results[Softmax][0][i], p, rtol=1e-13)
        np.testing.assert_allclose(results[LogSoftmax][0][i], log_p, rtol=1e-13, atol=1e-15)
        jacobian = np.diag(p) - np.outer(p, p)
        np.testing.assert_allclose(results[Softmax][1][i], jacobian @ drows[i], rtol=1e-10, atol=1e-13)
        jacobian = np.eye(len(p)) - np.outer(p, np.ones(len(p)))
        np.testing.assert_allclose(results[LogSoftmax][1][i], jacobian @ drows[i], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_large_values_without_warnings(dtype):
    x = np.array([[1000.0, -1000, 999, 0], [-1000, -1000, -1000, -1000], [1000, 1000, -1000, 1000]]).astype(dtype)
    y, cache = Softmax(1).forward(x)
    e = math.exp(-1)
    np.testing.assert_allclose(y, [[1 / (1 + e), 0, e / (1 + e), 0], [0.25] * 4, [1 / 3, 1 / 3, 0, 1 / 3]], rtol=1e-6)
    dy = np.ones(x.shape, dtype)
    np.testing.assert_allclose(Softmax(1).backward(dy, cache), 0, atol=1e-7)  # all rise: nothing changes
    log_y, cache = LogSoftmax(1).forward(x)
    np.testing.assert_allclose(log_y[0], x[0] - 1000 - math.log(1 + e), rtol=1e-6)
    np.testing.assert_allclose(log_y[1], [-math.log(4)] * 4, rtol=1e-6)
    assert y.dtype == log_y.dtype == LogSoftmax(1).backward(dy, cache).dtype == dtype


def test_a_mask_of_minus_infinity():
    x = np.array([[1.0, -np.inf, 2.0]])
    y, cache = Softmax(-1).forward(x)
    np.testing.assert_allclose(y, [[1 / (1 + math.e), 0, math.e / (1 + math.e)]], rtol=1e-14)
    assert Softmax(-1).backward(np.array([[3.0, 5.0, 7.0]]), cache)[0, 1] == 0
    log_y, cache = LogSoftmax(-1).forward(x)
    assert log_y[0, 1] == -np.inf and np.isfinite(LogSoftmax(-1).backward(np.ones((1, 3)), cache)).all()


def test_log_softmax_and_the_likelihood_are_the_cross_entropy():
    logits, labels = data(4, 5, 3)[0], np.random.default_rng(121).integers(0, 5, (4, 3))
    loss, dlogits = softmax_cross_entropy(logits, labels)
    log_p, cache = LogSoftmax(1).forward(logits)
    picked = np.eye(5)[labels].transpose(0, 2, 1) / labels.size
    assert loss == pytest.approx(-(log_p * picked).sum(), rel=1e-13)
    np.testing.assert_allclose(LogSoftmax(1).backward(-picked, cache), dlogits, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("layer", [Softmax, LogSoftmax])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_strides_and_sizes_of_0(layer, axis):
    (x, dy), layer = data(6, 5, 8), layer(axis)
    y, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    strided = x.transpose(2, 1, 0).copy().transpose(2, 1, 0)
    again, cache = layer.forward(strided)
    np.testing.assert_allclose(again, y, rtol=1e-13)
    np.testing.assert_allclose(layer.backward(dy, cache), dx, rtol=1e-12, atol=1e-15)
    for shape in [(0, 3, 4), (2, 0, 4), (2, 3, 0)]:
        y, cache = layer.forward(np.zeros(shape))
        assert y.shape == layer.backward(y, cache).shape == shape


@pytest.mark.parametrize("layer", [Softmax, LogSoftmax])
def test_what_they_refuse(layer):
    name = layer.__name__
    for axis in (1.0, None, True, (0, 1)):
        with pytest.raises(ValueError, match=f"^{name}: axis must be a whole number, got "):
            layer(axis)
    for axis, shape in [(2, (3, 4)), (-3, (3, 4)), (0, ())]:
        with pytest.raises(ValueError, match=rf"^{name}: axis={axis} must be an axis of x, got x \("):
            layer(axis).forward(np.zeros(shape))
    with pytest.raises(TypeError, match=f"^{name}: x must be an array of floats, got int64"):
        layer(1).forward(np.zeros((3, 4), np.int64))
    _, cache = layer(1).forward(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=rf"^{name}: dy must have shape \(3, 4\), got \(4, 3\)$"):
        layer(1).backward(np.zeros((4, 3)), cache)


@pytest.mark.parametrize("shape, axis", CASES)
def test_masked_softmax_is_the_softmax_of_what_is_kept(shape, axis, plain):
    ops, x = functions("nn.layers.softmax", np.zeros(1)), data(*shape)[0]
    mask = np.random.default_rng(122).uniform(size=shape) < 0.6
    y = np.moveaxis(ops.masked_softmax(x, mask, axis), axis, -1)
    rows, kept = np.moveaxis(x, axis, -1), np.moveaxis(mask, axis, -1)
    for i in np.ndindex(rows.shape[:-1]):
        wanted = np.zeros(rows.shape[-1])
        if kept[i].any():
            wanted[kept[i]] = of_floats(rows[i][kept[i]].tolist())[0]
        np.testing.assert_allclose(y[i], wanted, rtol=1e-13)
    nothing = ops.masked_softmax(x, np.zeros(shape, bool), axis)
    assert nothing.shape == shape and not nothing.any()
