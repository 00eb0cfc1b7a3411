"""Sums of branches in chunks against the textbook, of views as well."""

import numpy as np
import pytest

from nn import containers as textbook
from nn.cpu import chunks
from nn.cpu import containers as fast


@pytest.mark.parametrize("shape", [(5, 3, 4, 2), (1, 4, 7), (0, 2)])
def test_equals_the_textbook(shape, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 20)
    a, b = np.random.default_rng(170).normal(size=(2, *shape))
    for left, right in ((a, b), (a[:, ::-1], b), (a, b.swapaxes(0, 1).copy().swapaxes(0, 1))):
        np.testing.assert_array_equal(fast.add(left, right), textbook.add(left, right))
        totals = np.stack([a, a])[:, :, : shape[1]]
        for total, version in zip(totals, (fast, textbook)):
            version.add_to(total, right)
        np.testing.assert_array_equal(*totals)


def test_takes_one_dtype_and_shape():
    a = np.zeros((2, 3))
    assert fast.takes(a, a) and not fast.takes(a, a[:1]) and not fast.takes(a, a.astype(np.float32))
