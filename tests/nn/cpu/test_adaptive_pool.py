"""The positions of all bins at once, as the fast adaptive max pooling of NumPy reads them."""

from nn.cpu import adaptive_pool


def test_positions_of_the_bins_are_no_more_than_the_longest_has():
    assert adaptive_pool._positions((5, 7), (2, 2)).shape == (4, 3 * 4) and adaptive_pool._positions(
        (4, 6), (2, 3)
    ).shape == (6, 4)
    assert adaptive_pool._positions((3, 4), (2, 3)).tolist() == [  # shorter bins repeat their last position
        [0, 1, 4, 5],
        [1, 2, 5, 6],
        [2, 3, 6, 7],
        [4, 5, 8, 9],
        [5, 6, 9, 10],
        [6, 7, 10, 11],
    ]
