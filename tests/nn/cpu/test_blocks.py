"""Blocks cover arrays of any shape."""

import numpy as np

from nn.cpu import layer
from nn.cpu.blocks import blocks, in_blocks_of_all


def test_blocks_cover_every_row_once_also_where_a_row_is_longer_than_a_block():
    for shape in [(70000,), (3, 70000), (1, 200000), (5, 40000), (65537, 2), (0, 3), ()]:
        a = np.zeros(shape)
        for view, twin in blocks(a, a):
            view += 1
            assert view.shape == twin.shape and np.shares_memory(view, a) == (a.size > 0)
        assert (a == 1).all()


def test_an_array_that_is_not_there_stays_none():
    assert all(nothing is None for _, nothing in blocks(np.zeros((5, 40000)), None))
    assert [nothing for _, nothing in blocks(np.zeros(3), None)] == [None]


def test_blocks_of_all_rows_come_in_turn_and_their_results_in_this_order():
    rows = [
        (np.arange(12.0).reshape(6, 2), np.ones((6, 2))),
        (np.array(5.0), None),
        (np.zeros((0, 3)), np.zeros((0, 3))),
    ]
    results = in_blocks_of_all(lambda a, b: (a.sum(), b is None), rows, size=4)
    assert results == [(6.0, False), (22.0, False), (38.0, False), (5.0, True), (0.0, False)]
    assert in_blocks_of_all(lambda a: a, []) == []


def test_set_to_zero():
    arrays = [np.ones((700, 1000), np.float32), np.ones(3)[::2], np.array(1 + 1j)]
    layer.set_to_zero(arrays)
    assert not any(array.any() for array in arrays)
