import numpy as np
import pytest

from vision.sequence.draw import CELL, draw_attention


def test_a_square_for_each_weight():
    weights = np.array([[0.0, 1.0, 0.5], [0.25, 0.0, 0.75]])
    picture = draw_attention(weights, ["one", "two", "three"], ["un", "deux"])
    assert picture.dtype == np.uint8
    h, w, _ = picture.shape
    for t in range(2):
        for s in range(3):
            centre = picture[h - 6 - CELL * (2 - t) + CELL // 2, w - 6 - CELL * (3 - s) + CELL // 2]
            assert (centre == int(weights[t, s] * 255 + 0.5)).all()


def test_words_are_beside_and_above():
    weights = np.zeros((1, 2))
    blank = draw_attention(weights, ["", ""], [""])
    assert draw_attention(weights, ["a", "b"], ["c"]).shape[0] == blank.shape[0]  # upright
    long = draw_attention(weights, ["elephant", "b"], ["a word"])
    assert long.shape[0] > blank.shape[0] + 40
    assert long.shape[1] > blank.shape[1] + 20
    above = long[:40, -6 - 2 * CELL : -6 - CELL]
    assert (above < 128).any()


def test_bad_input():
    with pytest.raises(ValueError, match=r"draw_attention: weights must have shape \(T=1, S=2\), got \(2, 1\)"):
        draw_attention(np.zeros((2, 1)), ["a", "b"], ["c"])
