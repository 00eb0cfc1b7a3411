"""Digits in known forms: where they go, which are neighbours."""

import numpy as np
import pytest

from datasets import ShiftedDigits, TurnedDigit
from datasets.mnist_forms import view_of

DIGITS = np.random.default_rng(4).integers(1, 256, (7, 28, 28)).astype(np.uint8)


def test_shifts():
    data = ShiftedDigits(DIGITS, np.arange(7), "abcdefg", (-3, 0, 6))
    assert len(data) == 21 and data.labels.tolist() == np.repeat(np.arange(7), 3).tolist()
    plain = np.zeros((32, 32), np.uint8)
    plain[2:30, 2:30] = DIGITS[2]
    left, middle, right = (data[6 + s]["image"][..., 0] for s in range(3))
    np.testing.assert_array_equal(middle, plain)
    np.testing.assert_array_equal(left[:, :29], plain[:, 3:])
    np.testing.assert_array_equal(right[:, 6:], plain[:, :26])
    assert not left[:, 29:].any() and not right[:, :6].any()
    assert data[8]["form"] == 2 and data.forms[2] == "+6"
    assert data[8]["origin"] == 2 and data[8]["label"] == 2 and data[8]["id"] == "2, shifted +6"


def test_all_forms_of_neighbours_are_neighbours():
    data = ShiftedDigits(DIGITS, np.arange(7), "abcdefg", (-3, 3))
    for i, near in enumerate(data.neighbours(1)):
        assert i not in near and (i ^ 1) in near  # its other form
        assert {j ^ 1 for j in near if j // 2 != i // 2} == {j for j in near if j // 2 != i // 2}


def test_views_close_up_to_a_ring():
    data, test = TurnedDigit(DIGITS[0]), TurnedDigit(DIGITS[0], "test")
    assert (len(data), len(test)) == (648, 324) and len(data.classes) == 18
    assert not {s.id for s in data.listing()} & {s.id for s in test.listing()}
    graph = data.neighbours(5)
    for i in (0, 100, 647):
        angle, size, _ = data.views[i]
        for j, (a, s, _) in enumerate(data.views):
            near = (a - angle) % 18 in (0, 1, 17) and abs(s - size) <= 1 and i != j
            assert (j in graph[i]) == near


def test_a_view_is_turned_scaled_and_lit():
    spot = np.zeros((28, 28), np.uint8)
    spot[14, 26] = 255  # at the right: angle 90 degrees clockwise puts it at the bottom
    right, bottom = (view_of(spot.astype(np.float32), turn, 0.9, 0.0)[..., 0] for turn in (0, np.pi / 2))
    row, column = np.unravel_index(right.argmax(), (32, 32))
    assert abs(column + 0.5 - (16 + 0.9 * 12.5)) <= 1 and abs(row - 16) <= 1
    row, column = np.unravel_index(bottom.argmax(), (32, 32))
    assert abs(row + 0.5 - (16 + 0.9 * 12.5)) <= 1 and abs(column - 16) <= 1
    white = np.full((28, 28), 200, np.float32)
    lit = [view_of(white, 0.0, 1.2, light)[16, :, 0] for light in (0, np.pi)]
    assert (np.diff(lit[0].astype(int)) >= 0).all() and lit[0][0] < 90 and lit[0][-1] > 190  # 0.4 to 1
    np.testing.assert_allclose(lit[1], lit[0][::-1], atol=1)
    data = TurnedDigit(spot)
    view, (angle, size, light) = data[400], data.views[400]
    assert view["image"].shape == (32, 32, 3) and view["angle"] == pytest.approx(np.radians(20 * angle))
    assert view["origin"] == 9 * angle + size and data.forms[view["form"]] == f"lit from {60 * light} degrees"
    assert (data[400]["image"] == view["image"]).all() and data[400]["image"] is not view["image"]
    with pytest.raises(ValueError, match="TurnedDigit: split must be train or test, got 'val'"):
        TurnedDigit(spot, "val")
