"""Accuracy against the number of images: all runs, the table and the picture, on tiny networks."""

import numpy as np
import pytest
from PIL import Image

import vision
from scripts import few_images


@pytest.fixture
def folders(tmp_path):
    """Bright and dark pictures, and weights of a tiny network."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, low in (("dark", 0), ("light", 150)):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for k in range(4):
                image = rng.integers(low, low + 100, (16, 16, 3), np.uint8)
                Image.fromarray(image).save(tmp_path / "data" / split / name / f"{k}.png")
    base = vision.build("resnet20_cifar", ["a", "b", "c"], np.random.default_rng(1), n=1, width=2)
    np.savez(tmp_path / "base.npz", **base.state_dict())
    return tmp_path


def command(folders):
    tiny = ["short_side=16", 'network_options=["n=1","width=2"]', "rounds=3"]
    given = ["--root", folders / "data", "--weights", f"resnet20_cifar={folders / 'base.npz'}", "--images", 1, 2]
    return [
        *given,
        "--ways",
        "scratch",
        "head",
        "--steps",
        2,
        "--batch-size",
        4,
        "--set",
        *tiny,
        "--run-dir",
        folders / "runs",
    ]


def test_all_runs_their_table_and_picture(folders, capsys, monkeypatch):
    passed_on = ["--", "--val-split", "test", "--pictures", 0]
    assert not few_images.main([*command(folders), *passed_on])
    shown = capsys.readouterr().out
    assert "| network | trained | 1 | 2 |" in shown
    assert [line.split(" | ")[1] for line in shown.splitlines() if line.startswith("| resnet")] == ["scratch", "head"]
    with Image.open(folders / "runs" / "few_images.png") as picture:
        assert picture.width == 800
    monkeypatch.setattr("scripts.train.main", None)  # all is done: it is only read
    few_images.main([*command(folders), *passed_on])
    assert capsys.readouterr().out.splitlines()[-6:] == shown.splitlines()[-6:]


def test_mistakes(folders, error_of, capsys):
    given = command(folders)
    given[3] = "resnet20_cifar=nothing.npz"
    assert "nothing.npz: there is no such file of weights" in error_of(few_images.main, *given)
    for text, message in (("unet_small=x", "unet_small is no classifier"), ("alexnet", "must look like NETWORK=FILE")):
        given[3] = text
        with pytest.raises(SystemExit):
            few_images.main(list(map(str, given)))
        assert message in capsys.readouterr().err
