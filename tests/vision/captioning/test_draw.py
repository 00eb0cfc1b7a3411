"""Pictures of captions: attention is bright; sizes; bad input."""

import numpy as np
import pytest

from vision.captioning.draw import SIDE, draw_attention, draw_caption


def white(h=32, w=40):
    return np.full((h, w, 3), 255, np.uint8)


def test_positions_with_attention_are_bright_and_the_others_dark():
    attention = np.zeros((2, 4, 5))
    attention[0, 0, 0] = attention[1, 3, 4] = 1
    picture = draw_attention(white(), ["red", "circle"], attention)
    h, w = SIDE * 32 // 40, SIDE
    tiles = [picture[22 : 22 + h, x : x + w].astype(int) for x in (0, w + 8, 2 * (w + 8))]
    assert (tiles[0] == 255).all()
    for tile, bright, dark in ((tiles[1], (2, 2), (-3, -3)), (tiles[2], (-3, -3), (2, 2))):
        assert tile[bright].min() > 230
        assert tile[dark].max() < 80


def test_many_words_make_several_rows_and_references_are_below():
    attention = np.full((8, 4, 5), 0.05)
    words = "a red circle left of a blue square".split()
    plain = draw_attention(white(), words, attention)
    assert plain.dtype == np.uint8
    assert plain.shape[0] == 2 * (SIDE * 32 // 40 + 22 + 8)
    more = draw_attention(white(), words, attention, ["a true sentence " * 30])
    assert more.shape[1] == plain.shape[1]
    assert more.shape[0] > plain.shape[0] + 2 * 19  # broken into lines
    np.testing.assert_array_equal(more[: plain.shape[0]], plain)


def test_uniform_attention_darkens_nothing():
    picture = draw_attention(white(), ["red"], np.full((1, 4, 5), 0.05))
    assert picture[30:-16, SIDE + 10 : -10].min() >= 254


def test_a_caption_is_below_its_image():
    picture = draw_caption(white(), "a red circle", ["a circle", "one red circle"])
    assert picture.shape == (2 * SIDE * 32 // 40 + 3 * 19 + 4, 2 * SIDE, 3)
    assert (picture[: 2 * SIDE * 32 // 40] == 255).all()
    assert (picture[2 * SIDE * 32 // 40 :] < 100).any()
    assert draw_caption(white(), "").shape[0] == 2 * SIDE * 32 // 40 + 19 + 4


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="draw_caption: image must be .H, W, 3. uint8 in RGB, got float64"):
        draw_caption(np.zeros((4, 4, 3)), "a")
    with pytest.raises(ValueError, match=r"attention must have shape \(2, h, w\), got \(1, 4, 5\)"):
        draw_attention(white(), ["a", "b"], np.zeros((1, 4, 5)))
