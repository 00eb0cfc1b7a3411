"""The reader of lossless CIFAR-10: on a folder made here, and on the real one where it is."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import CIFAR10Lossless

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def root(tmp_path):
    """A folder with 12 images in each batch; the pixels of image i of batch b count up from 12 b + i."""
    names, labels = ("cifar10_batch_0", "cifar10_batch_1", "cifar10_batch_50"), {"classes": ["cat", "dog", "cow"]}
    for b, name in enumerate(names):
        pixels = (np.arange(12 * 3072).reshape(12, 1024, 3) % 3072 + 12 * b + np.arange(12)[:, None, None]) % 256
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
        labels[name] = [(i + b) % 3 for i in range(12)]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path


def test_samples(root):
    train, test = CIFAR10Lossless(root, "train"), CIFAR10Lossless(root, "test")
    assert (len(train), len(test)) == (24, 12)
    assert train.classes == ("cat", "dog", "cow")
    sample = train[13]
    assert sample["id"] == "cifar10_batch_1/1"
    assert sample["label"] == 2 and type(sample["label"]) is int
    assert sample["image"].dtype == np.uint8
    np.testing.assert_array_equal(sample["image"].ravel(), (np.arange(3072) + 13) % 256)  # row, column, colour
    sample["image"][...] = 0
    assert train[13]["image"].any()
    assert test[-1]["id"] == "cifar10_batch_50/11"
    with pytest.raises(IndexError):
        test[12]


def change_labels(root, **changes):
    labels = json.loads((root / "labels.json").read_text())
    (root / "labels.json").write_text(json.dumps({k: v for k, v in (labels | changes).items() if v is not None}))


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda root: (root / "labels.json").unlink(), r"labels\.json: there is no such file"),
        (lambda root: (root / "labels.json").write_text("{"), r"labels\.json: not readable as JSON"),
        (lambda root: (root / "labels.json").write_bytes(b"\xff"), r"labels\.json, line 1: not a text file in UTF-8"),
        (
            lambda root: (root / "labels.json").write_text("[]"),
            r"labels\.json: must hold a list of names under 'classes'",
        ),
        (lambda root: change_labels(root, classes=[1]), "must hold a list of names under 'classes'"),
        (lambda root: change_labels(root, cifar10_batch_1=None), "list of labels in 0 .. 2 under 'cifar10_batch_1'"),
        (
            lambda root: change_labels(root, cifar10_batch_0=[3] * 12),
            "list of labels in 0 .. 2 under 'cifar10_batch_0'",
        ),
        (lambda root: change_labels(root, cifar10_batch_0=[1.0] * 12), "list of labels in 0 .. 2"),
        (
            lambda root: change_labels(root, cifar10_batch_0=[1] * 11),
            r"batch_0\.png: must be 1024 pixels wide and 11 high, .* is 1024 wide and 12 high",
        ),
        (lambda root: (root / "cifar10_batch_1.png").unlink(), r"batch_1\.png: there is no such image file"),
        (lambda root: os.truncate(root / "cifar10_batch_1.png", 100), r"batch_1\.png: the image cannot be decoded"),
    ],
)
def test_damage_is_named(root, damage, message):
    damage(root)
    with pytest.raises(ValueError, match=message):
        CIFAR10Lossless(root, "train")


def test_unknown_splits_and_folders(root):
    with pytest.raises(ValueError, match="split must be one of train, test, got 'val'"):
        CIFAR10Lossless(root, "val")
    with pytest.raises(ValueError, match="nowhere: there is no such folder"):
        CIFAR10Lossless(root / "nowhere")


def test_the_real_images():
    folder = DATA / "cifar10_lossless"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    train, test = CIFAR10Lossless(folder, "train"), CIFAR10Lossless(folder, "test")
    assert (len(train), len(test)) == (2000, 1000)
    assert [train[i]["label"] for i in range(10)] == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]  # the official order
    assert [test[i]["label"] for i in range(10)] == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert train.classes[6] == "frog"
    assert test[0]["image"].shape == (32, 32, 3)
    assert test[0]["image"][0, 0].tolist() == [158, 112, 49]  # of the first test image, a cat


def test_a_picture_of_another_size_is_not_decoded(root, monkeypatch):
    Image.new("RGB", (1024, 13)).save(root / "cifar10_batch_1.png")
    monkeypatch.setattr("datasets.cifar.read_image", lambda path: pytest.fail("decoded") if "1.p" in str(path) else 0)
    monkeypatch.setattr("datasets.cifar.BATCHES", {"train": ("cifar10_batch_1",)})
    with pytest.raises(ValueError, match=r"batch_1\.png: must be 1024 pixels wide .* is 1024 wide and 13 high"):
        CIFAR10Lossless(root, "train")
