"""Embedders from training to pictures, on generated scenes and a few files made here; resuming; bad input by name."""

import json
import struct
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import vision
from scripts import evaluate, predict, similar, train
from scripts.readers import READERS
from scripts.samplers import labels_of, sampler_of

SHAPES = ("--data", "shapes", "--shapes-train", 40, "--shapes-val", 12, "--shapes-size", 32, 32, "--pictures", 2)
NET = ("--set", "width=4", "dimensions=6", "short_side=32", "max_side=32", "images_per_class=3", "--batch-size", 9)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A triplet network of one epoch on generated scenes."""
    folder = tmp_path_factory.mktemp("embedding") / "run"
    train.main(["--model", "triplet_net", *SHAPES, *NET, "--epochs", 1, "--run-dir", folder])
    return folder


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """72 training images, of which 6 are "val", and 12 test images: black with a square, higher for smaller digits."""
    folder, rng = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for name, n in (("train", 72), ("t10k", 12)):
        labels, images = np.arange(n, dtype=np.uint8) % 3, rng.integers(0, 60, (n, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels):
            image[2 * label : 2 * label + 8, 5:20] = 200
        for array, kind in ((images, "images-idx3-ubyte"), (labels, "labels-idx1-ubyte")):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{name}-{kind}").write_bytes(header + array.tobytes())
    return folder


def test_from_training_to_pictures(run, tmp_path, capsys):
    assert evaluate.main([run, "--out", tmp_path / "out"]) == 0
    assert "nearest neighbour error" in (text := capsys.readouterr().out) and "gallery of 12" in text
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["map.png", "retrieval.png", "roc.png"]
    assert evaluate.main([run, "--data", "shapes_colours", "--shapes-val", 9, "--shapes-size", 32, 32]) == 0
    assert "gallery of 9" in capsys.readouterr().out  # other classes than those of training


def test_predict_gives_the_vector_of_the_model(run, tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert predict.main([run, tmp_path / "a.png", "--out", tmp_path / "out"]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    np.testing.assert_allclose(record["found"], vision.load(run).embed(tmp_path / "a.png"), atol=1e-5)


def test_similar_finds_a_picture_itself(run, tmp_path, capsys):
    (tmp_path / "gallery/inner").mkdir(parents=True)
    for i in range(5):
        image = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "gallery" / ("inner" if i % 2 else ".") / f"{i}.png")
    (tmp_path / "gallery/damaged.png").write_bytes(b"no picture")
    assert similar.main([run, tmp_path / "gallery", tmp_path / "gallery/inner", "--out", tmp_path / "o", "-k", 3]) == 1
    captured = capsys.readouterr()
    assert "2 queries among 5 pictures" in captured.out and "damaged.png" in captured.err
    found = json.loads((tmp_path / "o/similar.json").read_text())
    assert [len(record["found"]) for record in found] == [3, 3]
    assert all(record["found"][0]["file"] == record["file"] for record in found)
    assert (tmp_path / "o/similar.png").exists()


@pytest.mark.parametrize("model", ["dr_lim", "triplet_net"])
def test_a_resumed_run_has_the_same_bits(mnist, tmp_path, model):
    net = ("--set", "width=2", "--batch-size", 22, "--data", "mnist", "--root", mnist, "--pictures", 0)
    net = (*net, "--affine", 1) if model == "triplet_net" else ("--set", "nearest=1", *net[1:])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train.main(["--model", model, *net, "--epochs", 2, "--run-dir", whole])
    train.main(["--model", model, *net, "--epochs", 2, "--run-dir", parts, "--time-limit", "1e-9"])  # one step
    assert json.loads((parts / "metrics.jsonl").read_text().splitlines()[-1])["step"] < 3
    train.main(["--run-dir", parts, "--resume"])
    arrays = [np.load(folder / "last.npz") for folder in (whole, parts)]
    for name in arrays[0].files:
        if name.startswith("model/"):
            np.testing.assert_array_equal(arrays[0][name], arrays[1][name])


def opened(data, split, root, classes=None):
    return READERS["embedding"][data].open(Namespace(data=data, root=root, classes=classes), split)


def test_digits(mnist):
    train_data, val, test = (opened("mnist", split, mnist) for split in ("train", "val", "test"))
    assert (len(train_data), len(val), len(test), len(test.gallery)) == (66, 6, 12, 72)
    assert not {sample["id"] for sample in train_data} & {sample["id"] for sample in val}
    some = opened("mnist", "train", mnist, ["2", "0"])
    assert some.classes == ("2", "0") and len(some) == 44 and set(some.labels) == {0, 1}
    shifted = opened("mnist_shifted", "val", mnist)
    assert len(shifted) == 5 * 6 and shifted[7]["origin"] == 1
    assert len(opened("mnist_turned", "train", mnist, ["1"])) == 648


@pytest.mark.parametrize("model, options, kind, data", [
    ("dr_lim", {}, "NeighbourPairs", "mnist"), ("dr_lim", {}, "NeighbourPairs", "mnist_shifted"),
    ("dr_lim", {"pairs": "labels"}, "LabelPairs", "mnist"), ("triplet_net", {}, "ClassBatches", "mnist"),
    ("triplet_net", {"mining": "random"}, "LabelTriplets", "mnist"),
])  # fmt: skip
def test_the_sampler_of_a_model(mnist, model, options, kind, data):
    dataset = opened(data, "train", mnist)
    sampler = sampler_of(vision.build(model, dataset.classes, **options), dataset, Namespace(batch_size=24))
    assert type(sampler).__name__ == kind and len(sampler) == max(1, len(dataset) // 24)
    assert all(len(batch) == 24 for batch in sampler.epoch(np.random.default_rng(0)))
    assert (labels_of(dataset) == [sample["label"] for sample in dataset]).all()


def test_validation_pictures_may_be_too_few_for_batches(tmp_path, capsys):
    """Of other classes, one of them alone: no losses on them, but they are evaluated."""
    for i, name in enumerate(("train/a", "train/a", "train/b", "train/b", "val/c", "val/d", "val/d")):
        (tmp_path / "my" / name).mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(i).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "my" / name / f"{i}.png")
    folders = ("--data", "class_folders", "--root", tmp_path / "my", "--run-dir", tmp_path / "run", "--epochs", 1)
    assert train.main(["--model", "triplet_net", *folders, *NET]) == 0
    captured = capsys.readouterr()
    assert "no losses on validation data: ClassBatches: the class c has one image" in captured.err
    assert "gallery of 3" in captured.out


def test_bad_input(mnist, run, tmp_path, error_of):
    common = ("--data", "mnist", "--root", mnist, "--run-dir", tmp_path / "run")
    message = error_of(train.main, "--model", "triplet_net", *common, "--batch-size", 8)
    assert "--batch-size must be at least 16 images for triplet_net, got 8" in message
    assert "needs 2 classes, the data has 1" in error_of(train.main, "--model", "triplet_net", *common, "--classes", 1)
    assert "MNIST has the digits 0 1" in error_of(train.main, "--model", "dr_lim", *common, "--classes", "x")
    assert "--data mnist needs --root DIR" in error_of(train.main, "--model", "dr_lim", "--run-dir", tmp_path / "run")
    assert "no such folder" in error_of(similar.main, run, tmp_path / "none", tmp_path, "--out", tmp_path / "o")
    assert "holds no pictures" in error_of(similar.main, run, tmp_path, tmp_path, "--out", tmp_path / "o")
    for name in ("train/a/1", "train/a/2", "train/b/1", "val/a/1"):
        (tmp_path / "folders" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "folders" / f"{name}.png")
    folders = ("--data", "class_folders", "--root", tmp_path / "folders", "--run-dir", tmp_path / "run")
    assert "the class b has one image, at least 2" in error_of(train.main, "--model", "triplet_net", *folders)
