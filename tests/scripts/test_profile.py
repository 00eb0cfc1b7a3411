"""scripts.profile: every kind of layer is in the table, times add up, and the layers are restored."""

import pytest

import vision
from scripts import profile

SMALL = ["--set", "width=2", "hidden=8", "anchor_scales=[16]", "--size", "48", "64", "--repeat", "1"]


def test_the_table_of_a_detector(capsys):
    assert profile.main(SMALL) == 0
    head, _, *rows, last = capsys.readouterr().out.splitlines()
    assert head.startswith("faster_rcnn_small, batch of 1, 64x48, ")
    kinds = {row[:22].strip(): [float(ms) for ms in row[22:].split()[:3]] for row in rows}
    assert kinds.keys() >= {"Conv2d", "RoIPool", "BatchNorm2d", "Linear", "between layers", "clipping, optimiser"}
    step = float(last.split()[3])
    assert sum(both for _, _, both in kinds.values()) == pytest.approx(step, abs=0.1 * len(kinds))
    assert all(ms >= 0 for row in kinds.values() for ms in row)


def test_stopwatches_are_removed():
    model = vision.build("faster_rcnn_small", ["a"], width=2)
    with profile.stopwatches(model, {}):
        assert "forward" in vars(model.roi_pool)
    assert all(name not in vars(layer) for _, layer in model.layers() for name in ("forward", "backward"))


def test_a_classifier_too(capsys):
    assert profile.main(["--model", "resnet20_cifar", "--set", "n=1", "--batch-size", "2", *SMALL[4:]]) == 0
    assert "GlobalAvgPool2d" in capsys.readouterr().out
