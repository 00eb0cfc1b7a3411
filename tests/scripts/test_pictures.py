import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import Shapes
from scripts.pictures import by_epoch, contact_sheet, draw_curve
from vision import TASKS, Preprocess, build
from vision.detection import Detector

RECORDS = [
    {"epoch": 1, "step": 1, "losses": {"a": 1.0, "b": 0.5}},
    {"epoch": 1, "step": 2, "losses": {"a": 3.0, "b": 0.5}},
    {"epoch": 1, "step": 2, "validation": {"a": 2.5, "b": None}, "speed": 9.0},
    {"epoch": 1, "step": 2, "metrics": {"AP50": 0.25}},
    {"epoch": 2, "step": 3, "losses": {"a": 1.0, "b": 0.5}},
    {"epoch": 2, "step": 3, "metrics": {"AP50": None}},
]


def test_means_of_epochs():
    losses, unseen, metric = by_epoch(RECORDS, "AP50")
    assert unseen == {"a": {1: 2.5}}  # b was not finite
    assert losses == {"a": {1: 2.0, 2: 1.0}, "b": {1: 0.5, 2: 0.5}}
    assert metric == {1: 0.25}  # not defined in epoch 2: no point in the curve


def test_stages_follow_one_another():
    stages = [{"stage": stage, **record} for stage in ("first", "second") for record in RECORDS]
    losses, unseen, metric = by_epoch([*stages, {"changed": {"lr": [1, 2]}}, {"stage": "third", **RECORDS[0]}], "AP50")
    assert losses["first: a"] == {1: 2.0, 2: 1.0} and losses["second: a"] == {3: 2.0, 4: 1.0}
    assert losses["third: b"] == {5: 0.5} and len(losses) == 6
    assert metric == {1: 0.25, 3: 0.25}
    assert unseen == {"first: a": {1: 2.5}, "second: a": {3: 2.5}}


def test_curve_of_a_log(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    draw_curve(tmp_path, "AP50")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (800, 800)
        assert np.asarray(image.convert("L")).std() > 5


def test_contact_sheet_shows_images_spread_over_the_set():
    seen = []

    class Model(Detector):
        def predict(self, images, image_sizes):
            seen.append(images)
            return [{"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, int), "scores": np.zeros(0)}]

    data, task = Shapes(9, (40, 80)), TASKS["detection"]
    model = Model(data.classes, None, Preprocess(short_side=40, max_side=80, mean=0, std=1))
    sheet = contact_sheet(model, task, data, 3)
    assert sheet.dtype == np.uint8
    assert [np.array_equal(x[0].transpose(1, 2, 0), data[i]["image"]) for x, i in zip(seen, (0, 4, 8))] == [True] * 3
    assert len(seen) == 3
    assert contact_sheet(model, task, Shapes(2, (40, 80)), 6).shape  # fewer images than asked for


class Damaged(Shapes):
    def __getitem__(self, index):
        if index == 1:
            raise ValueError("1.png: damaged")
        return super().__getitem__(index)


def test_contact_sheet_leaves_out_what_cannot_be_read():
    model, task, failed = build("faster_rcnn_small", Shapes(2, (40, 80)).classes), TASKS["detection"], []
    sheet = contact_sheet(model, task, Damaged(2, (40, 80)), 2, failed=failed)
    assert sheet.shape == contact_sheet(model, task, Shapes(1, (40, 80)), 1).shape
    assert failed == ["1.png: damaged"]


def test_matplotlib_is_imported_only_for_the_curve():
    program = "import sys, scripts.train, scripts.evaluate, scripts.predict; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True)
