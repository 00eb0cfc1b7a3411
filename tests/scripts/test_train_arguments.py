"""Arguments of scripts.train for parts of the model, for lists, and folders that are none."""

import json

import numpy as np
import pytest

import vision
from nn.io.checkpoint import read_checkpoint
from scripts.train import main
from scripts.train_arguments import all_models


def weights(run):
    return read_checkpoint(run / "last.npz")[0]


def test_frozen_parts_stay(small, trained, tmp_path, capsys):
    start = ("--weights", trained / "last.npz", "--epochs", 1, "--pictures", 0)
    assert main([*small, "--run-dir", tmp_path, *start, "--freeze", "body", "label.bias"]) == 0
    assert "455 parameters (395 frozen)" in capsys.readouterr().out
    before, after = weights(trained), weights(tmp_path)
    same = {name for name in before if name.startswith("model/") and np.array_equal(before[name], after[name])}
    assert same >= {"model/body.0.weight", "model/body.0.bias", "model/label.bias"}
    assert not same & {"model/label.weight", "model/box.weight", "model/box.bias"}
    assert json.loads((tmp_path / "config.json").read_text())["arguments"]["freeze"] == ["body", "label.bias"]


def test_rates_of_parts(small, trained, tmp_path):
    start = ("--weights", trained / "last.npz", "--epochs", 1, "--pictures", 0)
    assert main([*small, "--run-dir", tmp_path, *start, "--lr-scale", "body=0", "label=2", "label.bias=0"]) == 0
    before, after = weights(trained), weights(tmp_path)
    moved = {name for name in before if name.startswith("model/") and not np.array_equal(before[name], after[name])}
    assert {"model/label.weight", "model/box.weight", "model/box.bias"} <= moved
    assert not moved & {"model/body.0.weight", "model/body.0.bias", "model/label.bias"}
    assert main(["--resume", "--run-dir", tmp_path]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--freeze", "boddy"], "no parameter's name begins with 'boddy': did you mean body"),
        (["--freeze", "bo"], "no parameter's name begins with 'bo': "),
        (["--freeze", "body", "box", "label"], "freezing body box label leaves nothing to train; freeze less"),
        (["--lr-scale", "head=3"], "no parameter's name begins with 'head': choose from body, box, label"),
        (["--lr-scale", "box"], "argument --lr-scale: must look like PREFIX=X, got 'box'"),
        (["--lr-scale", "box=-1"], "argument --lr-scale: must be a number from 0, got -1"),
        (["--run-dir", ""], "argument --run-dir: must be the name of a folder, got nothing"),
        (["--run-dir", " "], "argument --run-dir: must be the name of a folder, got nothing"),
    ],
)
def test_arguments_at_fault(small, tmp_path, error_of, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(main, *small, "--run-dir", tmp_path / "run", *arguments)
    assert not list(tmp_path.iterdir())


def test_all_models_are_listed_with_task_and_paper(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--models"])
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert out == all_models() + "\n"
    rows = [line.split() for line in out.splitlines()]
    assert {row[0]: row[1] for row in rows} == {name: entry.task for name, entry in vision.MODELS.items()}
    assert "Ren et al. 2015" in next(line for line in out.splitlines() if line.startswith("faster_rcnn_vgg16 "))
