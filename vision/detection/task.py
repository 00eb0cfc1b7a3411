"""Detection as a task: batches, average precision, tables, JSON, pictures."""

import time
from typing import Any

import numpy as np

from vision.detection.coco_metrics import COCOMetrics
from vision.detection.detector import Detector
from vision.detection.draw import draw_detections
from vision.detection.metrics import evaluate_detections
from vision.detection.pictures import draw_detector
from vision.task import TASKS, Task, images_and_speed, known, predicted, shown

TRUTH = ("boxes", "labels", "difficult", "crowd", "area")  # fields of a sample that evaluation reads


def detector_batch(model: Detector, samples: list[dict]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """images (N, 3, H, W) float32, preprocessed, and a dict of targets for each.

    Targets: boxes (K, 4), labels (K,), difficult (K,), id (where the sample has them), in pixels of the padded image;
    image_size (h, w) without the padding; proposals (P, 4) for a model that wants them: see vision.proposals.attach.
    """
    images, targets = model.preprocess.batch_of(samples), []
    for sample in samples:
        target = {key: sample[key] for key in ("boxes", "labels", "difficult", "id") if key in sample}
        if model.proposals:
            target["proposals"] = sample["proposals"] if "proposals" in sample else model.proposer(sample["image"])[0]
        targets.append(target | {"image_size": sample["image"].shape[:2]})
    return images, targets


def detect(model: Detector, sample: dict) -> dict:
    """Boxes (K, 4), labels, scores and names that the model finds, in the pixels of the sample's own image."""
    return model.detect(sample["image"], sample.get("proposals"))


def evaluate_detector(model: Detector, dataset, failed: list[str] | None = None, found: list | None = None) -> dict:
    """AP at IoU 0.5 of every class and their mean, by VOC's area and 11 points; COCO's metrics; the speed with reading.

    failed: collects what cannot be evaluated, see vision.task.predicted; so in the evaluations of all tasks. found:
    collects (prediction, truth) of each image.
    """
    started, coco, found = time.monotonic(), COCOMetrics(dataset.classes), [] if found is None else found
    for sample, prediction in predicted(dataset, lambda samples: [detect(model, samples[0])], failed=failed):
        found.append((prediction, {key: sample[key] for key in TRUTH if key in sample}))
        coco.add(*found[-1])
    seconds = time.monotonic() - started
    predictions, truth = zip(*found)
    area, points = (
        evaluate_detections(predictions, truth, dataset.classes, method=method) for method in ("area", "11point")
    )
    labels = np.concatenate([t["labels"][~t["difficult"]] if "difficult" in t else t["labels"] for t in truth])
    per_class = {
        name: {"objects": int((labels == i).sum()), "AP50": known(area[name]), "AP50_11point": known(points[name])}
        for i, name in enumerate(dataset.classes, start=1)
    }
    of_coco = coco.result()
    for name, row in per_class.items():
        row["AP"] = known(of_coco["classes"][name])
    return {
        "AP50": known(area["mean"]),
        "AP50_11point": known(points["mean"]),
        "classes": per_class,
        "coco": coco_metrics(of_coco),
        "images": len(found),
        "images_per_second": round(len(found) / seconds, 2),
    }


def coco_metrics(result: dict) -> dict:
    """The result of COCOMetrics without its classes, as JSON."""
    return {name: known(value) for name, value in result.items() if name != "classes"}


def coco_lines(metrics: dict, title: str = "COCO") -> list[str]:
    """Two lines of text: AP and AR of COCO's metrics."""
    parts = [[f"{name} {shown(value)}" for name, value in metrics.items() if name.startswith(k)] for k in ("AP", "AR")]
    return [f"{title}: {', '.join(part)}" for part in parts]


def detection_table(metrics: dict) -> str:
    """The metrics of evaluate_detector, a line per class, one for their mean, and COCO's."""
    width = max(len("class"), *map(len, metrics["classes"]))
    rows = [f"{'class':{width}}  objects  AP50 (area)  AP50 (11-point)  AP (COCO)"]
    objects = sum(row["objects"] for row in metrics["classes"].values())
    mean = {**metrics, "objects": objects, "AP": metrics["coco"]["AP"]}
    for name, row in [*metrics["classes"].items(), ("mean", mean)]:
        area, points, ap = shown(row["AP50"]), shown(row["AP50_11point"]), shown(row["AP"])
        rows.append(f"{name:{width}}  {row['objects']:7d}  {area:>11}  {points:>15}  {ap:>9}")
    rows += coco_lines(metrics["coco"])
    return "\n".join([*rows, images_and_speed(metrics)])


def describe_detections(prediction: dict, classes) -> list[dict]:
    """[{class, label, score, box: [x1, y1, x2, y2]}], best first."""
    boxes, labels, scores = prediction["boxes"], prediction["labels"], prediction["scores"]
    return [
        {
            "class": classes[label - 1],
            "label": int(label),
            "score": round(float(score), 4),
            "box": box.round(2).tolist(),
        }
        for box, label, score in sorted(zip(boxes.astype(float), labels, scores), key=lambda found: -found[2])
    ]


def select_detections(prediction: dict, threshold: float) -> dict:
    """The detections with a score of at least `threshold`."""
    sure = prediction["scores"] >= threshold
    return {key: prediction[key][sure] for key in ("boxes", "labels", "scores")}


def draw_prediction(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image with the boxes found, and the sample's boxes, if it is given, in dashed lines."""
    return draw_detections(
        image, prediction["boxes"], prediction["labels"], prediction["scores"], classes, truth=sample
    )


TASKS["detection"] = Task(
    metric="AP50",
    collate=detector_batch,
    predict=detect,
    evaluate=evaluate_detector,
    table=detection_table,
    describe=describe_detections,
    select=select_detections,
    draw=draw_prediction,
    pictures=draw_detector,
    keeps=True,
)
