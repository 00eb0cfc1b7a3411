"""R-CNN and SPP-net through the doors: all stages, stopped after each step and round, give the bits of one session."""

import shutil
from collections import namedtuple

import numpy as np
import pytest

from datasets import Loader
from nn.io.checkpoint import read_checkpoint
from nn.summary import recorded
from scripts import compare, evaluate, train
from vision.training.saving import load_model

COMMON = ["--shapes-train", 4, "--shapes-val", 2, "--shapes-size", 32, 48, "--epochs", 1, "--pictures", 0]
TINY = ["proposals=sliding_windows count=20", "width=2", "hidden=6", "samples=16", "capacity=50", "short_side=32"]
RCNN = ["--model", "rcnn_small", *COMMON, "--set", *TINY, "size=16", "padding=2"]
SPP = ["--model", "spp_net_small", *COMMON, "--set", *TINY, "scales=[32,48]", "region_side=16"]


@pytest.fixture(scope="module")
def rcnn(tmp_path_factory):
    """A finished run of R-CNN."""
    run = tmp_path_factory.mktemp("runs") / "rcnn"
    assert train.main([*RCNN, "--run-dir", run]) == 0
    return run


def is_over(run):
    progress = read_checkpoint(run / "last.npz")[1]["progress"]
    return (progress["stage"], progress["epoch"]) == (3, 1)


def stopped_often(arguments, run):
    """Train with a session for each step and each round; the number of sessions."""
    assert train.main([*arguments, "--run-dir", run, "--time-limit", 1e-6]) == 0
    for session in range(2, 40):
        if is_over(run):
            return session
        assert train.main(["--run-dir", run, "--resume", "--time-limit", 1e-6]) == 0
    raise AssertionError("it never ends")


def assert_same(one, other):
    (a, _), (b, _) = (read_checkpoint(run / "last.npz") for run in (one, other))
    assert is_over(one) and a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)


def test_rcnn_stopped_in_each_stage(rcnn, tmp_path):
    assert stopped_often(RCNN, tmp_path / "run") > 8
    assert_same(rcnn, tmp_path / "run")
    assert evaluate.main([rcnn, "--set", "svm=false", "box_regression=false"]) == 0


def test_spp_net_on_the_convolutions_of_rcnn_stopped_in_each_stage(rcnn, tmp_path, capsys):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train.main([*SPP, "--run-dir", whole]) == 2
    assert "what is frozen of it would stay random; give --pretrained" in capsys.readouterr().err
    arguments = [*SPP, "--pretrained", rcnn]
    assert train.main([*arguments, "--run-dir", whole]) == 0
    assert "GB in" in capsys.readouterr().out  # the size of the store
    assert stopped_often(arguments, run) > 8
    assert_same(whole, run)


def test_spp_net_reads_images_to_store_their_features_alone(rcnn, tmp_path, monkeypatch):
    """Fine-tuning, SVMs and box regression learn from the store."""
    read, epoch = [], Loader.epoch
    monkeypatch.setattr(
        Loader, "epoch", lambda loader, *args, **kw: read.append(len(loader)) or epoch(loader, *args, **kw)
    )
    arguments = [*SPP, "--pretrained", rcnn, "--evaluate-every", 0, "--run-dir", tmp_path / "run"]
    assert train.main(arguments) == 0 and is_over(tmp_path / "run")
    assert read == [4, 4]  # images: to count their regions, and for the features of these


def test_a_full_disk_is_said_before_storing(rcnn, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1000))
    assert train.main([*SPP, "--pretrained", rcnn, "--run-dir", tmp_path / "run"]) == 2
    error = capsys.readouterr().err
    assert "the disk has 0.00 GB left: free some space" in error and "--resume" in error
    assert not list((tmp_path / "run" / "features").iterdir())
    monkeypatch.undo()
    assert train.main(["--run-dir", tmp_path / "run", "--resume"]) == 0
    assert "the stage features is a fit; everything goes to" in capsys.readouterr().out


def test_compared_with_the_work_of_all_regions(rcnn, tmp_path):
    """SPP-net starts from R-CNN's run though it is given first, on the same proposals. A run that ends with a fit is
    finished, its store is measured, and R-CNN counts the CNN once a region."""
    same = ",".join([*TINY, "max_side=48"])
    systems = [f"spp_net_small:{same},region_side=16", f"rcnn_small:{same},size=16,padding=2"]
    assert compare.main([*systems, "--task", "detection", "--run-dir", tmp_path, "--split", "val", "--", *COMMON]) == 0
    header, _, *rows = [
        list(map(str.strip, row.split("|"))) for row in (tmp_path / "table.md").read_text().splitlines()
    ]
    spp, own = (dict(zip(header, row)) for row in rows)
    assert (spp["system"], own["system"]) == tuple(systems)
    assert (tmp_path / "proposals").is_dir() and not list(tmp_path.glob("*/proposals"))  # computed once for both
    assert float(spp["stored MB"]) > float(own["stored MB"]) > 0
    model = load_model(next(tmp_path.glob("rcnn_small*")) / "last.npz")[0]
    with recorded(model) as calls:
        model.pool5(np.zeros((3, 32, 48), np.float32), np.array([[0, 0, 9, 9]], np.float32))
    work = int(own["multiply adds"].replace(",", ""))
    assert 20 * sum(macs for *_, macs in calls) <= work < 22 * sum(macs for *_, macs in calls)
