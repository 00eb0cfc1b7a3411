"""Localization as a task: batches, the share of right classes and boxes, tables, JSON, pictures."""

import time

import numpy as np

from vision.boxes.boxes import iou
from vision.detection.draw import grid
from vision.detection.task import describe_detections, draw_prediction, select_detections
from vision.localization.localizer import Localizer, chosen
from vision.task import TASKS, EvenSubset, Task, images_and_speed, known, predicted, shown

TOGETHER = 32  # images in one forward pass of an evaluation
SHOWN = 9  # photographs in a picture of what is found
COLUMNS = ("accuracy", "mean_IoU", "IoU50", "localized")  # of each class, and of all


def localization_batch(model: Localizer, samples: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(images (N, 3, H, W) or features of a frozen backbone, labels (N, K), boxes (N, K, 4)): see Localizer."""
    images = model.preprocess.batch_of(samples)
    truth = [chosen(sample["boxes"], sample["labels"], model.options.objects) for sample in samples]
    labels, boxes = map(np.stack, zip(*truth))
    return model.features(images) if model.features else images, labels, boxes


def locate(model: Localizer, sample: dict) -> dict:
    """boxes (K, 4), labels, scores and names of the objects in the sample's own image."""
    return model.locate(sample["image"])


def evaluate_localizer(model: Localizer, dataset, failed: list[str] | None = None) -> dict:
    """Over all objects and over those of each class: accuracy, the share whose class is right; mean_IoU of the boxes;
    IoU50, the share of boxes with IoU >= 0.5; localized, the share with both. And the speed with reading.

    Where a model finds fewer objects than there are, the last ones from the left are missed: wrong, with an IoU of 0.
    """
    started, rows, images = time.monotonic(), [], 0

    def locate_all(samples):
        return model.locate_all([sample["image"] for sample in samples])

    for sample, found in predicted(dataset, locate_all, together=TOGETHER, failed=failed):
        images += 1
        labels, boxes = chosen(sample["boxes"], sample["labels"], model.options.objects)
        for k, label in enumerate(labels[labels >= 0]):  # the objects that are there
            its_box, its_label = found["boxes"][k : k + 1].astype(float), found["labels"][k : k + 1]
            overlap = iou(boxes[k : k + 1].astype(float), its_box).sum()  # 0 where there is no box
            rows.append((label, (its_label == label + 1).any(), overlap))
    seconds = time.monotonic() - started
    truth, right, overlap = (np.array(column) for column in zip(*rows)) if rows else 3 * (np.zeros(0),)
    per_class = {name: _figures(right[truth == k], overlap[truth == k]) for k, name in enumerate(dataset.classes)}
    speed = {"images": images, "images_per_second": round(images / seconds, 2)}
    return _figures(right, overlap) | {"classes": per_class} | speed


def _figures(right, overlap):
    """The COLUMNS of objects with these IoUs, and their number."""
    right, good = right.astype(bool), overlap >= 0.5
    means = (known(each.mean() if len(each) else np.nan) for each in (right, overlap, good, right & good))
    return {"objects": len(right)} | dict(zip(COLUMNS, means))


def localization_table(metrics: dict) -> str:
    """The metrics of evaluate_localizer, a line per class and one for all."""
    width = max(len("class"), *map(len, metrics["classes"]))
    rows = [f"{'class':{width}}  objects" + "".join(f"{name:>11}" for name in COLUMNS)]
    for name, row in [*metrics["classes"].items(), ("all", metrics)]:
        rows.append(f"{name:{width}}  {row['objects']:7d}" + "".join(f"{shown(row[key]):>11}" for key in COLUMNS))
    return "\n".join([*rows, images_and_speed(metrics)])


def draw_localizer(model: Localizer, dataset, failed: list[str] | None = None) -> dict[str, np.ndarray]:
    """{found: picture}: what is found in some photographs, with the truth; and the model's own pictures."""
    pairs = predicted(EvenSubset(dataset, SHOWN), lambda samples: [locate(model, samples[0])], failed=failed)
    pictures = [draw_prediction(sample["image"], found, dataset.classes, sample) for sample, found in pairs]
    return model.pictures(dataset) | {"found": grid(pictures)}


TASKS["localization"] = Task(
    metric="localized",
    collate=localization_batch,
    predict=locate,
    evaluate=evaluate_localizer,
    table=localization_table,
    describe=describe_detections,
    select=select_detections,
    draw=draw_prediction,
    pictures=draw_localizer,
)
