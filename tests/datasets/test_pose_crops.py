"""Crops of people with their points: splits by photograph, absent points, flips, bad input."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import PoseCrops, horizontal_flip

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data")) / "coco_pose_open"
NAMES = ["nose", "left_eye", "right_eye"]


def person(i, **changes):
    points = [[10, 5, 2], [12, 4, 1], [7, 7, 0]]
    own = {"file": f"{i}_0.png", "image_id": i // 2, "split": "test" if i >= 20 else "train"}
    return own | {"box": [2, 1, 20, 30], "keypoints": points} | changes


def folder(tmp_path, people=None, **changes):
    """22 people, two a photograph; the last photograph is for testing."""
    (tmp_path / "images").mkdir()
    people = people or [person(i) for i in range(22)]
    content = {"names": NAMES, "skeleton": [[1, 2], [1, 3]], "people": people}
    (tmp_path / "people.json").write_text(json.dumps(content | changes))
    for i in range(22):
        Image.fromarray(np.full((32, 24, 3), i, np.uint8)).save(tmp_path / f"images/{i}_0.png")
    return tmp_path


def test_splits_keep_the_people_of_a_photograph_together(tmp_path):
    root = folder(tmp_path)
    ids = {split: [item.id for item in PoseCrops(root, split).items] for split in ("train", "val", "test", "trainval")}
    assert ids["val"] == ["8_0", "9_0", "18_0", "19_0"]
    assert sorted(ids["train"] + ids["val"]) == sorted(ids["trainval"])
    assert ids["test"] == ["20_0", "21_0"]


def test_a_sample_and_its_flip(tmp_path):
    data = PoseCrops(folder(tmp_path), "val")
    assert (data.keypoint_names, data.skeleton, data.horizontal_order) == (tuple(NAMES), ((0, 1), (0, 2)), (0, 2, 1))
    sample = data[0]
    np.testing.assert_array_equal(sample["keypoints"], [[[10, 5, 2], [12, 4, 1], [0, 0, 0]]])
    flipped = horizontal_flip(sample, np.random.default_rng(0), probability=1, keypoint_order=data.horizontal_order)
    np.testing.assert_array_equal(flipped["keypoints"], [[[14, 5, 2], [0, 0, 0], [12, 4, 1]]])  # x' = 24 - x


@pytest.mark.parametrize(
    ("people", "changes", "message"),
    [
        ([person(0, box=[1, 2, 3])], {}, r"0_0.png: box must be \[x1, y1, x2, y2\]"),
        ([person(0, keypoints=[[1, 2, 2]])], {}, "keypoints must be .* of each of 3"),
        ([person(0, keypoints=[[1, 2, 7]] * 3)], {}, "v 0, 1 or 2"),
        ([person(0, file="77_0.png"), person(2)], {}, "77_0.png"),
        ([{"file": "0_0.png"}], {}, r"people\[0\] must have 'split'"),
        (None, {"names": []}, "must hold the names of the points"),
    ],
)
def test_bad_files(tmp_path, people, changes, message):
    with pytest.raises(ValueError, match=message):
        PoseCrops(folder(tmp_path, people, **changes), "trainval")


def test_no_file_and_no_split(tmp_path):
    with pytest.raises(ValueError, match="people.json"):
        PoseCrops(tmp_path)
    with pytest.raises(ValueError, match="has nobody in the split 'dev', only in test, train"):
        PoseCrops(folder(tmp_path), "dev")


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
def test_the_shared_people():
    train, test = PoseCrops(DATA, "trainval"), PoseCrops(DATA, "test")
    assert (len(train), len(test), len(test.keypoint_names)) == (716, 93, 17)
