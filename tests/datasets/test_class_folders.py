"""Pictures in a folder for each class: with folders of splits, without, and what is refused."""

import os

import numpy as np
import pytest
from PIL import Image

from datasets import ClassFolders


def fill(root, *names):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 9, 3), 10 * i, np.uint8)).save(root / name)
    return root


def ids(data):
    return [sample["id"] for sample in data]


def test_folders_of_splits(tmp_path):
    fill(tmp_path, "train/cat/a.png", "train/dog/b.JPG", "train/cat/in/c 1.png", "valid/dog/d.bmp", "test/cat/e.webp")
    for hidden in ("train/cat/._a.png", "train/cat/Thumbs.db", "train/.DS_Store", "train/.cache/x.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"x")
    data = ClassFolders(tmp_path)
    assert data.classes == ("cat", "dog") and data.counts == {"cat": 2, "dog": 1} and data.problems == []
    assert [(s["id"], s["label"]) for s in data] == [("cat/a.png", 0), ("cat/in/c 1.png", 0), ("dog/b.JPG", 1)]
    sample = data[0]
    assert sample["image"].shape == (8, 9, 3) and sample["image"].dtype == np.uint8 and type(sample["label"]) is int
    val = ClassFolders(tmp_path, "val", ("cat", "dog"))
    assert [(s["id"], s["label"]) for s in val] == [("dog/d.bmp", 1)]
    assert val.problems == [f"{tmp_path}/valid: cat has no picture in this split"]
    assert ids(ClassFolders(tmp_path, "test")) == ["cat/e.webp"]
    with pytest.raises(ValueError, match=r"has no folder of the split 'trainval', but train, valid, test"):
        ClassFolders(tmp_path, "trainval")


@pytest.mark.parametrize("place", [".", "train"])
def test_a_split_drawn_by_a_seed(tmp_path, place):
    fill(
        tmp_path / place, *(f"{name}/{k:02}.png" for name, n in (("cat", 11), ("dog", 4), ("owl", 1)) for k in range(n))
    )
    train, val, both = (ClassFolders(tmp_path, split) for split in ("train", "val", "trainval"))
    assert train.counts == {"cat": 9, "dog": 3, "owl": 1} and val.counts == {"cat": 2, "dog": 1, "owl": 0}
    assert sorted(ids(train) + ids(val)) == ids(both)
    assert ids(ClassFolders(tmp_path, "val")) == ids(val) != ids(ClassFolders(tmp_path, "val", seed=1))
    assert "holds all splits; 3 pictures, drawn by a seed, are val" in val.problems[0]
    with pytest.raises(ValueError, match="has no split 'test'|has no folder of the split 'test'"):
        ClassFolders(tmp_path, "test")


def test_a_class_called_train(tmp_path):
    data = ClassFolders(fill(tmp_path, "train/a.png", "train/b.png", "car/a.png"), "trainval")
    assert data.classes == ("car", "train") and len(data) == 3


def test_classes_pick_and_order(tmp_path):
    fill(tmp_path, "train/cat/a.png", "train/dog/b.png", "train/owl/c.png", "val/cat/a.png")
    data = ClassFolders(tmp_path, "train", ["dog", "cat"])
    assert [(s["id"], s["label"]) for s in data] == [("dog/b.png", 0), ("cat/a.png", 1)]
    assert data.problems == [f"{tmp_path}/train: 1 folders are not among the classes and are left out: owl"]
    assert ClassFolders(tmp_path, "val", ["dog", "cat"]).counts == {"dog": 0, "cat": 1}  # dog is in train
    for wrong, message in (
        (["Cat"], "has no folder of the class 'Cat'; did you mean 'cat'"),
        (["cow", "cat"], "has no folder of the class 'cow'; there are cat, dog, owl"),
        ([], "ClassFolders: classes must be a list of names"),
    ):
        with pytest.raises(ValueError, match=message):
            ClassFolders(tmp_path, "train", wrong)


def test_notes(tmp_path):
    fill(tmp_path, "train/cat/a.png", "train/cat/a.jpg", "train/Cat/b.png", "train/c.png", "val/cat/a.png")
    assert ClassFolders(tmp_path).problems == [
        f"{tmp_path}/train: 1 pictures lie in no folder of a class and are left out (first: c.png)",
        f"{tmp_path}/train: 1 names come twice, with other endings, and all are used (first: cat/a)",
        f"{tmp_path}/train: the classes 'Cat' (1 times) and 'cat' (2 times) are written almost alike; are they one?",
    ]


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(ValueError, match="none: there is no such folder"):
        ClassFolders(tmp_path / "none")
    fill(tmp_path, "a.png")
    with pytest.raises(ValueError, match="holds no folder with pictures; give each class a folder"):
        ClassFolders(tmp_path)
    fill(tmp_path, *(f"cat/{k}.png" for k in range(5)))
    os.truncate(tmp_path / "cat/3.png", 50)
    with pytest.raises(ValueError, match=r"cat/3\.png: the image cannot be decoded"):
        ClassFolders(tmp_path, "trainval")


def test_a_single_class_is_noted(tmp_path):
    fill(tmp_path, "train/cat/1.png", "train/cat/2.png")
    assert any(
        line.endswith("cat is the only class: there is nothing to tell apart")
        for line in ClassFolders(tmp_path).problems
    )
