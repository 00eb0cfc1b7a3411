"""MNIST and recurrent attention from training to pictures, on a few files made here."""

import json
import struct
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import vision
from scripts import evaluate, predict, train
from scripts.readers import READERS
from scripts.train_arguments import parse
from vision.classification.task import classify, draw_classified, select_labels
from vision.training.saving import load_model

TINY = ("--set", "glimpses=2", "glimpse_size=4", "hidden=8", "episodes=2", "--batch-size", 8, "--pictures", 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twenty training images and ten test images: black with a white square, higher for smaller digits."""
    folder, rng = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    for name, n in (("train", 20), ("t10k", 10)):
        labels, images = np.arange(n, dtype=np.uint8) % 10, np.zeros((n, 28, 28), np.uint8)
        for image, label in zip(images, labels):
            image[2 * label : 2 * label + 8, 5:20] = rng.integers(150, 255)
        for array, kind in ((images, "images-idx3-ubyte"), (labels, "labels-idx1-ubyte")):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{name}-{kind}").write_bytes(header + array.tobytes())
    return folder


@pytest.mark.parametrize("data, images", [("mnist", 20), ("mnist_translated", 200), ("mnist_cluttered", 200)])
def test_attention_from_training_to_predictions(root, tmp_path, capsys, data, images):
    model, run = "ram_mnist" if data == "mnist" else "ram_translated", tmp_path / "run"
    assert train.main(["--model", model, *TINY, "--data", data, "--root", root, "--epochs", 1, "--run-dir", run]) == 0
    assert f"{images} images to train on (train), 10 to evaluate on (test)" in capsys.readouterr().out
    assert evaluate.main([run]) == 0
    assert "all        10     " in capsys.readouterr().out
    Image.fromarray(np.full((40, 56, 3), 99, np.uint8)).save(tmp_path / "a.png")
    assert predict.main([run, tmp_path / "a.png", "--out", tmp_path / "out", "--threshold", 0]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    assert len(record["found"]) == 5
    with Image.open(tmp_path / "out/a.png") as picture:
        pixels = np.array(picture)
    assert pixels.shape[1] == 6 * 56
    assert (pixels[: 6 * 40] == (255, 38, 38)).all(axis=2).any()  # the last glimpse


@pytest.mark.parametrize(
    "options, slower", [(("transform=off",), []), (("at=both", "localisation=fcn"), ["transformer1", "transformer2"])]
)
def test_spatial_transformers_learn_slowly(root, tmp_path, options, slower):
    """The rates are those of parts that are there: without a transformer there is none to be slower."""
    given = ("--data", "mnist_rts", "--root", root, "--images-per-class", 1, "--epochs", 1, "--pictures", 0)
    run = tmp_path / "run"
    assert train.main(["--model", "stn_mnist", "--set", "width=2", *options, *given, "--run-dir", run]) == 0
    (stage,) = load_model(run / "best.npz")[0].stages()
    assert stage.recipe["lr_scale"] == dict.fromkeys(slower, 0.3)


def test_recipes_do_not_change_digits(tmp_path):
    for name in ("ram_mnist", "ram_translated", "mnist_fc", "mnist_conv"):
        arguments = parse(["--model", name, "--run-dir", str(tmp_path / "run")], "")
        assert (arguments.flip_horizontal, arguments.flip_vertical, arguments.jitter) == (0, 0, 0)
        assert arguments.zoom == [1, 1]


def test_test_digits_have_one_position_and_other_ones_than_training_digits(root):
    arguments, readers = Namespace(data="mnist_translated", root=root), READERS["classification"]
    one, again, training = (readers["mnist_translated"].open(arguments, s) for s in ("test", "test", "train"))
    assert (len(one), len(training)) == (10, 200)
    assert [one[i]["corner"] for i in range(10)] == [again[i]["corner"] for i in range(10)]
    assert [one[i]["corner"] for i in range(10)] != [training[i]["corner"] for i in range(10)]
    held, kept = (readers["mnist_translated"].open(arguments, f"train:{part}") for part in ("held_out", "kept"))
    assert (len(held), len(kept)) == (2, 180)
    cluttered = readers["mnist_cluttered"].open(arguments, "test")
    assert cluttered[3]["corner"] == one[3]["corner"]
    assert cluttered[3]["image"].sum() > one[3]["image"].sum()


def test_glimpses_are_in_the_pixels_of_the_picture():
    model = vision.build("ram_mnist", "ab", glimpses=3, scales=2, hidden=4)
    model.location[0].weight.value[...], model.location[0].bias.value[...] = 0, np.arctanh([0.5, -0.5])
    image = np.zeros((56, 84, 3), np.uint8)  # the model gets a third of the size
    found = classify(model, {"image": image})
    assert found["glimpses"].shape == (3, 2, 4)
    centre = (found["glimpses"][0, 0, :2] + found["glimpses"][0, 0, 2:]) / 2
    np.testing.assert_allclose(centre, [0.75 * 84, 0.25 * 56], atol=3)
    kept = select_labels(found, 0.9)
    assert kept["glimpses"].shape == (3, 2, 4) and len(kept["labels"]) <= 1
    assert draw_classified(image, found, "ab").shape[1] == 4 * 84


def test_mistakes(root, tmp_path, error_of):
    arguments = ("--model", "ram_mnist", "--run-dir", tmp_path / "run", "--data")
    assert "--data mnist_cluttered needs --root DIR" in error_of(train.main, *arguments, "mnist_cluttered")
    split = ("--root", root, "--val-split", "val")
    error = error_of(train.main, *arguments, "mnist_translated", *split)
    assert "split must be one of train, train:kept, train:held_out, test, got 'val'" in error
    names = ("--root", root, "--classes", "one", "two")
    assert "--data mnist has the classes 0 1 2 3 4 5 6 7 8 9; got one two" in error_of(
        train.main, *arguments, "mnist", *names
    )
