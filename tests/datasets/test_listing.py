"""Samples by id and size without reading any: equal to what reading them gives, for every data set that can tell."""

import json

import numpy as np
import pytest
from PIL import Image

from datasets import ClassFolders, Dates, LabelledFolders, Loader, Shapes, YOLODetection
from datasets.listing import Listed, fingerprint, listing, name_of
from datasets.shapes_questions import ShapesQuestions


def picture(path, height, width, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)).save(path)


@pytest.fixture
def class_folders(tmp_path):
    for i, name in enumerate(("train/cat/a.png", "train/cat/b.png", "train/dog/street 1.jpg", "val/cat/c.png")):
        picture(tmp_path / "root" / name, 20 + i, 30, i)
    return tmp_path / "root"


@pytest.fixture
def labelled(tmp_path):
    for name, size in {"a": (20, 30), "b": (41, 32)}.items():
        picture(tmp_path / f"labelled/images/{name}.jpg", *size)
        (tmp_path / "labelled/labels").mkdir(exist_ok=True)
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / f"labelled/labels/{name}.png")
    (tmp_path / "labelled/classes.txt").write_text("sky\nroad\n")
    (tmp_path / "labelled/train.txt").write_text("a\nb\n")
    return tmp_path / "labelled"


def check(dataset):
    listed = list(listing(dataset))
    samples = [dataset[i] for i in range(len(dataset))]
    assert [each.id for each in listed] == [sample["id"] for sample in samples]
    assert [each.size for each in listed] == [sample["image"].shape[:2] for sample in samples]


def test_it_says_what_reading_the_samples_says(class_folders, labelled):
    check(ClassFolders(class_folders))
    check(LabelledFolders(labelled))
    check(Shapes(3, (40, 48), 5))
    check(ShapesQuestions(3, (64, 80), 5))
    assert [each.id for each in Dates(3, 4).listing()] == [Dates(3, 4)[i]["id"] for i in range(3)]


def test_objects(tmp_path):
    picture(tmp_path / "images/1.png", 33, 44)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    check(YOLODetection(tmp_path, "trainval" if (tmp_path / "trainval").exists() else "train"))


def test_a_fingerprint_does_not_depend_on_where_the_files_lie(class_folders, tmp_path):
    before = fingerprint(ClassFolders(class_folders))
    assert before["samples"] == 3
    (class_folders).rename(tmp_path / "moved")
    assert fingerprint(ClassFolders(tmp_path / "moved")) == before
    json.dumps(before)


def test_a_fingerprint_sees_names_sizes_and_order(class_folders):
    before = fingerprint(ClassFolders(class_folders))
    picture(class_folders / "train/cat/a.png", 20, 31)
    assert fingerprint(ClassFolders(class_folders)) != before
    picture(class_folders / "train/cat/a.png", 20, 30, seed=9)  # other pixels: not looked at
    assert fingerprint(ClassFolders(class_folders)) == before
    (class_folders / "train/cat/a.png").rename(class_folders / "train/cat/c.png")
    assert fingerprint(ClassFolders(class_folders)) != before
    assert fingerprint(Shapes(3, seed=1)) != fingerprint(Shapes(3, seed=2))


def test_a_data_set_that_cannot_tell():
    assert listing(["a", "b"]) is None
    assert fingerprint(["a", "b"]) == {"samples": 2}
    assert name_of([{"id": 7}], 0) == "7" and name_of(["a"], 0) == "sample 0"


def test_names_for_messages(tmp_path):
    assert str(Listed("a", (1, 2))) == "a"
    assert str(Listed("a", (1, 2), tmp_path / "a.png")) == str(tmp_path / "a.png")
    assert str(Listed("285", (1, 2), tmp_path / "x.png")) == f"{tmp_path / 'x.png'} (285)"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_transform_or_collate_names_the_samples(workers):
    data = Shapes(5, (40, 48), 1)

    def fail(*_):
        raise ValueError("too thin")

    with pytest.raises(ValueError, match="^shapes-1-1: too thin$"):
        list(Loader(data, 2, list, transform=lambda s, rng: fail() if s["id"] == "shapes-1-1" else s, shuffle=False,
                    workers=workers).epoch(0))  # fmt: skip
    loader = Loader(data, 2, fail, seed=3, workers=workers)
    with pytest.raises(ValueError, match=f"^{', '.join(loader.names(4, 1))}: too thin$"):
        list(loader.epoch(4, start=1))
    order = Loader(data, 2, lambda samples: [s["id"] for s in samples], seed=3, workers=workers)
    assert [order.names(4, i) for i in range(3)] == list(order.epoch(4))
