"""Baselines: inside the image, as many as wanted, spread as their docstrings say."""

import numpy as np
import pytest

from vision.proposals import build_proposer

PICTURE = np.zeros((150, 200, 3), np.uint8)


@pytest.mark.parametrize("name", ["uniform", "gaussian", "sliding_windows"])
def test_boxes_lie_inside_and_repeat(name):
    boxes, scores = build_proposer(name, count=500)(PICTURE)
    assert 300 < len(boxes) <= 500 and (np.diff(scores) <= 0).all()
    assert (boxes >= 0).all() and (boxes <= [200, 150, 200, 150]).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    np.testing.assert_array_equal(boxes, build_proposer(name, count=500)(PICTURE)[0])
    assert len(build_proposer(name, count=50)(PICTURE)[0]) <= 50
    assert len(build_proposer(name)(np.zeros((3, 4, 3), np.uint8))[0]) > 0


def test_uniform_centres_and_aspects():
    boxes, _ = build_proposer("uniform", count=20_000)(PICTURE)
    whole = (boxes[:, :2] > 0).all(1) & (boxes[:, 2:] < [200, 150]).all(1)
    sides = boxes[whole, 2:] - boxes[whole, :2]
    assert abs(np.log(sides[:, 0] / sides[:, 1])).max() <= np.log(2) + 1e-5
    assert np.sqrt(sides.prod(1)).min() >= 20 - 1e-4


def test_windows_reach_all_edges():
    boxes, _ = build_proposer("sliding_windows")(PICTURE)
    assert boxes[:, :2].min(axis=0).tolist() == [0, 0] and boxes[:, 2:].max(axis=0).tolist() == [200, 150]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("uniform", {"aspect": 0.5}, "uniform: need aspect >= 1"),
        ("uniform", {"min_side": 0}, "min_side >= 1"),
        ("sliding_windows", {"sizes": 0}, "sliding_windows: need sizes >= 1"),
        ("sliding_windows", {"aspects": []}, "aspects > 0"),
        ("gaussian", {"centre_std": -1.0}, "gaussian: centre_std must be at least 0, got -1"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_proposer(name, **options)
