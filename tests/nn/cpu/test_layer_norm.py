"""Layer normalisation in chunks of rows against the textbook, however rows are cut."""

import numpy as np
import pytest

from nn.cpu import chunks
from nn.cpu import layer_norm as fast
from nn.layers import layer_norm as textbook


@pytest.mark.parametrize("given", ["weight and bias", "weight", "neither"])
@pytest.mark.parametrize("chunk", [10, 1 << 18])
@pytest.mark.parametrize("shape", [(7, 5), (1, 40), (50, 1), (0, 6)])
def test_equals_the_textbook(shape, chunk, given, monkeypatch):
    monkeypatch.setattr(fast, "in_slices", lambda *a: chunks.in_slices(*a, chunk=chunk))
    rng = np.random.default_rng(161)
    x, dy = rng.normal(1, 2, (2, *shape))
    weight, bias = rng.uniform(0.5, 2, (2, shape[1]))
    weight, bias = (weight if "weight" in given else None), (bias if "bias" in given else None)
    results = []
    for version in (fast, textbook):
        y, mean, inv_std = version.layer_norm(x, weight, bias, 0.01)
        dx, *gradients = version.layer_norm_backward(dy, x, mean, inv_std, weight)
        assert weight is not None or gradients == [None, None]
        results.append([y, mean, inv_std, dx, *(g for g in gradients if g is not None)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)
