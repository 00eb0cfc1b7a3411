"""Curves of several runs: the steps they have in common, areas by hand, the picture, bad input."""

import json

import pytest
from PIL import Image

from scripts import curves


def run(folder, metric, values, every=10):
    folder.mkdir()
    lines = [{"epoch": 1, "step": 1, "losses": {"policy": 1.0}}]
    for i, value in enumerate(values):
        lines.append({"epoch": i + 1, "step": every * (i + 1), "metrics": {metric: value, "runs": {}}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_table_and_a_picture(tmp_path, capsys):
    a = [run(tmp_path / "a0", "goals", [0, 2, 4]), run(tmp_path / "a1", "goals", [2, 4, 6, 9])]
    b = run(tmp_path / "b", "goals", [1, 1])
    given = [f"a={a[0]}", f"a={a[1]}", f"b={b}", "--metric", "goals", "--samples", "320"]
    assert curves.main([*given, "--out", str(tmp_path / "new" / "curves.png")]) in (None, 0)
    printed = capsys.readouterr().out
    assert "| a | 2 | 10 to 30 | 3.000 ± 1.414 | 5.000 ± 1.414 | 5.000 ± 1.414 |" in printed
    assert "| b | 1 | 10 to 20 | 1.000 | 1.000 | 1.000 |" in printed
    with Image.open(tmp_path / "new" / "curves.png") as picture:
        assert picture.size == (800, 500)


def test_the_area_by_hand(tmp_path):
    found = curves.common("a", [{0: 0.0, 10: 1.0, 40: 3.0}])
    assert curves.area(found) == pytest.approx([(0.5 * 10 + 2 * 30) / 40])


@pytest.mark.parametrize(
    ("values", "metric", "wanted"),
    [
        ([], "goals", "has no evaluations yet"),
        ([1, 2], "reward", "there is no metric 'reward'; its evaluations give goals"),
        ([1], "goals", "a: its runs have 1 evaluations at the same steps"),
    ],
)
def test_bad_input(values, metric, wanted, tmp_path, capsys):
    folder = run(tmp_path / "a", "goals", values)
    assert curves.main([f"a={folder}", "--metric", metric, "--out", str(tmp_path / "c.png")]) != 0
    assert wanted in capsys.readouterr().err


def test_what_names_no_run(tmp_path, capsys):
    assert curves.main([f"a={tmp_path}", "--metric", "goals", "--out", str(tmp_path / "c.png")]) != 0
    assert "there is no such log" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        curves.main(["nothing", "--metric", "goals", "--out", str(tmp_path / "c.png")])
    assert "NAME=DIR" in capsys.readouterr().err
