"""Sums over windows along rows and columns, and their adjoint, by hand."""

import numpy as np

from nn.cpu.window_sums import spread_windows, taps, window_sums
from nn.layers.windows import Geometry


def test_taps_are_clipped_to_the_image():
    g = Geometry((3, 3), (2, 2), (1, 1))
    assert list(taps(g, 0, 5, 3)) == [
        (slice(1, 3), slice(1, 4, 2)),
        (slice(0, 3), slice(0, 5, 2)),
        (slice(0, 2), slice(1, 4, 2)),
    ]
    assert list(taps(Geometry((4, 4), padding=(2, 2)), 1, 1, 2)) == [  # two taps meet nothing but padding
        (slice(1, 2), slice(0, 1, 1)),
        (slice(0, 1), slice(0, 1, 1)),
    ]


def test_sums_and_their_spreading_by_hand():
    g = Geometry((1, 3), (1, 2), (0, 1))
    x = np.array([1.0, 10, 100, 1000]).reshape(1, 1, 1, 4)
    assert window_sums(x, g, (1, 2)).tolist() == [[[[11, 1110]]]]
    assert spread_windows(np.array([[[[1.0, 10]]]]), g, (1, 4)).tolist() == [[[[1, 11, 10, 10]]]]
