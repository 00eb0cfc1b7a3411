"""Breeds of pets by an index."""

import numpy as np
import pytest
from PIL import Image

from datasets import PetBreeds

LINES = [
    "a,trainval,Bengal",
    "b,trainval,boxer",
    "c,test,Bengal",
    "d,trainval,Bengal",
    "e,trainval,boxer",
    "f,trainval,boxer",
]


@pytest.fixture
def pets(tmp_path):
    (tmp_path / "images").mkdir()
    for i, line in enumerate(LINES):
        Image.fromarray(np.full((8, 9, 3), 10 * i, np.uint8)).save(tmp_path / f"images/{line[0]}.png")
    (tmp_path / "index.csv").write_text("\n".join(["name,split,breed", *LINES]))
    return tmp_path


def test_splits_and_labels(pets):
    data = PetBreeds(pets, "trainval")
    assert data.classes == ("Bengal", "boxer") and data.counts == {"Bengal": 2, "boxer": 3} and not data.problems
    assert [(s["id"], s["label"], s["image"][0, 0, 0]) for s in data] == [
        ("a", 0, 0), ("b", 1, 10), ("d", 0, 30), ("e", 1, 40), ("f", 1, 50)
    ]  # fmt: skip
    assert [(each.id, each.size) for each in data.listing()][:2] == [("a", (8, 9)), ("b", (8, 9))]
    assert [s["id"] for s in PetBreeds(pets, "train")] == ["a", "b", "d", "e"]
    val = PetBreeds(pets, "val")
    assert [s["id"] for s in val] == ["f"]
    assert val.problems == [f"{pets}/images: Bengal has no picture in this split"]
    assert [s["id"] for s in PetBreeds(pets, "test")] == ["c"]
    turned = PetBreeds(pets, "trainval", ["boxer"])
    assert [(s["id"], s["label"]) for s in turned] == [("b", 0), ("e", 0), ("f", 0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: (root / "images/b.png").rename(root / "images/bb.png"),
            r"holds no picture b, named by .*index\.csv; add the picture",
        ),
        (lambda root: (root / "images/b.png").write_bytes(b"no picture"), r"b\.png"),
        (lambda root: (root / "index.csv").unlink(), r"index\.csv"),
        (lambda root: (root / "index.csv").write_text("name,split\na,train"), "columns name, split and breed"),
        (lambda root: (root / "index.csv").write_text("\n".join(["name,split,breed", *LINES, "a.png,test,x"])), None),
    ],
)
def test_faults_are_named(pets, change, message):
    change(pets)
    if message is None:
        assert len(PetBreeds(pets, "test")) == 2
        return
    with pytest.raises(ValueError, match=message):
        PetBreeds(pets, "trainval")


def test_breeds_and_splits_that_are_not_there(pets):
    with pytest.raises(ValueError, match="no photograph of the breed 'poodle'; breeds there: Bengal, boxer"):
        PetBreeds(pets, "train", ["poodle"])
    with pytest.raises(ValueError, match="no photographs of the split 'tset', only of test, trainval"):
        PetBreeds(pets, "tset")
    (pets / "index.csv").write_text("name,split,breed\na,test,x\na.png,test,x")
    with pytest.raises(ValueError, match="two of its names are one picture"):
        PetBreeds(pets, "test")
