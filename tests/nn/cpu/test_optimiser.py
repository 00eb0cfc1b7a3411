"""SGD in place, block by block, against its textbook: the same bits."""

import numpy as np
import pytest

from nn.cpu import blocks
from nn.cpu import optimiser as fast
from nn.optim import optimiser as textbook
from nn.optim.sgd import sgd


@pytest.mark.parametrize("size", [6, 1 << 16])
@pytest.mark.parametrize("dtypes", ["ff", "dd", "FF", "fd", "df"])  # of values and gradients
@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.7, False), (0.7, True)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_sgd_gives_the_bits_of_the_textbook(weight_decay, momentum, nesterov, dtypes, size, monkeypatch):
    monkeypatch.setattr(fast, "in_blocks_of_all", lambda task, rows: blocks.in_blocks_of_all(task, rows, size))
    rng, found = np.random.default_rng(173), []
    drawn = [[rng.normal(size=shape) for _ in range(3)] for shape in ((5, 4), (3,), ())]
    for version in (fast, textbook):
        rows = [[a.astype(dtype) for a, dtype in zip(row, (*dtypes, dtypes[0]))] for row in drawn]
        if momentum == 0:
            rows = [[value, grad, None] for value, grad, _ in rows]
        for _ in range(2):
            version.update(sgd, rows, (0.1, weight_decay, momentum, nesterov))
        found.append([a for row in rows for a in row if a is not None])
    for got, wanted in zip(*found, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
