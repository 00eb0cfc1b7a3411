"""The figures and the picture of paths, on tiny untrained networks."""

import json

import numpy as np
import pytest
from PIL import Image

import vision
from nn.io.checkpoint import write_checkpoint
from scripts import paths


def checkpoint(path, name):
    model = vision.build(name, ("circle", "square", "triangle"), np.random.default_rng(1), n=2, width=2)
    write_checkpoint(path, {f"model/{k}": v for k, v in model.state_dict().items()}, {"model": model.config})
    return path


def test_figures_and_picture(tmp_path, capsys):
    run, plain = (checkpoint(tmp_path / f"{n}.npz", n) for n in ("resnet20_cifar", "plain20_cifar"))
    small = ("--images", 6, "--deleted", 1, 3, "--draws", 2, "--paths", 2, "--shapes-val", 6, "--shapes-size", 32, 32)
    out = tmp_path / "new" / "paths.png"
    assert paths.main([run, "--plain", plain, *small, "--out", out, "--json", tmp_path / "a.json"]) == 0
    shown, found = capsys.readouterr().out, json.loads((tmp_path / "a.json").read_text())
    assert found["images"] == 6 and len(found["single"]) == 6 and len(found["gradients"]) == 7
    assert [len(found["deleted"][k]) for k in ("1", "3")] == [2, 2]
    assert [value is None for value in found["plain"]["single"]] == [False, False, True, False, True, False]
    assert all(-1 <= tau <= 1 and 0 <= error <= 1 for tau, error in found["swapped"])
    assert "3 blocks deleted at random" in shown and "one block deleted, plain" in shown
    with Image.open(out) as picture:
        assert picture.width > 800


def test_contribution():
    """2 blocks: 1, 2, 1 paths of length 0, 1, 2."""
    means, share = paths.contribution([[4.0, 4.0], [1.0, 3.0], [0.0, 4.0]])
    assert means.tolist() == [4, 2, 2] and share.tolist() == pytest.approx([0.4, 0.4, 0.2])


def test_mistakes(tmp_path, error_of):
    assert "give them with --weights FILE" in error_of(paths.main, "--published", "resnet20_cifar")
    assert "give a RUN_OR_CHECKPOINT, or --published NAME" in error_of(paths.main)
