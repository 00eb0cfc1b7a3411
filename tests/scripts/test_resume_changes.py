"""Resuming with other arguments, with data that moved, and with other data."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from nn.io.checkpoint import read_checkpoint
from scripts.train import main


@pytest.fixture
def run(on_voc, tmp_path):
    """The folder of a run of one epoch, of 4 steps, on `voc`."""
    assert main([*on_voc, "--batch-size", 1, "--pictures", 0]) == 0
    return tmp_path / "run"


def logged(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_more_epochs_another_rate_and_patience(run, capsys):
    capsys.readouterr()
    changes = ("--epochs", 3, "--lr", 0.001, "--patience", 5)
    assert main(["--resume", "--run-dir", run, *changes]) == 0
    out = capsys.readouterr().out
    shown = "epochs 3 in place of 1, lr 0.001 in place of 0.02, patience 5 in place of 0"
    assert f"resuming at step 4 of 12 steps (3 epochs), {shown}; everything goes to" in out
    changed = [(r["step"], r["changed"]) for r in logged(run) if "changed" in r]
    assert changed == [(4, {"epochs": [1, 3], "lr": [0.02, 0.001], "patience": [0, 5]})]
    rates = [record["lr"] for record in logged(run) if "losses" in record]
    assert len(rates) == 12 and max(rates[4:]) == 0.001
    arguments = json.loads((run / "config.json").read_text())["arguments"]
    assert (arguments["epochs"], arguments["lr"], arguments["patience"]) == (3, 0.001, 5)
    assert main(["--resume", "--run-dir", run]) == 0  # the changes hold from now on, and are no changes any more
    assert "in place of" not in capsys.readouterr().out
    assert len([r for r in logged(run) if "changed" in r]) == 1


def test_data_that_moved(run, voc, error_of, capsys):
    moved = voc.rename(voc.with_name("moved"))
    assert "voc: there is no such folder" in error_of(main, "--resume", "--run-dir", run, "--epochs", 2)
    assert main(["--resume", "--run-dir", run, "--epochs", 2, "--root", moved]) == 0
    assert f"root {moved} in place of {voc}" in capsys.readouterr().out
    assert main(["--resume", "--run-dir", run]) == 0


def test_a_relative_root_is_the_absolute_one(on_voc, voc, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(voc.parent)
    assert main(["voc" if argument == voc else argument for argument in on_voc]) == 0
    monkeypatch.chdir(os.sep)
    for root in (["--root", voc], []):
        assert main(["--resume", "--run-dir", tmp_path / "run", *root]) == 0
    assert "in place of" not in capsys.readouterr().out
    assert not any("changed" in record for record in logged(tmp_path / "run"))


def another_size(voc):
    Image.new("RGB", (50, 40)).save(voc / "JPEGImages/2.jpg")
    text = (voc / "Annotations/2.xml").read_text()
    (voc / "Annotations/2.xml").write_text(text.replace("<width>48", "<width>50"))


def another_name(voc):
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        shutil.copy(voc / f"{folder}/2.{suffix}", voc / f"{folder}/7.{suffix}")
    (voc / "ImageSets/Main/train.txt").write_text("0\n1\n7\n3\n")


def another_order(voc):
    (voc / "ImageSets/Main/train.txt").write_text("0\n2\n1\n3\n")


@pytest.mark.parametrize("change", [another_size, another_name, another_order])
def test_other_data_with_as_many_batches_is_refused(run, voc, error_of, change):
    before = (run / "last.npz").read_bytes()
    change(voc)
    error = error_of(main, "--resume", "--run-dir", run, "--epochs", 2)
    assert f"{run / 'last.npz'}: the run was started with other data: training had samples 4, ids_and_sizes " in error
    assert error.endswith("; restore the data it was started with, or start a new run")
    assert (run / "last.npz").read_bytes() == before


def test_other_validation_data_is_refused(run, voc, error_of):
    (voc / "ImageSets/Main/val.txt").write_text("5\n4\n")
    assert "other data: validation had samples 2" in error_of(main, "--resume", "--run-dir", run, "--epochs", 2)


def test_patience_ends_a_run_early(on_voc, tmp_path, capsys):
    """A rate of next to nothing: no evaluation is better than the first."""
    assert main([*on_voc, "--epochs", 9, "--lr", 1e-30, "--patience", 2, "--pictures", 0]) == 0
    out = capsys.readouterr().out
    assert "epoch 3/9" in out and "epoch 4/9" not in out
    assert "; stopped early, as 2 evaluations in a row were not better" in out
    assert main(["--resume", "--run-dir", tmp_path / "run", "--patience", 3]) == 0
    out = capsys.readouterr().out
    assert "epoch 4/9" in out and "epoch 5/9" not in out
    weights = read_checkpoint(tmp_path / "run/last.npz")
    assert weights[1]["progress"]["epoch"] == 4 and np.isfinite(weights[0]["model/box.weight"]).all()
