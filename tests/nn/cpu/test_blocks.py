"""Blocks cover arrays of any shape."""

import numpy as np

from nn.cpu.blocks import blocks


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
