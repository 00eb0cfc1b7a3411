"""--published and --pretrained NAME: a registered network with weights from a file."""

import json

import numpy as np
import pytest
from PIL import Image

import vision
from nn.io.checkpoint import read_checkpoint
from scripts.evaluate import main as evaluate
from scripts.predict import main
from scripts.published import find_weights
from scripts.train import main as train
from vision.registry import find

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
    assert "squeezenet1_0: its published weights are not in" in error_of(main, *START[:-1], "--", photo)
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


@pytest.fixture
def standing(tmp_path, monkeypatch):
    """A folder to stand in, without weights of one's own elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_weights_are_found_by_the_networks_name(standing):
    address = "https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth"
    with pytest.raises(ValueError, match=rf"squeezenet1_0: its published weights are not in weights or .*{address}"):
        find_weights("squeezenet1_0")
    hub, weights = standing / "home/.cache/torch/hub/checkpoints", standing / "weights"
    hub.mkdir(parents=True)
    weights.mkdir()
    (hub / "squeezenet1_0-b66bff10.pth").touch()
    (weights / "squeezenet1_0_other.npz").touch()  # another network's
    assert find_weights("squeezenet1_0") == hub / "squeezenet1_0-b66bff10.pth"
    (weights / "squeezenet1_0.npz").touch()
    with pytest.raises(
        ValueError, match=r"there are weights/squeezenet1_0.npz and .*; give one of them with --weights"
    ):
        find_weights("squeezenet1_0")
    assert find_weights("squeezenet1_0", standing / "a.npz") == standing / "a.npz"


def start(folder, *more):
    model = ("--model", "squeezenet1_0", "--set", "width=1", "short_side=32", "max_side=64", "--epochs", 1)
    data = ("--shapes-train", 4, "--shapes-val", 2, "--shapes-size", 40, 48, "--pictures", 0, "--batch-size", 2)
    return train([*map(str, (*model, *data, "--run-dir", folder, "--lr", 1e-9, *more))])


@pytest.mark.parametrize("given", [True, False])
def test_training_begins_with_a_network_by_name(published, standing, given, capsys):
    """From --weights, or from the folder weights where one stands."""
    (standing / "weights").symlink_to(published)
    (published / "weights.npz").rename(published / "squeezenet1_0.npz")
    more = ("--weights", published / "squeezenet1_0.npz") if given else ()
    assert start("run", "--pretrained", "squeezenet1_0", *more) == 0
    assert "squeezenet1_0.npz: 52 of 52 arrays; random are none" in capsys.readouterr().out
    before, after = np.load(published / "squeezenet1_0.npz"), read_checkpoint(standing / "run/last.npz")[0]
    assert np.allclose(after["model/features.0.weight"], before["features.0.weight"], atol=1e-6)


def test_a_network_that_is_not_known_is_named_with_the_nearest(standing, error_of):
    def message(name):
        return error_of(lambda more: start("run", *more), "--pretrained", name)

    wanted = "there is no such file, run or network with published weights"
    assert message("squeezenet") == f"error: --pretrained squeezenet: {wanted}; did you mean squeezenet1_0?"
    assert f"--pretrained runs/mine: {wanted}; networks are " in message("runs/mine")
    assert "weights.npz: no such file" in message("weights.npz")
    assert "unet_small: its published weights are not in" in message("unet_small")


def test_evaluating_published_weights_on_a_coco_file_of_all_images(tmp_path, capsys, error_of):
    """The names of the classes are registered; split all takes the only file whole."""
    names = find("ssd_mobilenet").classes
    assert (len(names), names[0], names[-1]) == (80, "person", "toothbrush")
    options = {"width": 0.07, "short_side": 32, "sizes": [0.2, 0.4, 0.6, 0.8], "ratios": [[2], [2, 3], [2, 3]]}
    model = vision.build("ssd_mobilenet", names, np.random.default_rng(0), **options)
    np.savez(tmp_path / "ssd.npz", **model.state_dict())
    (tmp_path / "images").mkdir()
    for i in range(3):
        Image.new("RGB", (40, 30), (i, 90, 30)).save(tmp_path / f"images/{i}.png")
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(3)],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 3, "bbox": [2, 3, 20, 20]} for i in range(3)],
    }
    (tmp_path / "mine.json").write_text(json.dumps(coco))
    given = [f"{name}={json.dumps(value)}" for name, value in options.items()]
    command = ["--published", "ssd_mobilenet", "--weights", tmp_path / "ssd.npz", "--set", *given]
    data = ["--data", "coco", "--root", tmp_path, "--split", "all"]
    assert evaluate([*command, *data]) == 0
    out = capsys.readouterr().out
    assert "ssd.npz, on coco, split all" in out and "3 images, " in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("car ")] == [["car", "3"]]
    assert "needs --data and --root" in error_of(evaluate, *command)
    assert "give one of RUN_OR_CHECKPOINT and --published" in error_of(evaluate, *data)
