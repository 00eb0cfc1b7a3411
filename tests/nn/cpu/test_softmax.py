"""Softmax and its logarithm in chunks against the textbook: cut anywhere, the same bits."""

import numpy as np
import pytest

from nn.cpu import chunks
from nn.cpu import softmax as fast
from nn.layers import softmax as textbook


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    "shape, axis", [((6, 5, 8), 0), ((6, 5, 8), 1), ((6, 5, 8), -1), ((9,), 0), ((4, 1), 1), ((2, 0), 1)]
)
def test_equals_the_textbook_and_chunks_change_no_bit(name, shape, axis, monkeypatch):
    x, dy = np.random.default_rng(166).normal(size=(2, *shape))
    results = []
    for version, chunk in ((textbook, 0), (fast, 1 << 18), (fast, 40)):
        monkeypatch.setattr(fast, "in_blocks", lambda *a: chunks.in_blocks(*a, chunk=chunk))  # noqa: B023
        y = getattr(version, name)(x, axis)
        results.append([y, getattr(version, f"{name}_backward")(dy, y, axis)])
    for wanted, got, cut in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-15)
        assert np.array_equal(got, cut)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_strides_change_no_bit(name, axis):
    x, dy = np.random.default_rng(167).normal(size=(2, 6, 5, 8))
    turned = x.transpose(2, 1, 0).copy().transpose(2, 1, 0)
    y, again = (getattr(fast, name)(a, axis) for a in (x, turned))
    assert np.array_equal(y, again)
    dx = getattr(fast, f"{name}_backward")
    assert np.array_equal(dx(dy, y, axis), dx(dy.transpose(2, 1, 0).copy().transpose(2, 1, 0), y, axis))
