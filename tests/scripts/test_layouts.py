"""A wrong --data or --root is named with the one that was meant."""

import json
from argparse import Namespace

import pytest
from PIL import Image

from scripts.layouts import default_splits, looks_like, meant, nearest
from scripts.train import main as train

LAYOUTS = {
    "voc": ["JPEGImages/a.png", "Annotations/a.xml", "ImageSets/Main/train.txt", "ImageSets/Main/val.txt"],
    "coco": ["images/a.png", "instances_train.json"],
    "yolo": ["images/train/a.png", "labels/a.txt", "data.yaml"],
    "folders": ["images/a.png", "labels/a.png", "classes.txt"],
    "listed_captions": ["images/a.png", "captions.json"],
    "class_folders": ["cat/a.png", "dog/a.png"],
}


@pytest.fixture
def made(tmp_path):
    """A folder of each layout, called by its name."""
    for name, files in LAYOUTS.items():
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9)).save(path) if path.suffix == ".png" else path.write_text("x\n")
    return tmp_path


def test_what_folders_look_like(made):
    assert {name: looks_like(made / name) for name in LAYOUTS} == dict(zip(LAYOUTS, LAYOUTS))
    assert looks_like(made) is None and looks_like(made / "none") is None
    assert looks_like(made / "coco/instances_train.json") is None


@pytest.mark.parametrize(
    ("data", "root", "wanted"),
    [
        ("voc", "voc/JPEGImages", "; did you mean --root {0}/voc?"),
        ("coco", "coco/instances_train.json", "; did you mean --root {0}/coco?"),
        ("yolo", "", "; did you mean --root {0}/yolo?"),
        ("coco", "yolo", "; {0}/yolo looks like data for --data yolo"),
        ("voc", "class_folders", ""),  # no data for detectors
        ("voc", "voc", ""),  # something else is wrong with it
        ("voc", "no/where", ""),
    ],
)
def test_what_may_be_meant(made, data, root, wanted):
    readers = ("voc", "coco", "yolo")
    found = meant(Namespace(root=str(made / root), data=data, classes=None), readers)
    assert found == wanted.format(made)


def test_names_with_commas(made):
    given = Namespace(root=str(made / "voc"), data="voc", classes=["cat,dog", "owl"])
    assert meant(given, ("voc",)) == "; --classes takes names with spaces between them: --classes cat dog owl"


def test_kinds_of_data():
    assert nearest("segmentation", "foldrs") == ": did you mean folders?"
    assert nearest("classification", "camvid") == ": that is data for segmentation"
    assert nearest("classification", "zzz") == ""


def test_splits_of_a_voc_folder_are_those_of_its_lists(made):
    assert default_splits("detection", "voc") == ("trainval", "test")
    assert default_splits("detection", "voc", str(made / "voc")) == ("train", "val")
    (made / "voc/ImageSets/Main/trainval.txt").write_text("a\n")
    assert default_splits("detection", "voc", str(made / "voc")) == ("trainval", "test")
    assert default_splits("detection", "zzz") == (None, None)


def test_through_the_script(made, tmp_path, error_of):
    def error(model, data, root):
        return error_of(train, "--model", model, "--data", data, "--root", made / root, "--run-dir", tmp_path / "run")

    assert error("stand_in", "voc", "voc/JPEGImages").endswith(f"; did you mean --root {made}/voc?")
    assert error("stand_in", "coco", "yolo").endswith(f"; {made}/yolo looks like data for --data yolo")
    alone = "the training data have one class alone, JPEGImages; a model of classification needs two"
    assert alone in error("resnet20_cifar", "class_folders", "voc")


def test_fewer_epochs_than_a_run_has_done(trained, tmp_path, error_of):
    for path in (path for path in trained.iterdir() if path.is_file()):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    error = error_of(train, "--resume", "--run-dir", tmp_path, "--epochs", 1)
    assert error == "error: --epochs 1: the run has done 2 already; give more"
    assert json.loads((tmp_path / "config.json").read_text())["arguments"]["epochs"] == 2
