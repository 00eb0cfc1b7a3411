from types import SimpleNamespace

import pytest

from scripts.train import main
from scripts.train_report import class_counts


def test_objects_of_each_class_are_counted_at_the_start(on_voc, voc, capsys):
    path = voc / "Annotations/1.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    assert main([*on_voc, "--pictures", 0]) == 0
    out = capsys.readouterr().out
    assert "objects in train: cat 2, dog 1\n" in out  # difficult ones do not count
    assert "objects in val: cat 1, dog 1\n" in out


@pytest.mark.parametrize(
    ("counts", "unit", "text"),
    [
        ({"cat": 3, "dog": 0}, "images", "images in a: cat 3, dog 0"),
        ({"sky": 300, "road": 100}, "pixels", "pixels in a: sky 75.0 %, road 25.0 %"),
        ({"cat": 0}, "objects", ""),
        ({}, "images", ""),
        (None, "images", ""),
    ],
)
def test_counts(counts, unit, text):
    assert class_counts("a", SimpleNamespace(counts=counts), unit) == text


def test_a_data_set_without_counts():
    assert class_counts("a", [], "images") == ""


def test_many_classes_take_several_lines():
    lines = class_counts("a", SimpleNamespace(counts={f"class {i}": 10**i for i in range(20)}), "objects").splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 120 and all(line.startswith("  ") for line in lines[1:])
