"""Heads of pets: classes by breed and species, splits, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import PetHeads

PETS = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data")) / "pets3"
COLUMNS = "name,split,breed,species,head_x1,head_y1,head_x2,head_y2"
LINES = [
    "a,trainval,Bengal,cat,1,2,9,8",
    "b,trainval,Pug,dog,2.5,2,9,8",
    "c,trainval,Pug,dog,,,,",
    "d,trainval,Manx,cat,0,0,4,4",
    "e,trainval,Pug,dog,1,1,20,8",
    "f,trainval,Pug,dog,1,1,3,3",
]


def write(root, lines=LINES, columns=COLUMNS):
    (root / "images").mkdir(exist_ok=True)
    for name in "abcdef":
        Image.fromarray(np.full((10, 14, 3), ord(name), np.uint8)).save(root / "images" / f"{name}.jpg")
    (root / "index.csv").write_text("\n".join([columns, *lines, ""]))
    return root


def ids(data):
    return [each.id for each in data.listing()]


def test_breeds_species_and_splits(tmp_path):
    write(tmp_path)
    parts = {split: PetHeads(tmp_path, split) for split in ("train", "val", "test", "trainval")}
    assert {split: "".join(ids(data)) for split, data in parts.items()} == {
        "train": "abd", "val": "e", "test": "f", "trainval": "abde",
    }  # fmt: skip
    train, val = parts["train"], parts["val"]
    assert train.classes == ("Bengal", "Manx", "Pug")
    assert train[1]["boxes"].tolist() == [[2.5, 2, 9, 8]] and train[1]["labels"].tolist() == [3]
    assert val[0]["boxes"].tolist() == [[1, 1, 14, 8]]  # clipped
    dogs = PetHeads(tmp_path, "trainval", ["dog", "Manx"])
    assert [dogs[i]["labels"].tolist() for i in range(4)] == [[], [1], [2], [1]]
    assert dogs.counts == {"dog": 2, "Manx": 1}


@pytest.mark.parametrize(
    "lines, columns, message",
    [
        (
            LINES,
            COLUMNS.replace("species", "kind"),
            "must have the columns name, split, breed, .* and head_y2",
        ),
        (
            ["a,trainval,Bengal,cat,1,,9,8"],
            COLUMNS,
            "index.csv, a: the corners .*, got 1, nothing, 9, 8",
        ),
        (["a,trainval,Bengal,cat,1,x,9,8"], COLUMNS, "must be four numbers, got 1, x"),
        (["a,trainval,Bengal,cat,1,nan,9,8"], COLUMNS, "must be four numbers, got 1, nan"),
        (["g,trainval,Bengal,cat,1,2,9,8"], COLUMNS, "holds no picture g, named by"),
    ],
)
def test_refused(tmp_path, lines, columns, message):
    with pytest.raises(ValueError, match=message):
        PetHeads(write(tmp_path, lines, columns), "trainval")


def test_refused_classes_splits_and_folders(tmp_path):
    with pytest.raises(ValueError, match=r"index\.csv"):
        PetHeads(tmp_path)
    write(tmp_path)
    with pytest.raises(ValueError, match="'bird' is no breed or species; there are Bengal, Manx, Pug, cat, dog"):
        PetHeads(tmp_path, "train", ["bird"])
    with pytest.raises(ValueError, match="heads have the splits train, val, test, trainval; there is no 'holdout'"):
        PetHeads(tmp_path, "holdout")
    (tmp_path / "images").rename(tmp_path / "pictures")
    with pytest.raises(ValueError, match="has no folder images"):
        PetHeads(tmp_path)


def test_the_real_ones():
    if not PETS.is_dir():
        pytest.skip(f"needs {PETS}")
    parts = [PetHeads(PETS, split) for split in ("train", "val", "test")]
    assert [len(data) for data in parts] == [178, 59, 59] and all(len(data.counts) == 3 for data in parts)
    assert all(min(data.counts.values()) > 15 for data in parts)
