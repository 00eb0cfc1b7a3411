"""The gradient of a table by sorting against the textbook's loop."""

import numpy as np
import pytest

from nn.cpu import embedding as fast
from nn.layers import embedding as textbook


@pytest.mark.parametrize("padding_idx", [None, 0, 4])
@pytest.mark.parametrize("positions, height, width", [(50, 5, 3), (700, 1000, 4), (0, 5, 3), (1, 5, 3), (300, 5, 2)])
def test_equals_the_textbook(positions, height, width, padding_idx):
    rng = np.random.default_rng(168)
    x, dy, grad = (
        rng.integers(0, height, positions),
        rng.normal(size=(positions, width)),
        rng.normal(size=(height, width)),
    )
    grads = [grad.copy(), grad.copy()]
    for version, into in zip((fast, textbook), grads):
        assert version.embedding_backward(dy, x, into, padding_idx) is None
    np.testing.assert_allclose(*grads, rtol=1e-12, atol=1e-12)
    assert padding_idx is None or np.array_equal(grads[0][padding_idx], grad[padding_idx])
    assert fast.embedding is textbook.embedding
