"""report.html of a run, from what its folder holds, and the chart in it."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from scripts.line_chart import chart, rounded_up
from scripts.run_report import command, write_run_report
from vision import TASKS

ARGUMENTS = {
    "model": "vgg_small", "data": "shapes", "epochs": 2, "lr": 0.1, "set": [["width", 2], ["mean", "<b>"]],
    "shapes_size": [64, 80], "freeze": None, "typed": ["epochs", "model", "run_dir", "set", "shapes_size", "freeze"],
}  # fmt: skip
METRICS = {
    "accuracy": 0.5, "classes": {"circle": {"images": 4, "accuracy": 0.5}}, "images": 4, "images_per_second": 8.0
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "a run"
    (folder / "pictures").mkdir(parents=True)
    config = {"arguments": ARGUMENTS, "model": {"model": "vgg_small"}, "versions": {"numpy": "2.0"}}
    (folder / "config.json").write_text(json.dumps(config))
    records = [
        {"epoch": 1, "step": 1, "losses": {"cls": 2.0}}, {"epoch": 1, "validation": {"cls": 2.5}},
        {"epoch": 2, "step": 2, "losses": {"cls": 1.0}}, {"epoch": 2, "seconds": 90, "metrics": METRICS},
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    for k in range(1, 6):
        Image.fromarray(np.full((8, 8, 3), 50 * k, np.uint8)).save(folder / "pictures" / f"epoch_{k:04d}.png")
    return folder


def test_the_page_has_all_parts(run):
    text = write_run_report(run, TASKS["classification"]).read_text()
    for part in ("a run", "best accuracy 0.500 in epoch 2", "1.5 minutes", "The last evaluation, after epoch 2",
                 "dashed: on validation data", "Settings, as typed", "numpy"):  # fmt: skip
        assert part in text, part
    assert re.findall(r"<figcaption>(epoch \d)<", text) == ["epoch 1", "epoch 3", "epoch 5"]
    assert "circle" in text and "<b>" not in text and "&lt;b&gt;" in text
    assert not re.search(r"(?:src|href)=['\"]?(?:https?:)?//", text) and "{{" not in text


def test_a_run_without_evaluation_or_pictures(run):
    (run / "metrics.jsonl").write_text("")
    for path in (run / "pictures").iterdir():
        path.unlink()
    text = write_run_report(run, TASKS["classification"]).read_text()
    assert "never evaluated" in text and "<svg" not in text and "<img" not in text


def test_the_command_is_what_was_typed():
    wanted = "--model vgg_small --epochs 2 --set width=2 'mean=<b>' --shapes-size 64 80 --run-dir DIR"
    assert command({"arguments": ARGUMENTS}).endswith(wanted)


def test_a_chart_has_a_line_and_a_colour_for_each_name():
    drawn = chart("loss", {"a": {1: 2.0, 2: 1.0}, "b": {1: 4.0, 2: float("nan")}}, {"a, validation": {1: 3.0}})
    assert drawn.count("<polyline") == 3 and drawn.count("class='dashed'") == 1
    a, b, again = re.findall(r"stroke: (var\(--\w\))", drawn)
    assert a == again != b and "nan" not in drawn
    x1, y1, x2, y2 = map(float, re.search(r"points='([\d.]+),([\d.]+) ([\d.]+),([\d.]+)'", drawn).groups())
    assert x1 < x2 and y1 < y2 and chart("nothing", {"a": {}}) == ""


@pytest.mark.parametrize("value, wanted", [(0.0, 1.0), (0.7, 1.0), (1.0, 1.0), (2.3, 2.5), (3.1, 5.0), (70.0, 100.0)])
def test_the_top_of_an_axis(value, wanted):
    assert rounded_up(value) == pytest.approx(wanted)
