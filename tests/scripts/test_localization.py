"""Train in stages, resume, evaluate and predict with localizers and pose models, on generated scenes; bad input."""

import json

import pytest
from PIL import Image

from datasets import Shapes
from scripts import evaluate, predict, train

SCENES = ("--shapes-train", 8, "--shapes-val", 4, "--shapes-size", 48, 56, "--pictures", 2, "--batch-size", 4)
CNN = ("width=2", "hidden=8")
RUNS = {
    "localizer_small": ("way=two_step", "short_side=32", "channels=4", *CNN),
    "overfeat_small": ("short_side=64", "scales=[1,1.3]", "windows=2", *CNN),
    "deep_pose_small": ("height=40", "breadth=40", "cascade=2", "channels=4", *CNN),
}


@pytest.mark.parametrize("name", RUNS)
def test_from_training_to_predictions(tmp_path, capsys, name):
    arguments = ("--model", name, "--set", *RUNS[name], *SCENES, "--epochs", 1, "--run-dir", tmp_path / "run")
    assert train.main(arguments) == 0
    assert train.main(["--run-dir", tmp_path / "run", "--resume"]) == 0
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert len({record["stage"] for record in records}) == (3 if name == "deep_pose_small" else 2)
    capsys.readouterr()
    assert evaluate.main([tmp_path / "run", "--json", tmp_path / "a.json"]) == 0
    assert ("PCK@0.2" if name == "deep_pose_small" else "mean_IoU") in capsys.readouterr().out
    Image.fromarray(Shapes(1, (48, 64))[0]["image"]).save(tmp_path / "scene.png")
    options = ("--out", tmp_path / "out", "--threshold", 0)
    assert predict.main([tmp_path / "run", tmp_path / "scene.png", *options]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    if name == "deep_pose_small":
        assert [point["point"] for point in record["found"]] == ["top", "right", "bottom", "left"]
    else:
        (found,) = record["found"]
        x1, y1, x2, y2 = found["box"]
        assert 0 <= x1 <= x2 <= 64 and 0 <= y1 <= y2 <= 48
    assert (tmp_path / "out/scene.png").is_file()


def test_mistakes(tmp_path, error_of):
    def error(model, *arguments):
        return error_of(train.main, "--model", model, "--run-dir", tmp_path / "run", *arguments)

    assert "--data pets needs --root DIR" in error("localizer", "--data", "pets")
    assert "--data coco_persons needs --root DIR" in error("localizer", "--data", "coco_persons")
    assert "--data pose_crops needs --root DIR" in error("deep_pose")
    assert "people.json" in error("deep_pose", "--root", tmp_path)
    assert "persons_train.json" in error("localizer", "--data", "coco_persons", "--root", tmp_path)
    assert "poses have the points top right bottom left as classes" in error("deep_pose_small", "--classes", "nose")
    assert "--data must be one of shapes, shapes_pairs" in error("localizer_small", "--data", "mnist")
    frozen = ("--data", "shapes", "--set", "frozen=fire9", "width=1", "short_side=64", *SCENES)
    assert "would stay random; give --pretrained FILE" in error("localizer", *frozen)
