"""Zeros around images, a few images a task, against the textbook."""

import numpy as np
import pytest

from nn.cpu import chunks
from nn.cpu import same_pad as fast
from nn.layers import same_pad as textbook


@pytest.mark.parametrize("chunk", [40, 1 << 18])
@pytest.mark.parametrize("rows, columns", [((0, 1), (0, 1)), ((2, 0), (1, 3)), ((0, 0), (0, 0))])
def test_equals_the_textbook(rows, columns, chunk, monkeypatch):
    monkeypatch.setattr(fast, "in_slices", lambda *a: chunks.in_slices(*a, chunk=chunk))
    x = np.random.default_rng(171).normal(size=(5, 3, 4, 2)).astype(np.float32)
    for part in (x, x[:0], x[:, :, ::2]):
        got, wanted = fast.pad(part, rows, columns), textbook.pad(part, rows, columns)
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
