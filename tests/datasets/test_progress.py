"""The bar while annotations are read: on a terminal, after a second, never in a file or a pipe."""

import io

import numpy as np
from PIL import Image

from datasets import VOCDetection, find_classes, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def voc(root, count):
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax>"
    for i in range(count):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / f"JPEGImages/{i}.png")
        thing = f"<object><name>cat</name><bndbox>{box}</bndbox></object>"
        (root / f"Annotations/{i}.xml").write_text(f"<annotation>{thing}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("".join(f"{i}\n" for i in range(count)))


def test_items_are_passed_on():
    assert list(progress.reading(iter("abc"), 3)) == ["a", "b", "c"]


def test_small_sets_are_read_in_silence(tmp_path, monkeypatch):
    voc(tmp_path, 4)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    assert find_classes(tmp_path, "train") == ("cat",)
    VOCDetection(tmp_path, "train", ["cat"])
    assert terminal.getvalue().strip("\r ") == ""


def test_large_sets_show_a_bar_on_a_terminal_alone(tmp_path, monkeypatch):
    voc(tmp_path, 4)
    monkeypatch.setattr(progress, "DELAY", 0)
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        VOCDetection(tmp_path, "train", ["cat"])
        assert ("reading pictures" in stream.getvalue() and "/4" in stream.getvalue()) == stream.isatty()
