"""The sampler of NumPy against the definition, cell by cell; the scatter that adds up gradients, by counting and by
sorting."""

import numpy as np
import pytest

from nn.cpu import sampler
from nn.cpu.sampler import sample, sample_gradients, scatter, to_maps, to_rows
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


@pytest.mark.parametrize("channels", [1, 3, 7])  # counted up to 4, sorted above
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_sum_over_all_cells(seed, channels):
    (row, column), rng = positions(seed, 60)
    x, dy = rng.normal(size=(3, channels, *SIZE)), rng.normal(size=(len(row), channels))
    image = rng.integers(0, 3, len(row))
    y, dx, drow, dcolumn = np.empty(dy.shape), np.zeros(x.shape), np.empty(len(row)), np.empty(len(row))
    for p in range(len(row)):
        weight, by_row, by_column = weights(SIZE, row[p], column[p])
        y[p] = (weight * x[image[p]]).sum(axis=(1, 2))
        dx[image[p]] += weight * dy[p][:, None, None]
        drow[p] = (by_row * x[image[p]] * dy[p][:, None, None]).sum()
        dcolumn[p] = (by_column * x[image[p]] * dy[p][:, None, None]).sum()

    plane = image * SIZE[0] * SIZE[1]
    np.testing.assert_allclose(sample(to_rows(x), row, column, plane, SIZE), y, rtol=1e-12, atol=1e-12)
    results = sample_gradients(dy, to_rows(x), row, column, plane, SIZE)
    np.testing.assert_allclose(to_maps(results[0], x.shape), dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(results[1], drow, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(results[2], dcolumn, rtol=1e-12, atol=1e-12)


def test_worked_example():
    x_rows, middle = np.array([[1.0], [2], [3], [4]]), np.array([0.5])
    assert sample(x_rows, middle, middle, np.array([0]), (2, 2)).item() == 2.5
    dx, drow, dcolumn = sample_gradients(np.array([[8.0]]), x_rows, middle, middle, np.array([0]), (2, 2))
    assert dx.ravel().tolist() == [2, 2, 2, 2] and drow.item() == 16 and dcolumn.item() == 8


def test_parts_of_any_size_give_the_same():
    rng = np.random.default_rng(61)
    x_rows, count = rng.normal(size=(24, 40)), 9000  # more elements than one task takes
    (row, column), dy = rng.uniform(-1, 6, (2, count)), rng.normal(size=(count, 40))
    plane, few = np.zeros(count, int), slice(4000, 4100)
    y = sample(x_rows, row, column, plane, SIZE)
    assert np.array_equal(y[few], sample(x_rows, row[few], column[few], plane[few], SIZE))
    _, drow, dcolumn = sample_gradients(dy, x_rows, row, column, plane, SIZE)
    part = sample_gradients(dy[few], x_rows, row[few], column[few], plane[few], SIZE)
    assert np.array_equal(drow[few], part[1]) and np.array_equal(dcolumn[few], part[2])


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_rows_and_back(groups):
    x = np.random.default_rng(62).normal(size=(2, 6, 3, 5))
    rows = to_rows(x, groups)
    assert rows.shape == (2 * groups * 15, 6 // groups) and np.array_equal(to_maps(rows, x.shape, groups), x)
    n, group, i, j = 1, groups - 1, 2, 3
    assert np.array_equal(rows[(n * groups + group) * 15 + i * 5 + j], x[n, group * 6 // groups :, i, j])


@pytest.mark.parametrize("channels", [1, 4, 5, 33])
@pytest.mark.parametrize("size, entries", [(1, 10_000), (2, 257), (7, 1), (50, 900), (200_000, 500), (9, 0)])
def test_scatter_by_counting_and_by_sorting(size, entries, channels):
    rng = np.random.default_rng([63, size, entries])
    dy_rows, cell = rng.normal(size=(31, channels)), rng.integers(0, size, entries)
    source, weight = rng.integers(0, 31, entries), rng.normal(size=entries) * (rng.random(entries) < 0.8)
    wanted = np.zeros((size, channels))
    np.add.at(wanted, cell, weight[:, None] * dy_rows[source])
    for by in (scatter, sampler.scatter_by_counting, sampler.scatter_by_sorting):
        np.testing.assert_allclose(by(dy_rows, source, cell, weight, size), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("channels", [2, 9])
def test_scatter_keeps_float32(channels):
    rng = np.random.default_rng(64)
    cell, source, weight = rng.integers(0, 5, 70), rng.integers(0, 8, 70), rng.normal(size=70).astype(np.float32)
    assert scatter(rng.normal(size=(8, channels)).astype(np.float32), source, cell, weight, 5).dtype == np.float32


def test_entries_of_weight_0_add_nothing():
    dy_rows = np.array([[1.0] * 6, [np.nan] * 6])
    dx = scatter(dy_rows, np.array([0, 1]), np.array([2, 2]), np.array([3.0, 0]), 4)
    assert dx.tolist() == [[0] * 6, [0] * 6, [3] * 6, [0] * 6]


@pytest.mark.parametrize("size", [1, 300, 1 << 16, (1 << 16) + 1, 1 << 33])
def test_sorting_order_is_a_stable_argsort(size):
    cell = np.random.default_rng(65).integers(0, size, 5000)
    cell[::2] = cell[::-2]  # equal ones, far apart
    assert np.array_equal(sampler.sorting_order(cell, size), np.argsort(cell, kind="stable"))
