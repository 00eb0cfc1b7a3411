"""Detection, as the scripts see it."""

import time

import numpy as np
from scripts.tasks.task import Task, known, on_its_device, open_shapes, shown, watched

from datasets import VOCDetection, detection_batch, find_classes, resize
from nn.layer import Layer
from vision.detection.boxes import clip
from vision.detection.draw import draw_detections
from vision.detection.metrics import evaluate_detections


def open_voc(arguments, split: str, classes=None) -> VOCDetection:
    """A folder in Pascal VOC's layout; without class names, those that occur in the split."""
    if not arguments.root:
        raise ValueError("--data voc needs --root DIR: the folder that holds JPEGImages, Annotations and ImageSets")
    return VOCDetection(arguments.root, split, classes or find_classes(arguments.root, split))


def detector_batch(samples: list[dict], preprocess: dict) -> tuple[np.ndarray, list[dict]]:
    """Normalised images, and a dict per image with what belongs to it: see datasets.detection_batch."""
    return detection_batch(samples, preprocess["mean"], preprocess["std"])


def detect(model: Layer, sample: dict) -> dict:
    """Boxes (K, 4), labels and scores (K,) that the model finds, in the pixels of the sample's own image."""
    preprocess, (h, w) = model.preprocess, sample["image"].shape[:2]
    resized = resize(sample, short_side=preprocess["short_side"], max_side=preprocess["max_side"])
    images, _ = detector_batch([resized], preprocess)
    found = on_its_device(model, model.predict, images)[0]
    scale = np.array([*resized["scale"], *resized["scale"]], found["boxes"].dtype)
    return {**found, "boxes": clip(found["boxes"] / scale, (h, w))}


def evaluate_detector(model: Layer, dataset) -> dict:
    """AP at IoU 0.5 of every class and their mean, by area and by 11 points, and the speed, reading included."""
    started = time.monotonic()
    found, truth = [], []
    for sample in watched(dataset, "evaluating"):
        found.append(detect(model, sample))
        truth.append({key: sample[key] for key in ("boxes", "labels", "difficult") if key in sample})
    seconds = time.monotonic() - started
    area, points = (evaluate_detections(found, truth, dataset.classes, method=method) for method in ("area", "11point"))
    labels = np.concatenate([t["labels"][~t["difficult"]] if "difficult" in t else t["labels"] for t in truth])
    per_class = {
        name: {"objects": int((labels == i).sum()), "AP50": known(area[name]), "AP50_11point": known(points[name])}
        for i, name in enumerate(dataset.classes, start=1)
    }
    return {
        "AP50": known(area["mean"]),
        "AP50_11point": known(points["mean"]),
        "classes": per_class,
        "images": len(dataset),
        "images_per_second": round(len(dataset) / seconds, 2),
    }


def detection_table(metrics: dict) -> str:
    """The metrics of evaluate_detector, a line per class and one for their mean."""
    width = max(len("class"), *map(len, metrics["classes"]))
    rows = [f"{'class':{width}}  objects  AP50 (area)  AP50 (11-point)"]
    objects = sum(row["objects"] for row in metrics["classes"].values())
    for name, row in [*metrics["classes"].items(), ("mean", {**metrics, "objects": objects})]:
        area, points = shown(row["AP50"]), shown(row["AP50_11point"])
        rows.append(f"{name:{width}}  {row['objects']:7d}  {area:>11}  {points:>15}")
    return "\n".join([*rows, f"{metrics['images']} images, {metrics['images_per_second']:.1f} images/s"])


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
    """Only what scores at least `threshold`."""
    sure = prediction["scores"] >= threshold
    return {key: prediction[key][sure] for key in ("boxes", "labels", "scores")}


def draw_prediction(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image with the boxes found, and in dashed lines those of the sample, if one is given."""
    return draw_detections(
        image, prediction["boxes"], prediction["labels"], prediction["scores"], classes, truth=sample
    )


DETECTION = Task(
    metric="AP50",
    data={"shapes": open_shapes, "voc": open_voc},
    splits={"shapes": ("train", "val"), "voc": ("trainval", "test")},
    collate=detector_batch,
    predict=detect,
    evaluate=evaluate_detector,
    table=detection_table,
    describe=describe_detections,
    select=select_detections,
    draw=draw_prediction,
)
