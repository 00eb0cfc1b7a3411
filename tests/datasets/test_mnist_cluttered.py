"""Digits on larger images: where they are, what is around them, and that the same number gives the same image."""

import numpy as np
import pytest

from datasets import TranslatedMNIST


class Digits:
    """n digits; all pixels of digit i are i + low, so that they can be told apart, and its label is i."""

    split, classes = "train", tuple("0123456789")

    def __init__(self, n=5, low=1):
        self.digits = np.repeat(np.arange(low, n + low, dtype=np.uint8), 28 * 28).reshape(n, 28, 28)
        self.labels = np.arange(n)

    def __len__(self):
        return len(self.labels)


def test_the_digit_is_where_corner_says_and_nowhere_else():
    data = TranslatedMNIST(Digits(), size=40, copies=4)
    assert len(data) == 20
    assert data.classes == tuple("0123456789")
    for i in range(20):
        sample, wanted = data[i], np.zeros((40, 40, 3), np.uint8)
        x, y = sample["corner"]
        wanted[y : y + 28, x : x + 28] = i % 5 + 1
        np.testing.assert_array_equal(sample["image"], wanted)
        assert sample["image"].dtype == np.uint8
        assert (sample["label"], type(sample["label"]), sample["id"]) == (i % 5, int, f"train/{i}")


def test_all_places_occur_up_to_the_borders():
    corners = [TranslatedMNIST(Digits(), size=30, copies=60)[i]["corner"] for i in range(300)]
    assert set(corners) == {(x, y) for x in range(3) for y in range(3)}


def test_a_sample_depends_on_seed_and_index_alone():
    data = TranslatedMNIST(Digits(), clutter=4, seed=3, copies=2)
    again = TranslatedMNIST(Digits(), clutter=4, seed=3, copies=9)
    for i in (9, 0, 4):
        np.testing.assert_array_equal(data[i]["image"], again[i]["image"])
    np.testing.assert_array_equal(data[-1]["image"], data[9]["image"])
    assert (data[0]["image"] != data[5]["image"]).any()  # another copy, another place
    assert (data[0]["image"] != TranslatedMNIST(Digits(), clutter=4, seed=4)[0]["image"]).any()
    with pytest.raises(IndexError):
        data[10]


def test_clutter_is_pieces_of_other_digits_added_anywhere():
    """On 600 images with one piece each: an 8x8 square, of one of the other digits' pixels, at all places."""
    digits, places, others = Digits(3), set(), set()
    digits.digits[...] = np.array([1, 8, 64])[:, None, None]
    for i in range(600):
        image, without = (TranslatedMNIST(digits, 29, clutter, copies=200)[i]["image"][:, :, 0] for clutter in (1, 0))
        piece = image - without
        rows, columns = np.nonzero(piece)
        y, x = rows.min(), columns.min()
        assert (piece[y : y + 8, x : x + 8] == piece[y, x]).all() and len(rows) == 64
        places |= {(x, "x"), (y, "y")}
        others.add((i % 3, int(piece[y, x])))
    assert places == {(place, axis) for place in range(22) for axis in "xy"}
    assert others == {(0, 8), (0, 64), (1, 1), (1, 64), (2, 1), (2, 8)}


def test_pieces_are_cut_from_everywhere_in_a_digit():
    digits = Digits(2)
    digits.digits[0], digits.digits[1] = 0, np.add.outer(np.arange(28), 3 * np.arange(28))  # the digit of odd clutter
    corners = set()
    for i in range(0, 8000, 2):
        image = TranslatedMNIST(digits, 60, 1, copies=4000)[i]["image"][:, :, 0]
        rows, columns = np.nonzero(image)
        corners.add(int(image[rows.max(), columns.max()]) - 7 - 21)
    assert corners == {y + 3 * x for y in range(21) for x in range(21)}


def test_there_are_as_many_pieces_as_wanted():
    digits = Digits(2)
    digits.digits[0], digits.digits[1] = 0, 1
    sums = [int(TranslatedMNIST(digits, 60, 4, copies=9)[i]["image"][:, :, 0].sum()) for i in range(0, 18, 2)]
    assert sums == [4 * 64] * 9


def test_sums_stop_at_255():
    bright = Digits(2, low=254)  # 254 and 255
    image = TranslatedMNIST(bright, size=28, clutter=6)[0]["image"]
    assert set(np.unique(image)) == {254, 255}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 27}, "size must be at least 28, got 27"),
        ({"clutter": -1}, "clutter must be at least 0, got -1"),
        ({"copies": 0}, "copies must be at least 1, got 0"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=f"TranslatedMNIST: {message}"):
        TranslatedMNIST(Digits(), **options)
    with pytest.raises(ValueError, match="clutter comes from other digits, there is only 1"):
        TranslatedMNIST(Digits(1), clutter=4)
