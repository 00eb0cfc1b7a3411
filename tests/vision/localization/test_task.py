"""The task of localization: the figures of a worked example, the table, what is described and drawn."""

import numpy as np
import pytest

import vision
from vision.localization import Localizer
from vision.localization.task import localization_table
from vision.options import ImageOptions
from vision.preprocess import Preprocess

TASK = vision.TASKS["localization"]


class One(ImageOptions):
    objects = 1


class Corner(Localizer):
    """Always class "cat" in the upper left 10 x 10 pixels of 20 x 20."""

    def __init__(self):
        super().__init__(["cat", "dog"], One(), Preprocess(20, 40, resize="square"))

    def predict(self, images):
        return len(images) * [
            {"boxes": np.array([[0, 0, 10, 10.0]]), "labels": np.array([1]), "scores": np.array([0.9])}
        ]


class Data(list):
    classes = ("cat", "dog")


def sample(box, label):
    image = np.zeros((40, 40, 3), np.uint8)  # twice as large as the network sees it: the box found is 20 x 20
    return {"id": str(box), "image": image, "boxes": np.array([box], np.float32), "labels": np.array([label])}


def test_worked_example():
    data = Data([sample([0, 0, 20, 20], 1), sample([0, 0, 20, 10], 1), sample([0, 0, 20, 20], 2)])
    data += [sample([10, 10, 30, 30], 1)]  # IoU 1, 1/2, 1 (wrong class), 100 / 700
    metrics = TASK.evaluate(Corner(), data)
    assert metrics["accuracy"] == 0.75 and metrics["IoU50"] == 0.75 and metrics["localized"] == 0.5
    assert metrics["mean_IoU"] == pytest.approx((1 + 0.5 + 1 + 1 / 7) / 4)
    assert metrics["classes"]["dog"] | {"objects": 1} == {
        "objects": 1, "accuracy": 0, "mean_IoU": 1, "IoU50": 1, "localized": 0,
    }  # fmt: skip
    lines = localization_table(metrics).splitlines()
    assert lines[0].split() == ["class", "objects", "accuracy", "mean_IoU", "IoU50", "localized"]
    assert lines[-2].split() == ["all", "4", "0.750", "0.661", "0.750", "0.500"]


def test_an_object_that_is_not_found_is_wrong():
    """Two objects, one box: the second one counts, as missed."""
    two = sample([0, 0, 20, 20], 1)
    two |= {"boxes": np.array([[0, 0, 20, 20], [20, 0, 40, 20]], np.float32), "labels": np.array([1, 1])}
    model = Corner()
    model.options.objects = 2
    metrics = TASK.evaluate(model, Data([two]))
    assert (metrics["objects"], metrics["accuracy"], metrics["mean_IoU"], metrics["localized"]) == (2, 0.5, 0.5, 0.5)


def test_description_selection_and_picture():
    found = Corner().locate(sample([0, 0, 20, 20], 1)["image"])
    assert TASK.describe(found, ["cat", "dog"]) == [
        {"class": "cat", "label": 1, "score": 0.9, "box": [0.0, 0.0, 20.0, 20.0]}
    ]
    assert len(TASK.select(found, 0.95)["boxes"]) == 0
    picture = TASK.draw(sample([0, 0, 20, 20], 1)["image"], found, ["cat", "dog"], sample([0, 0, 20, 20], 1))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
