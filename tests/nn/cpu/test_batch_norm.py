"""Batch normalisation in chunks of channels against the textbook, however channels are cut."""

import numpy as np
import pytest

from nn.cpu import batch_norm as fast
from nn.cpu import normalise
from nn.layers import batch_norm as textbook

SHAPES = [(7, 3, 40), (2, 3, 150), (2, 3, 2100), (5, 6, 1), (600, 300, 1), (3, 2, 31), (3, 2, 33), (1, 4, 9)]


def arrays(shape):
    rng = np.random.default_rng(160)
    weight, bias, mean, var = rng.uniform(0.5, 2, (4, shape[1]))
    return rng.normal(2, 3, (2, *shape)), weight, bias, (mean, var)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("together", [1, 50, 1 << 19])  # a channel, two channels, all channels to a task
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_statistics(shape, together, affine, monkeypatch):
    monkeypatch.setattr(normalise, "CHANNELS_TOGETHER", together)
    (x, dy), weight, bias, running = arrays(shape)
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
