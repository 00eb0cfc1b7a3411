import json

import pytest
from PIL import Image

from datasets import ClassFolders, COCODetection, YOLODetection
from datasets.classes import chosen, nearest


def test_names_that_are_nearly_known():
    known = ["Traffic Light", "car", "Ärger"]
    assert nearest("traffic light", known) == "Traffic Light"
    assert nearest("traffic lihgt", known) == "Traffic Light"
    assert nearest("ÄRGER", known) == "Ärger"
    assert nearest("boat", known) is None


def test_classes_of_another_split_may_be_absent_but_not_all():
    assert chosen("a.json", "category", ["car"], ["person", "car"], absent=True) == ["person", "car"]
    for classes, absent in ([["person", "car"], False], [["person"], True]):
        with pytest.raises(ValueError, match=r"^a\.json: has no category 'person'; there are car$"):
            chosen("a.json", "category", ["car"], classes, absent)


@pytest.fixture
def forms(tmp_path):
    """A car in COCO's and YOLO's form, and in a folder for its class; the readers of each."""
    for folder in ("images/train", "labels/train", "train/car", "val/car", "val/boat"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("images/train/a.png", "train/car/a.png", "val/car/a.png", "val/boat/a.png"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [car]\n")
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 7, "name": "car"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [5, 2.5, 10, 5]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(coco))
    return {
        "coco": lambda *given, **o: COCODetection(tmp_path / "a.json", tmp_path / "images/train", *given, **o),
        "yolo": lambda *given, **o: YOLODetection(tmp_path, "train", *given, **o),
        "folders": lambda *given, **o: ClassFolders(tmp_path, "train", *given, **o),
    }


@pytest.mark.parametrize("form", ["coco", "yolo", "folders"])
def test_labels_are_those_of_all_classes(forms, form):
    data = forms[form](["person", "car"], absent=True)
    assert data.classes == ("person", "car")
    assert data.counts == {"person": 0, "car": 1}
    sample = data[0]
    assert (sample["label"] if form == "folders" else sample["labels"].tolist()) == (1 if form == "folders" else [2])
    with pytest.raises(ValueError, match="has no (category|class|folder of the class) 'person'"):
        forms[form](["person", "car"])
    with pytest.raises(ValueError, match=r"did you mean 'car'\?"):
        forms[form](["caar"])
