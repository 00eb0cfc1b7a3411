"""Packing: rows and steps of sequences of unequal length, there and back, by hand."""

import numpy as np
import pytest

from nn.cpu.packing import Packing

X = np.arange(12.0).reshape(3, 4, 1)
LENGTHS = np.array([1, 3, 0, 2])
FIRST = np.array([[-1.0], [-2], [-3], [-4]])


def test_rows_and_steps():
    """Sorted by length: sequences 1, 3, 0, 2. Step 0 has three rows, step 1 two, step 2 one."""
    packing = Packing(X.shape, LENGTHS, False)
    assert packing.steps == [(slice(0, 3), 3), (slice(3, 5), 2), (slice(5, 6), 1)]
    assert packing.order.tolist() == [1, 3, 0, 2]
    assert Packing(X.shape, LENGTHS, True).steps == packing.steps[::-1]
    rows, states = packing.pack(X, FIRST)
    assert rows.ravel().tolist() == [1, 3, 0, 5, 7, 9] and states.ravel().tolist() == [-2, -4, -1, -3]
    x, (again,) = packing.unpack(rows, states)
    assert x[..., 0].tolist() == [[0, 1, 0, 3], [0, 5, 0, 7], [0, 9, 0, 0]] and np.array_equal(again, FIRST)


def test_without_lengths_it_is_a_change_of_shape():
    packing = Packing(X.shape, None, False)
    assert packing.steps == [(slice(0, 4), 4), (slice(4, 8), 4), (slice(8, 12), 4)]
    rows, states = packing.pack(X, FIRST)
    assert rows.shape == (12, 1) and np.shares_memory(rows, X)
    assert np.array_equal(states, FIRST) and not np.shares_memory(states, FIRST)  # a copy: the steps write into it
    x, (again,) = packing.unpack(rows, states)
    assert np.array_equal(x, X) and again is states
    assert packing.pack(X) == (pytest.approx(rows),) and packing.unpack(rows)[1] == ()


def test_the_state_before_each_step():
    rows = np.array([[1.0], [3], [0], [5], [7], [9]])
    before = Packing(X.shape, LENGTHS, False).previous(rows, FIRST)
    assert before.ravel().tolist() == [-1, -2, -3, 1, 3, 5]
    before = Packing(X.shape, LENGTHS, True).previous(rows, FIRST)
    assert before.ravel().tolist() == [5, 7, -3, 9, -2, -1]  # sequences begin at their own ends
