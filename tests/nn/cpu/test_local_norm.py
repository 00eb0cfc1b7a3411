"""Normalisation across channels in chunks of images against the textbook, however images are cut."""

import numpy as np
import pytest

from nn.cpu import chunks
from nn.cpu import local_norm as fast
from nn.layers import local_norm as textbook

SHAPES = [(4, 5, 3, 2), (3, 7), (1, 4, 6), (0, 4, 2)]


@pytest.fixture(autouse=True, params=[35, 1 << 18])
def chunk(request, monkeypatch):
    monkeypatch.setattr(fast, "in_slices", lambda *a: chunks.in_slices(*a, chunk=request.param))


@pytest.mark.parametrize("size", [1, 4, 5, 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_local_response_norm(shape, size):
    x, dy = np.random.default_rng(162).normal(size=(2, *shape))
    results = []
    for version in (fast, textbook):
        y, base = version.local_response_norm(x, size, 0.7, 0.6, 1.5)
        results.append([y, base, version.local_response_norm_backward(dy, x, base, size, 0.7, 0.6)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_l2_norm(shape):
    rng = np.random.default_rng(163)
    (x, dy), weight, results = rng.normal(size=(2, *shape)), rng.uniform(0.5, 2, shape[1]), []
    for version in (fast, textbook):
        y, inv_norm = version.l2_norm(x, weight, 0.1)
        results.append([y, inv_norm, *version.l2_norm_backward(dy, x, inv_norm, weight)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)
