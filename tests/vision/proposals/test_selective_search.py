"""Selective Search: texture by hand, whole pictures, photographs, and bad input."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import datasets
from vision.boxes.boxes import iou
from vision.proposals import build_proposer
from vision.proposals.metrics import best_overlaps, mean_average_best_overlap
from vision.proposals.selective_search import (
    gaussian_derivative,
    histogram_channels,
    initial_segments,
    rank_values,
)

COCO = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data")) / "coco_open"


def blocks():
    """A red and a green block on grey, with a little noise."""
    picture = np.full((90, 120, 3), 120)
    picture[20:60, 15:55] = (200, 40, 40)
    picture[30:80, 70:110] = (40, 180, 60)
    noise = np.random.default_rng(0).integers(-6, 7, picture.shape)
    return (picture + noise).astype(np.uint8)


def test_gaussian_derivatives_equal_the_double_loop_and_know_a_ramp():
    rng = np.random.default_rng(1)
    x = rng.random((7, 9, 2))
    taps = np.arange(-4, 5)
    g = np.exp(-(taps**2) / 2) / np.exp(-(taps**2) / 2).sum()
    wanted = np.zeros_like(x)
    for r in range(7):
        for c in range(9):
            for i in range(9):
                for j in range(9):
                    row, column = min(max(r + taps[i], 0), 6), min(max(c + taps[j], 0), 8)
                    wanted[r, c] += g[i] * taps[j] * g[j] * x[row, column]
    np.testing.assert_allclose(gaussian_derivative(x, axis=1), wanted, rtol=0, atol=1e-14)
    ramp = np.tile(0.03 * np.arange(20.0)[:, None, None], (1, 5, 1))
    np.testing.assert_allclose(gaussian_derivative(ramp, axis=0)[5:-5], 0.03, rtol=0.005)  # nine taps of a Gaussian


def test_texture_has_an_edge_in_its_direction_alone():
    step = np.zeros((12, 12, 1))
    step[:, 6:] = 1  # rises to the right: direction 0, half of it in 45 and 315 degrees, none in the others
    colour, texture = histogram_channels(step)
    assert set(colour.ravel()) == {0, 24}
    highest = texture.reshape(-1, 8).max(axis=0)
    assert highest.tolist() == [9, 7, 0, 0, 0, 0, 0, 7]


def test_rank_values_by_hand():
    """Four segments, merged in three steps: positions 1 to 3 from the whole image on, 4 for each of the segments."""
    np.testing.assert_allclose(rank_values(7, Halves()), [2, 2, 2, 2, 1.5, 1, 0.5])


class Halves:
    """A generator that draws nothing but 0.5."""

    def random(self, count):
        return np.full(count, 0.5)


def test_one_channel_is_seen_three_times():
    """Halves that differ by a little are one segment where k over their size is more: sqrt(3) as much as for one."""
    pytest.importorskip("skimage")
    step = np.full((40, 80, 1), 0.3)
    step[:, 40:] += 0.005
    thirds = np.repeat(step, 3, axis=2) / np.sqrt(3)
    found = [(initial_segments(x, k).max()) for k in (480, 720, 960) for x in (step, thirds)]
    assert found == [1, 1, 1, 0, 0, 0]


@pytest.fixture(scope="module")
def fast():
    pytest.importorskip("skimage")
    return build_proposer("selective_search_fast")


def test_both_blocks_of_a_picture_are_found(fast):
    boxes, scores = fast(blocks())
    overlaps = iou(boxes, np.array([[15, 20, 55, 60], [70, 30, 110, 80], [0, 0, 120, 90]], np.float32)).max(axis=0)
    assert (overlaps > 0.9).all()
    assert boxes.dtype == scores.dtype == np.float32 and (np.diff(scores) <= 0).all()
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 20 and len(np.unique(boxes, axis=0)) == len(boxes)


def test_the_same_image_gives_the_same_boxes_and_a_seed_another_order(fast):
    picture = blocks()
    (a, _), (b, _) = fast(picture), fast(picture)
    other, _ = build_proposer("selective_search_fast", seed=1)(picture)
    np.testing.assert_array_equal(a, b)
    assert sorted(a.tolist()) == sorted(other.tolist()) and a.tolist() != other.tolist()
    assert len(build_proposer("selective_search_fast", count=3)(picture)[0]) == 3


def test_quality_finds_more(fast):
    some, all_of_them = fast(blocks())[0], build_proposer("selective_search_quality")(blocks())[0]
    assert len(all_of_them) > len(some) and {tuple(box) for box in some} <= {tuple(box) for box in all_of_them}


def test_tiny_and_flat_pictures(fast):
    boxes, _ = fast(np.full((30, 40, 3), 7, np.uint8))
    assert boxes.tolist() == [[0, 0, 40, 30]]
    assert fast(np.zeros((1, 5, 3), np.uint8))[0].shape == (0, 4)  # smaller than the smallest box


def test_photographs(fast):
    """All 73 test photographs: see docs/proposals.md; here 3 of them."""
    if not COCO.is_dir():
        pytest.skip(f"needs {COCO}")
    data = datasets.open_coco(COCO, "test", masks=False)
    overlaps, labels = [], []
    for sample in (data[i] for i in (0, 20, 40)):
        large = (sample["area"] > 32**2) & ~sample["difficult"]
        overlaps.append(best_overlaps(fast(sample["image"])[0], sample["boxes"][large], [2000])[0])
        labels.append(sample["labels"][large])
    assert mean_average_best_overlap(np.concatenate(overlaps), np.concatenate(labels)) >= 0.75


@pytest.mark.parametrize(
    "options, message",
    [
        ({"spaces": ["hsv", "cmyk"]}, "colour space must be of .*got cmyk"),
        ({"spaces": []}, "colour space .*got none"),
        ({"measures": ["CX"]}, "similarity must be of C, T, S, F, got X"),
        ({"scales": [50, 0]}, "scales must be at least 1"),
        ({"scales": []}, "scales must be at least 1"),
    ],
)
def test_bad_options(fast, options, message):
    with pytest.raises(ValueError, match=message):
        build_proposer("selective_search_fast", **options)


def test_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ValueError, match="selective_search_fast needs scikit-image, .*pip install scikit-image"):
        build_proposer("selective_search_fast")
