"""PReLU in chunks against the textbook: one slope and several, arrays of no axes or elements."""

import numpy as np
import pytest

from nn.cpu import chunks
from nn.cpu import prelu as fast
from nn.layers import prelu as textbook


@pytest.mark.parametrize("chunk", [40, 1 << 18])
@pytest.mark.parametrize(
    "slopes, shape", [(1, (6, 7)), (1, (9,)), (1, ()), (3, (5, 3, 4, 2)), (3, (20, 3)), (3, (0, 3))]
)
def test_prelu_equals_the_textbook(slopes, shape, chunk, monkeypatch):
    monkeypatch.setattr(fast, "in_slices", lambda *a: chunks.in_slices(*a, chunk=chunk))
    rng = np.random.default_rng(165)
    (x, dy), weight, results = (np.asarray(a) for a in rng.normal(size=(2, *shape))), rng.normal(size=slopes), []
    for version in (fast, textbook):
        results.append([version.prelu(x, weight), *version.prelu_backward(dy, x, weight)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(np.ravel(got), np.ravel(wanted), rtol=1e-12, atol=1e-13)
