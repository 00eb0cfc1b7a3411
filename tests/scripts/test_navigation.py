"""Agents in mazes through the scripts: trained, resumed, measured, drawn; maps of one's own."""

import json

import numpy as np
import pytest
from PIL import Image

from scripts import evaluate, mazes, predict, train

TINY = ["--set", "height=20", "width=24", "channels=2", "features=4", "hidden=3", "rollout=5", "first_hidden=2"]
RUN = ["--model", "nav_a3c", *TINY, "--batch-size", "2", "--epochs", "2", "--pictures", "1", "--workers", "0"]
MAZES = ["--mazes", "size=3", "episode=20", "rollouts=8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("navigation") / "run"
    assert train.main([*RUN, *MAZES, "--run-dir", str(folder)]) == 0
    return folder


def test_a_run_is_measured_and_drawn(run, tmp_path, capsys):
    assert evaluate.main([str(run), "--out", str(tmp_path / "drawn"), "--json", str(tmp_path / "m.json")]) == 0
    printed = capsys.readouterr().out
    assert "goals a minute" in printed
    assert "position read linearly from the hidden state: off by" in printed
    found = json.loads((tmp_path / "m.json").read_text())
    assert {"success", "random_success", "reward", "position_error", "second_detour"} <= found.keys()
    with Image.open(tmp_path / "drawn" / "episode.gif") as moving, Image.open(tmp_path / "drawn" / "ways.png") as ways:
        assert moving.n_frames > 1
        assert ways.size == (120, 120)
    assert list((run / "pictures").iterdir())


def test_actions_for_a_photograph(run, tmp_path):
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(tmp_path / "view.png")
    assert predict.main([str(run), str(tmp_path / "view.png"), "--out", str(tmp_path / "out")]) == 0
    (found,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert "forward" in json.dumps(found)


def test_a_map_of_one_s_own(tmp_path, capsys):
    maze = tmp_path / "maze.txt"
    maze.write_text("#####\n#..G#\n#####\n")
    assert train.main([*RUN, *MAZES, "--root", str(maze), "--run-dir", str(tmp_path / "run")]) == 0
    maze.write_text("#####\n#.#G#\n#####\n")
    assert train.main([*RUN, *MAZES, "--root", str(maze), "--run-dir", str(tmp_path / "other")]) != 0
    assert f"{maze}: the goal cannot be reached from 1 of its 2 free cells" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["size=4"], "size must be odd"),
        (["sise=5"], "did you mean 'size'?"),
        (["rollouts=0"], "rollouts must be a whole number >= 1"),
        (["agents=1"], "agents must be a whole number >= 2"),
        (["rollouts=1"], "make no batch of 2"),
        (["goal=nowhere"], "goal must be"),
    ],
)
def test_bad_mazes(given, wanted, tmp_path, capsys):
    assert train.main([*RUN, "--mazes", *given, "--run-dir", str(tmp_path / "run")]) != 0
    assert wanted in capsys.readouterr().err


def test_mazes_are_looked_at(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mazes, "STEPS", 3)
    monkeypatch.setattr(mazes, "WALK", 4)
    assert mazes.main(["--mazes", "size=3", "layout=random", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "40x30 pixels: " in printed
    assert "84x84 pixels: " in printed
    with Image.open(tmp_path / "walk.gif") as walk:
        assert walk.n_frames > 1
    assert (tmp_path / "above.png").is_file()
    assert (tmp_path / "views.png").is_file()
    assert mazes.main(["--root", str(tmp_path / "nothing.txt")]) != 0
    assert "nothing.txt" in capsys.readouterr().err
