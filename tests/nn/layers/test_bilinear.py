"""The sampler against its definition, cell by cell."""

import numpy as np
import pytest

from nn.layers.bilinear import map_gradient, position_gradients, sample, sampled_dtype
from tests.nn.naive_bilinear import weights

SIZE = (4, 6)
ODD = [  # row, column: on cells, on the border, a little and far outside
    (0, 0), (3, 5), (2, 1), (1.5, 2.25), (-0.25, 2), (3.75, 5.5), (-1, 0), (4, 5), (0, 6), (-0.999, -0.999),
    (-1.5, 1), (4.5, 2), (1e9, 1), (2, -1e15), (2.5, 5.9999),
]  # fmt: skip


def positions(seed, count):
    rng = np.random.default_rng([60, seed])
    spread = rng.uniform(-2, 1, (count, 2)) + rng.uniform(0, 1, (count, 2)) * (SIZE[0] + 2, SIZE[1] + 2)
    return np.concatenate([np.array(ODD, float), spread]).T, rng


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_sum_over_all_cells(seed):
    (row, column), rng = positions(seed, 60)
    x, dy = rng.normal(size=(3, *SIZE)), rng.normal(size=(3, len(row)))
    y, dx, drow, dcolumn = np.empty(dy.shape), np.zeros(x.shape), np.empty(len(row)), np.empty(len(row))
    for p in range(len(row)):
        weight, by_row, by_column = weights(SIZE, row[p], column[p])
        y[:, p] = (weight * x).sum(axis=(1, 2))
        dx += weight * dy[:, p, None, None]
        drow[p] = (by_row * x * dy[:, p, None, None]).sum()
        dcolumn[p] = (by_column * x * dy[:, p, None, None]).sum()
    np.testing.assert_allclose(sample(x, row, column), y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(map_gradient(dy, row, column, SIZE), dx, rtol=1e-12, atol=1e-12)
    for result, wanted in zip(position_gradients(dy, x, row, column), (drow, dcolumn)):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-12)


def test_nearest_cells():
    x = np.arange(24.0).reshape(1, *SIZE)
    x[0, 0, 0] = np.inf  # is seen by whom it is nearest to, and by no other
    row, column = np.array([0.5, 1.5, 0.4, -0.5, -0.6, 3.2, 1e300]), np.array([1.4, 2.5, -0.3, 5.4, 1, 5.6, 2])
    assert sample(x, row, column, nearest=True)[0].tolist() == [1, 14, np.inf, 5, 0, 0, 0]
    dx = map_gradient(np.arange(1.0, 8)[None], row, column, SIZE, nearest=True)
    assert dx[0, 0].tolist() == [3, 1, 0, 0, 0, 4] and dx[0, 2].tolist() == [0, 0, 2, 0, 0, 0] and dx.sum() == 10


def test_worked_example():
    x, middle, dy = np.array([[[1.0, 2], [3, 4]]]), np.array([0.5]), np.array([[8.0]])
    assert sample(x, middle, middle).item() == 2.5
    assert map_gradient(dy, middle, middle, (2, 2)).ravel().tolist() == [2, 2, 2, 2]
    drow, dcolumn = position_gradients(dy, x, middle, middle)
    assert drow.item() == 16 and dcolumn.item() == 8


def test_complex_positions_carry_their_derivative():
    x, row, column = np.random.default_rng(61).normal(size=(2, *SIZE)), np.array([1.3, 2.0]), np.array([4.6, 0.2])
    y = sample(x, row + 1e-30j, column)
    assert sampled_dtype(x, row + 1j, None) == y.dtype == np.complex128 and sampled_dtype(x, row) == np.float64
    for c in range(2):
        drow, _ = position_gradients(np.eye(2)[c][:, None] * np.ones(2), x, row, column)
        np.testing.assert_allclose(y[c].imag / 1e-30, drow, rtol=1e-12)
