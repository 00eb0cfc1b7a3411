"""Run-length encoding and polygons: the published code's results, and pycocotools itself where it is installed."""

import numpy as np
import pytest

from datasets.rle import FAR, decode, draw_masks, encode, pack, polygon_mask, reaches_far, runs, shape_mask, unpack


def random_masks(count=60, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size = rng.integers(1, 50, 2)
        yield np.repeat(np.repeat(rng.random(size) < rng.random(), 2, axis=0), 3, axis=1)


def test_masks_come_back():
    for mask in random_masks():
        rle = encode(mask)
        np.testing.assert_array_equal(decode(rle, mask.shape), mask)
        np.testing.assert_array_equal(decode({"size": [*mask.shape], "counts": runs(mask)}), mask)
        assert unpack(rle["counts"].encode()) == runs(mask) and pack(runs(mask)) == rle["counts"]


def test_a_mask_by_hand():
    mask = np.array([[0, 1, 1], [1, 1, 0]], bool)
    assert runs(mask) == [1, 4, 1]
    assert encode(mask) == {"size": [2, 3], "counts": "141"}
    assert runs(~mask) == [0, 1, 4, 1]


@pytest.mark.parametrize(
    "rle, message",
    [
        ({"size": [2, 3], "counts": [1, 4]}, "must add up to 6, got 5"),
        ({"size": [2, 3], "counts": [1, -1, 6]}, "whole numbers from 0"),
        ({"size": [2, 3], "counts": [1, 4.0, 1]}, "whole numbers from 0"),
        ({"size": [2, 3]}, "whole numbers from 0, or packed text"),
        ({"size": [2], "counts": [6]}, r"must be \[height, width\], got \[2\]"),
        ({"size": [10**5, 10**5], "counts": [10**10]}, "an RLE of 100000x100000 pixels; 64 million are read"),
        ({"size": [10**400, 9], "counts": [1]}, r"an RLE of 10{19}x9 pixels; 64 million are read"),
        ({"counts": [6]}, r"must be \[height, width\], got None"),
        ({"size": [2, 3], "counts": "é"}, "a character that does not belong"),
        ({"size": [2, 3], "counts": "o"}, "are cut off"),
        ({"size": [3, 2], "counts": [6]}, "the RLE is of 2x3 pixels, wanted 3x2"),
    ],
)
def test_what_is_no_rle(rle, message):
    with pytest.raises(ValueError, match=message):
        decode(rle, (2, 3))


def test_polygons_by_hand():
    square = np.zeros((6, 7), bool)
    square[1:4, 2:6] = True
    np.testing.assert_array_equal(polygon_mask([2, 1, 6, 1, 6, 4, 2, 4], 6, 7), square)
    np.testing.assert_array_equal(polygon_mask([6, 4, 6, 1, 2, 1, 2, 4], 6, 7), square)  # the other way round
    assert polygon_mask([-9, -9, 90, -9, 90, 90, -9, 90], 6, 7).all()
    two = shape_mask([[0, 0, 1, 0, 1, 1, 0, 1], [2, 1, 6, 1, 6, 4, 2, 4]], 6, 7)
    np.testing.assert_array_equal(two, square | (np.indices((6, 7)).sum(0) == 0))
    assert not polygon_mask([1, 1, 1, 1, 1, 1], 6, 7).any()


def test_an_object_without_a_shape_has_its_box():
    masks = draw_masks([(None, (1.4, 0, 3.6, 2)), ([[0, 0, 1, 0, 1, 1, 0, 1]], (0, 0, 1, 1))], (4, 5))
    wanted = np.zeros((4, 5), bool)
    wanted[:2, 1:4] = True
    np.testing.assert_array_equal(masks[0], wanted)
    assert masks.shape == (2, 4, 5) and masks[1].sum() == 1
    assert draw_masks([], (4, 5)).shape == (0, 4, 5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools itself
def test_against_pycocotools():
    reference = pytest.importorskip("pycocotools.mask")
    for mask in random_masks(seed=1):
        wanted = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert encode(mask) == {"size": wanted["size"], "counts": wanted["counts"].decode()}
    rng = np.random.default_rng(0)
    for trial in range(400):
        h, w = rng.integers(5, 80, 2).tolist()
        polygon = rng.uniform(-10, 90, 2 * rng.integers(3, 12))
        polygon = np.round(polygon, trial % 3).tolist()
        wanted = reference.decode(reference.merge(reference.frPyObjects([polygon], h, w)))
        np.testing.assert_array_equal(polygon_mask(polygon, h, w), wanted.astype(bool))


def test_polygons_that_reach_far_outside():
    """FAR sides of the image beyond it are drawn still."""
    side = 1 + FAR
    assert not reaches_far([[0, 0, 50 * side, 9, 3, 40]], (40, 50)) and not reaches_far(None, (40, 50))
    assert reaches_far([[0, 0, 9, 9, 3, 4], [0, 0, 50 * side + 1, 9, 3, 40]], (40, 50))
    assert reaches_far([[0, 0, 9, -50 * side - 1, 3, 40]], (40, 50))
