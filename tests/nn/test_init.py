"""Initial weights: fans by hand, moments and limits by their formulas, and signals that keep their size."""

import math

import numpy as np
import pytest

from nn.init import fans, he_normal, he_uniform, xavier_normal, xavier_uniform

CONV, DENSE = (64, 32, 3, 5), (200, 300)
ALL = [he_normal, he_uniform, xavier_normal, xavier_uniform]


def test_fans():
    assert fans((7, 5)) == (5, 7)
    assert fans((64, 32, 3, 5)) == (480, 960)
    assert fans((64, 1, 3, 3)) == (9, 576)  # depthwise: one input channel for each output channel
    assert fans((6, 4, 3)) == (12, 18)


@pytest.mark.parametrize(
    "init, options, shape, variance",
    [
        (he_normal, {}, CONV, 2 / 480),
        (he_normal, {"mode": "fan_out"}, CONV, 2 / 960),
        (he_normal, {"negative_slope": 0.5}, DENSE, 2 / (1.25 * 300)),
        (he_uniform, {}, DENSE, 2 / 300),
        (he_uniform, {"mode": "fan_out", "negative_slope": 1.0}, DENSE, 1 / 200),
        (xavier_normal, {}, CONV, 2 / 1440),
        (xavier_normal, {"gain": 3.0}, DENSE, 9 * 2 / 500),
        (xavier_uniform, {}, DENSE, 2 / 500),
        (xavier_uniform, {"gain": 0.5}, CONV, 0.25 * 2 / 1440),
    ],
)
def test_mean_variance_and_limits(init, options, shape, variance):
    weights = init(shape, np.random.default_rng(0), dtype=np.float64, **options)
    n = weights.size
    assert weights.shape == shape
    assert abs(weights.mean()) < 4 * math.sqrt(variance / n)
    assert weights.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / n))
    largest = np.abs(weights).max() / math.sqrt(variance)
    if "uniform" in init.__name__:
        assert 0.999 * math.sqrt(3) < largest <= math.sqrt(3)
    else:
        assert 3.5 < largest < 6.5  # the tails of a normal distribution


@pytest.mark.parametrize("init", ALL)
def test_dtype_seed_and_the_same_weights_in_both_precisions(init):
    weights = init((4, 3, 2, 2), np.random.default_rng(5))
    assert weights.dtype == np.float32
    assert np.array_equal(weights, init((4, 3, 2, 2), np.random.default_rng(5)))
    assert not np.array_equal(weights, init((4, 3, 2, 2), np.random.default_rng(6)))
    double = init((4, 3, 2, 2), np.random.default_rng(5), dtype=np.float64)
    assert double.dtype == np.float64 and np.array_equal(double.astype(np.float32), weights)


@pytest.mark.parametrize("init", [he_normal, he_uniform])
def test_he_keeps_the_size_of_a_signal_through_many_relu_layers(init):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 512))
    for _ in range(10):
        x = np.maximum(x @ init((512, 512), rng, np.float64).T, 0)
    assert 0.4 < (x * x).mean() < 2.5  # without the factor 2 of the rule: 2^-10


@pytest.mark.parametrize("init", [xavier_normal, xavier_uniform])
def test_xavier_keeps_the_size_of_a_signal_through_linear_layers(init):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 256))
    for _ in range(20):
        x = x @ init((256, 256), rng, np.float64).T
    assert 0.5 < (x * x).mean() < 2


@pytest.mark.parametrize("init", ALL)
def test_bad_arguments(init):
    for shape in [(5,), (), (5, 0), (5, 3, 0, 3)]:
        with pytest.raises(
            ValueError, match=r"fans: shape must be \(out, in, ...\) with every size at least 1, got \("
        ):
            init(shape, np.random.default_rng(0))
    with pytest.raises(TypeError, match=f"{init.__name__}: rng must be a np.random.Generator, got int: pass"):
        init((5, 3), 42)


@pytest.mark.parametrize("init", [he_normal, he_uniform])
def test_bad_mode(init):
    with pytest.raises(ValueError, match=f'{init.__name__}: mode must be "fan_in" or "fan_out", got \'fan\''):
        init((5, 3), np.random.default_rng(0), mode="fan")
