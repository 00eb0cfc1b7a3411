"""The products of squeeze and excitation in chunks of images against the textbook."""

import numpy as np
import pytest

from nn.cpu import chunks
from nn.cpu import squeeze_excitation as fast
from nn.layers import squeeze_excitation as textbook


@pytest.mark.parametrize("chunk", [40, 1 << 18])
@pytest.mark.parametrize("shape", [(5, 3, 4, 2), (1, 4, 7, 3), (0, 2, 3, 4)])
def test_equals_the_textbook(shape, chunk, monkeypatch):
    monkeypatch.setattr(fast, "in_slices", lambda *a: chunks.in_slices(*a, chunk=chunk))
    rng = np.random.default_rng(169)
    (x, dy), (gate, dsqueezed), results = rng.normal(size=(2, *shape)), rng.normal(size=(2, *shape[:2], 1, 1)), []
    for version in (fast, textbook):
        y, dgate = version.excite(x, gate), version.excite_backward(dy, x)
        results.append([version.squeeze(x), y, dgate, version.squeeze_backward(dy, gate, dsqueezed)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)
