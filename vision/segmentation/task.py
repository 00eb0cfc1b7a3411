"""The task of segmentation: batches, predictions, metrics and pictures of labelled pixels."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vision.segmentation.boundary import TOLERANCE, boundary_f1
from vision.segmentation.class_weights import median_frequency
from vision.segmentation.draw import draw_labels, write_labels
from vision.segmentation.metrics import class_accuracy, confusion_matrix, global_accuracy, iou, mean
from vision.segmentation.objects import components, match_objects
from vision.segmentation.pixel_classifier import PixelClassifier
from vision.segmentation.rims import seams
from vision.segmentation.weight_map import weight_map
from vision.task import TASKS, Task, images_and_speed, known, predicted, shown


def segmentation_batch(model: PixelClassifier, samples: list[dict]) -> tuple[np.ndarray, ...]:
    """(images (N, 3, H, W) float32, labels (N, H, W) int64), and weights (N, H, W) float32 if the model wants them.

    All are padded at the right and the bottom to the size of the largest image: labels with -1, weights with 0. The
    option border_weights (w0, sigma of weight_map) needs samples that hold `instances`.
    """
    images = model.preprocess.batch_of(samples)
    size, borders = images.shape[2:], model.options.border_weights
    labels, objects = zip(*map(model.target, samples))
    labels = _stacked(labels, size, np.int64, outside=-1)
    if not borders or any(each is None for each in objects):
        return images, labels
    weights = [weight_map(each, *borders) for each in objects]
    return images, labels, _stacked(weights, size, np.float32, outside=0)


def _stacked(maps, size, dtype, outside):
    """Maps (H_i, W_i) as one array (N, *size), `outside` where a map does not reach, or there is none."""
    stack = np.full((len(maps), *size), outside, dtype)
    for into, each in zip(stack, maps):
        if each is not None:
            into[: each.shape[0], : each.shape[1]] = each
    return stack


def segment(model: PixelClassifier, sample: dict) -> dict[str, Any]:
    """labels (H, W) int64 and scores (H, W), the best class at each pixel of the image and its probability; names."""
    return model.segment(sample["image"])


def evaluate_segmenter(model: PixelClassifier, dataset, failed: list[str] | None = None) -> dict[str, Any]:
    """Metrics of all pixels that have a label, in the images' own size, and the speed, reading included.

    boundary_f1 of a class is the mean over the images that have it, or in which it was found; boundary_tolerance is the
    least over the images, in pixels. Samples with `instances` give the metrics of `objects`, too: those that the model
    tells apart, else the connected components of all classes but 0.
    """
    started, classes = time.monotonic(), len(dataset.classes)
    n, borders, objects, reach = np.zeros((classes, classes), np.int64), [], [], math.inf
    for sample, prediction in predicted(dataset, lambda samples: [segment(model, samples[0])], failed=failed):
        labels, truth = prediction["labels"], sample["segmentation"]
        n += confusion_matrix(labels, truth, classes)
        borders.append(boundary_f1(labels, truth, classes))
        reach = min(reach, TOLERANCE * math.hypot(*truth.shape))
        if "instances" in sample:
            found = prediction["instances"] if "instances" in prediction else components(labels > 0)
            objects.append(match_objects(found, np.where(truth < 0, -1, sample["instances"])))
    seconds = time.monotonic() - started
    columns = {
        "accuracy": class_accuracy(n),
        "IoU": iou(n),
        "boundary_f1": np.array([mean(f1) for f1 in np.transpose(borders)]),
    }
    per_class = {
        name: {"pixels": int(n[c].sum()), "labelled": int(n[:, c].sum())}
        | {key: known(values[c]) for key, values in columns.items()}
        for c, name in enumerate(dataset.classes)
    }
    return {
        "mIoU": known(mean(columns["IoU"])),
        "global_accuracy": known(global_accuracy(n)),
        "class_accuracy": known(mean(columns["accuracy"])),
        "boundary_f1": known(mean(columns["boundary_f1"])),
        "boundary_tolerance": round(reach, 2) if borders else None,
        **({"objects": _object_scores(objects)} if objects else {}),
        "classes": per_class,
        "images": len(borders),
        "images_per_second": round(len(borders) / seconds, 2),
    }


def _object_scores(counts):
    """F1, precision and recall at IoU 0.5 of all objects of all images, from (tp, fp, fn) of each image."""
    right, wrong, missed = np.sum(counts, axis=0).tolist()
    found, there = right + wrong, right + missed
    return {
        "f1": 2 * right / (found + there) if found + there else None,
        "precision": right / found if found else None,
        "recall": right / there if there else None,
        "objects": there,
        "found": found,
    }


def segmentation_table(metrics: dict) -> str:
    """The metrics of evaluate_segmenter, a line per class and one for their mean."""
    width = max(len("class"), *map(len, metrics["classes"]))
    rows = [f"{'class':{width}}     pixels  accuracy    IoU  boundary F1"]
    pixels = sum(row["pixels"] for row in metrics["classes"].values())
    means = {"pixels": pixels, "accuracy": metrics["class_accuracy"], "IoU": metrics["mIoU"]}
    for name, row in [*metrics["classes"].items(), ("mean", means | {"boundary_f1": metrics["boundary_f1"]})]:
        columns = f"{shown(row['accuracy']):>8}  {shown(row['IoU']):>5}  {shown(row['boundary_f1']):>11}"
        rows.append(f"{name:{width}}  {row['pixels']:9d}  {columns}")
    if objects := metrics.get("objects"):
        f1, precision, recall = (shown(objects[key]) for key in ("f1", "precision", "recall"))
        rows.append(f"{objects['objects']} objects: F1 at IoU 0.5 {f1} (precision {precision}, recall {recall})")
    rows.append(f"global accuracy {shown(metrics['global_accuracy'])}")
    rows += _about_boundaries(metrics)
    return "\n".join([*rows, images_and_speed(metrics)])


def _about_boundaries(metrics):
    """Lines on what makes boundary F1 low or 0 where labels may be good: small images, a class everywhere."""
    lines, reach = [], metrics.get("boundary_tolerance")
    if reach is not None and reach < 1:
        share = f"{100 * TOLERANCE:g} % of the diagonal of images this small is {reach:.2f} pixels"
        lines.append(f"boundary F1 is to the pixel: {share}; a boundary that is one pixel off scores 0")
    found = [name for name, row in metrics["classes"].items() if row.get("labelled")]
    if len(found) == 1 and sum(row["pixels"] > 0 for row in metrics["classes"].values()) > 1:
        lines.append(f"every pixel was labelled {found[0]}: there is no boundary")
    return lines


def describe_areas(prediction: dict, classes: Sequence[str]) -> list[dict]:
    """[{class, label, pixels, share}] of the classes found, the largest first; and objects, if they are told apart."""
    labels = prediction["labels"]
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    found = [
        {"class": classes[c], "label": int(c), "pixels": int(counts[c]), "share": round(counts[c] / labels.size, 4)}
        for c in np.argsort(-counts, kind="stable")
        if counts[c]
    ]
    if "instances" in prediction:
        for row in found:
            row["objects"] = int(np.count_nonzero(np.unique(prediction["instances"][labels == row["label"]])))
    return found


def select_pixels(prediction: dict, threshold: float) -> dict:
    """Label -1, and no object, for the pixels that score less than `threshold`."""
    kept, none = prediction["scores"] >= threshold, {"labels": -1, "instances": 0}
    return prediction | {name: np.where(kept, prediction[name], none[name]) for name in none if name in prediction}


def draw_areas(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image under its labels, beside it the true ones if a sample is given; and a legend of the colours.

    Objects that are told apart have an unlabelled seam where they touch.
    """
    found, true = (_with_seams(each) for each in (prediction, (sample or {})))
    return draw_labels(image, found, classes, true)


def _with_seams(areas):
    """The labels (H, W) of a prediction or a sample, -1 where objects touch; None where there are none."""
    labels = areas["labels"] if "labels" in areas else areas.get("segmentation")
    return np.where(seams(areas["instances"]), -1, labels) if "instances" in areas else labels


def save_labels(prediction: dict, folder: Path, name: str) -> str:
    """Write the labels as a palette PNG, 255 for -1; returns its name.

    Beside it NAME.objects.png, 16 bits, with the index of each object, where the model tells them apart.
    """
    write_labels(folder / f"{name}.png", prediction["labels"], prediction["names"])
    if "instances" in prediction:
        Image.fromarray(prediction["instances"].astype(np.uint16)).save(folder / f"{name}.objects.png")
    return f"{name}.png"


def weights_of_classes(model: PixelClassifier, dataset) -> dict[str, Any]:
    """{class_weights}, counted in the training data, for a model whose option is "median" or "root_median"; else {}."""
    wanted = model.options.class_weights
    if not isinstance(wanted, str):
        return {}
    weights = median_frequency(dataset.label_maps(), len(dataset.classes))
    weights = np.sqrt(weights) if wanted == "root_median" else weights
    return {"class_weights": weights.round(6).tolist()}


TASKS["segmentation"] = Task(
    metric="mIoU",
    collate=segmentation_batch,
    predict=segment,
    evaluate=evaluate_segmenter,
    table=segmentation_table,
    describe=describe_areas,
    select=select_pixels,
    draw=draw_areas,
    save=save_labels,
    derive=weights_of_classes,
)
