"""Batch normalisation in chunks of channels against the textbook, however channels are cut."""

import numpy as np
import pytest

from nn.cpu import batch_norm as fast
from nn.layers import batch_norm as textbook

SHAPES = [(7, 3, 40), (5, 6, 1), (600, 300, 1), (3, 2, 31), (3, 2, 33), (1, 4, 9)]


def arrays(shape, mean_of_x=2):
    rng = np.random.default_rng(160)
    weight, bias, mean, var = rng.uniform(0.5, 2, (4, shape[1]))
    return rng.normal(mean_of_x, 3, (2, *shape)), weight, bias, (mean, var)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("together", [1, 50, 1 << 19])  # a channel, two channels, all channels to a task
@pytest.mark.parametrize("mean_of_x", [2, 9])  # x is centred where its mean is large beside its deviation
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_statistics(shape, mean_of_x, together, affine, monkeypatch):
    monkeypatch.setattr(fast, "CHANNELS_TOGETHER", together)
    (x, dy), weight, bias, running = arrays(shape, mean_of_x)
    weight, bias = (weight, bias) if affine else (None, None)
    results = []
    for version in (fast, textbook):
        moved = [array.copy() for array in running]
        y, mean, inv_std = version.batch_norm(x, weight, bias, moved, 0.3, 1e-5)
        dx, *gradients = version.batch_norm_backward(dy, x, mean, inv_std, weight)
        results.append([y, mean, inv_std, *moved, dx, *gradients])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 4)])
def test_running_statistics(shape, affine):
    (x, dy), weight, bias, running = arrays(shape)
    weight, bias = (weight, bias) if affine else (None, None)
    results = []
    for version in (fast, textbook):
        y, mean, inv_std = version.batch_norm_inference(x, weight, bias, running, 1e-5)
        dx, *gradients = version.batch_norm_inference_backward(dy, x, mean, inv_std, weight)
        results.append([y, mean, inv_std, dx, *gradients])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("mean_of_x", [0, 0.9, 1.1, 30])
def test_a_mean_costs_no_digits(mean_of_x):
    """In float32 against the textbook in float64; the standard deviation is 1."""
    rng = np.random.default_rng(161)
    x, dy = rng.normal(mean_of_x, 1, (2, 8, 5, 900)).astype(np.float32)
    weight, bias = rng.uniform(0.5, 2, (2, 5)).astype(np.float32)
    results = []
    for version, dtype in ((fast, np.float32), (textbook, np.float32), (textbook, np.float64)):
        own, down, scale, shift = (array.astype(dtype) for array in (x, dy, weight, bias))
        y, mean, inv_std = version.batch_norm(own, scale, shift, None, 0.1, 1e-5)
        results.append([y, inv_std, *version.batch_norm_backward(down, own, mean, inv_std, scale)])
    for got, plain, exact in zip(*results, strict=True):
        errors = [np.abs(array - exact).max() / np.abs(exact).max() for array in (got, plain)]
        assert errors[0] <= 1.5 * errors[1] + 2e-7


def test_channels_of_one_value_give_no_warning():
    x = np.zeros((4, 2, 40), np.float32)
    x[:, 1] = 7  # without a variance, as behind a ReLU that lets nothing pass
    y, _, inv_std = fast.batch_norm(x, None, None, None, 0.1, 1e-5)
    assert not y.any() and np.all(inv_std == np.float32(1e-5) ** np.float32(-0.5))
