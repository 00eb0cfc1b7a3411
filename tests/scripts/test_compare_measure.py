"""What scripts.compare measures of a run."""

from argparse import Namespace

import pytest

from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.summary import multiply_adds
from scripts import compare_measure, train
from scripts.compare_systems import parse_system
from scripts.data import DEFAULTS
from scripts.readers.segmentation import open_labelled_shapes
from vision.segmentation.task import evaluate_segmenter
from vision.training.saving import load_model

SCENES = ("--shapes-train", 8, "--shapes-val", 3, "--shapes-size", 32, 40)
SMALLEST = "unet_small:width=2,depth=1,short_side=16,max_side=20"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run on scenes that the model gets at half size; its best weights predict class 2 everywhere."""
    folder = tmp_path_factory.mktemp("runs") / "unet"
    options = parse_system(SMALLEST, "segmentation").arguments()
    assert train.main([*options, *SCENES, "--epochs", 2, "--pictures", 0, "--run-dir", folder]) == 0
    arrays, meta = read_checkpoint(folder / "best.npz")
    name = max(name for name, array in arrays.items() if name.startswith("model/") and array.shape == (4,))
    arrays[name] = arrays[name] + [0, 0, 100, 0]
    write_checkpoint(folder / "best.npz", arrays, meta)
    return folder


def test_measurements(folder):
    """The best weights, not the last, on the split asked for, and the multiply-adds at the model's image size."""
    given, wanted = Namespace(**DEFAULTS | {"shapes_val": 3, "shapes_size": (32, 40)}), {}
    for weights in ("best", "last"):
        model = load_model(folder / f"{weights}.npz")[0]
        for split in ("test", "val"):
            wanted[weights, split] = evaluate_segmenter(model, open_labelled_shapes(given, split))["mIoU"]
    assert len(set(wanted.values())) == 4
    for split in ("test", "val"):
        assert compare_measure.measure(folder, split, folder)["mIoU"] == wanted["best", split]
    assert compare_measure.measure(folder, "test", folder)["multiply_adds"] == multiply_adds(model, (1, 3, 16, 20))


def test_a_run_that_was_stopped_is_not_measured(folder, tmp_path):
    arrays, meta = read_checkpoint(folder / "last.npz")
    meta["progress"]["epoch"] -= 1
    write_checkpoint(tmp_path / "last.npz", arrays, meta)
    assert compare_measure.measure(tmp_path, "test", tmp_path) == {}


def test_scores_of_objects_are_measured(folder, monkeypatch):
    found = {"mIoU": 0.5, "objects": {"f1": 0.25, "recall": None, "objects": 3}, "images": 2, "images_per_second": 9.0}
    task = compare_measure.task_of("unet_small")._replace(evaluate=lambda model, data: dict(found))
    monkeypatch.setattr(compare_measure, "task_of", lambda name: task)
    measured = compare_measure.measure(folder, "test", folder)
    assert [*measured] == ["parameters", "multiply_adds", "minutes", "mIoU", "object_f1"]
    assert measured["object_f1"] == 0.25
