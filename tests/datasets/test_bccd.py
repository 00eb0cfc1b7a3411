"""The reader on real data: 364 photographs of blood cells."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets import VOCDetection, find_classes

PROJECT = Path(__file__).parents[2]
COUNTS = {"train": 205, "val": 87, "test": 72, "trainval": 292}


@pytest.fixture(scope="module")
def root():
    folder = Path(os.environ.get("CV_DATA", PROJECT.parent / "shared" / "data")) / "bccd"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture(scope="module")
def splits(root):
    classes = find_classes(root)
    return {split: VOCDetection(root, split, classes) for split in COUNTS}


def test_counts(splits):
    assert {split: len(data) for split, data in splits.items()} == COUNTS
    assert set(splits["train"].names) | set(splits["val"].names) == set(splits["trainval"].names)
    assert not set(splits["test"].names) & set(splits["trainval"].names)


def test_two_zero_size_boxes_are_dropped_and_reported(splits):
    problems = [line for split in ("train", "val", "test") for line in splits[split].problems]
    assert len(problems) == 2
    assert any("BloodImage_00338.xml: RBC (504, 337, 504, 337) has no area: dropped" in line for line in problems)
    assert any("BloodImage_00343.xml: RBC (181, 329, 181, 329) has no area: dropped" in line for line in problems)


def test_boxes(splits):
    counted = Counter()
    for split in ("trainval", "test"):
        for i in (0, 100, -1) if split == "trainval" else (0, -1):  # some, as decoding takes time
            assert splits[split][i]["image"].shape == (480, 640, 3)
        for arrays in (item.arrays for item in splits[split].items):
            boxes, labels, difficult = arrays["boxes"], arrays["labels"], arrays["difficult"]
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] <= (640, 480)).all()
            assert (boxes[:, 2:] - boxes[:, :2] > 1).all()
            assert not difficult.any()
            counted.update(splits[split].classes[label - 1] for label in labels)
    assert counted == {"RBC": 4155 - 2, "WBC": 372, "Platelets": 361}
    assert sum(counted.values()) == 4886


def test_corners_count_from_one(splits):
    """Corners of 1 and of the full width occur, and nothing beyond: so does the published format say."""
    boxes = np.concatenate([item.arrays["boxes"] for item in splits["trainval"].items])
    assert boxes.min() == 0
    assert boxes[:, 2].max() == 640
    assert boxes[:, 3].max() == 480


def test_red_cells_are_reddish_and_white_cells_dark_violet(splits):
    """Boxes lie on what they name: the nucleus of a white cell is darker in green than red cells are."""
    data = splits["train"]
    means = {name: [] for name in data.classes}
    for i in range(0, 205, 20):
        sample = data[i]
        for (x1, y1, x2, y2), label in zip(sample["boxes"].astype(int), sample["labels"]):
            w, h = x2 - x1, y2 - y1
            middle = sample["image"][y1 + h // 3 : y2 - h // 3, x1 + w // 3 : x2 - w // 3]
            means[data.classes[label - 1]].append(middle[..., 1].mean())
    assert np.median(means["WBC"]) < np.median(means["RBC"]) - 30
