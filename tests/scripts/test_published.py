"""scripts.predict --published: a registered network with weights from a file."""

import json

import numpy as np
import pytest
from PIL import Image

import vision
from scripts.predict import main

NAMES = ["cat", "dog", "hen"]
START = ("--published", "squeezenet1_0", "--set", "width=1", "short_side=32", "--weights")


@pytest.fixture
def published(tmp_path):
    """The folder of weights.npz, imagenet_labels.txt one above, and two photographs."""
    folder = tmp_path / "published" / "weights"
    folder.mkdir(parents=True)
    model = vision.build("squeezenet1_0", NAMES, np.random.default_rng(0), width=1)
    np.savez(folder / "weights.npz", **model.state_dict())
    (folder.parent / "imagenet_labels.txt").write_text("\n".join(NAMES) + "\n")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def test_what_is_on_photographs_is_printed(published, capsys):
    weights = published / "weights.npz"
    assert main([*START, weights, "--", published / "a.png", published / "b.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(published / "a.png"), str(published / "b.png")]
    model = vision.build("squeezenet1_0", NAMES, width=1, short_side=32)
    model.load_state_dict(dict(np.load(weights)))
    found = model.classify(published / "a.png")
    wanted = "; ".join(f"{name} {score:.2f}" for name, score in zip(found["names"], found["scores"]))
    assert lines[0] == f"{published / 'a.png'}: {wanted}"


def test_to_a_folder_and_with_names_of_a_file(published, tmp_path):
    (tmp_path / "mine.txt").write_text("one\ntwo\nthree\n")
    more = ("--class-names", tmp_path / "mine.txt", "--out", tmp_path / "out", "--threshold", 0)
    assert main([*START, published / "weights.npz", *more, "--", published / "a.png"]) == 0
    (record,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {each["class"] for each in record["found"]} == {"one", "two", "three"}


def test_mistakes_are_named(published, tmp_path, error_of, trained):
    photo, weights = published / "a.png", published / "weights.npz"
    error = error_of(main, *START[:-1], "--", photo)
    assert error == "error: --published squeezenet1_0 needs --weights FILE: its published weights"
    assert "required: FILE_OR_FOLDER" in error_of(main, *START, weights)
    assert "--weights and --class-names go with --published" in error_of(
        main, trained, photo, "--weights", weights, "--out", tmp_path / "out"
    )
    assert "required: --out" in error_of(main, trained, photo)
    (published.parent / "imagenet_labels.txt").write_text("cat\ndog\n")
    error = error_of(main, *START, weights, "--", photo)
    assert error.startswith(f"error: {weights}: 2 arrays of squeezenet1_0 are not in it: classifier.1.bias has shape")
    (published.parent / "imagenet_labels.txt").unlink()
    error = error_of(main, *START, weights, "--", photo)
    assert "needs --class-names FILE: a file with the name of a class on each line" in error
