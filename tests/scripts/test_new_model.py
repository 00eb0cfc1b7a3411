"""docs/new_model.md: its detector, exactly as there, is checked, trained, resumed, evaluated and predicts."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vision
from datasets import Shapes
from scripts import evaluate, gradcheck, predict, train

PAGE = (Path(__file__).parents[2] / "docs/new_model.md").read_text(encoding="utf-8")


@pytest.fixture
def detector(tmp_path):
    """The file of the page; its model is unregistered after the test."""
    path = tmp_path / "my_detector.py"
    path.write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], encoding="utf-8")
    yield path
    vision.MODELS.pop("points", None)


SMALL = ("--shapes-train", 12, "--shapes-val", 4, "--shapes-size", 48, 64, "--set", "width=4", "short_side=48")


def test_its_gradients(detector, capsys):
    assert gradcheck.main(["points", "--import", detector]) == 0
    assert "none failed" in capsys.readouterr().out


def test_it_trains_resumes_evaluates_and_predicts(detector, tmp_path, capsys):
    own = ("--import", detector)
    arguments = ("--model", "points", *own, *SMALL, "--epochs", 2, "--pictures", 1)
    assert train.main([*arguments, "--run-dir", tmp_path / "whole"]) == 0
    assert train.main([*arguments, "--run-dir", tmp_path / "parts", "--time-limit", 1e-6]) == 0
    assert train.main([*own, "--run-dir", tmp_path / "parts", "--resume"]) == 0
    whole, parts = (np.load(tmp_path / run / "last.npz") for run in ("whole", "parts"))
    for name in whole.files:
        if name.startswith(("model/", "optimiser/")):
            np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
    assert evaluate.main([tmp_path / "whole", *own]) == 0
    assert "AP50" in capsys.readouterr().out
    Image.fromarray(Shapes(1, (48, 64))[0]["image"]).save(tmp_path / "scene.png")
    out = tmp_path / "out"
    assert predict.main([tmp_path / "whole", tmp_path / "scene.png", *own, "--out", out]) == 0
    assert len(json.loads((out / "predictions.json").read_text())) == 1


def test_its_options_are_explained(detector, capsys):
    with pytest.raises(SystemExit):
        train.main(["--model", "points", "--import", detector, "--help"])
    assert "width=16  channels of the first convolution" in capsys.readouterr().out


def test_without_its_file_the_error_says_what_is_missing(detector, tmp_path, error_of):
    run = tmp_path / "run"
    assert train.main(["--model", "points", "--import", detector, *SMALL, "--epochs", 1, "--run-dir", run]) == 0
    del vision.MODELS["points"]
    assert "checkpoint of the model 'points'" in error_of(evaluate.main, run)
    assert "--import" in error_of(evaluate.main, run)
    assert "no such Python file" in error_of(evaluate.main, run, "--import", tmp_path / "none.py")


def test_overfits_two_images(detector):
    gradcheck.import_files([detector])
    data = Shapes(2, (64, 64), seed=3)
    model = vision.build("points", data.classes, np.random.default_rng(0), width=8)
    batch = vision.task.task_of("points").collate(model, [data[0], data[1]])
    from nn import Adam

    optimiser = Adam(model.parameters(), lr=0.01)
    for step in range(120):
        model.zero_grad()
        losses, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        optimiser.step()
    assert sum(losses.values()) < 0.05
