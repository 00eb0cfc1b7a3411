"""Instance segmentation as a task: batches with masks, AP of masks, tables, JSON, pictures."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vision.boxes.mask_runs import run_iou
from vision.detection.coco_metrics import COCOMetrics
from vision.detection.coco_overlaps import runs_of
from vision.detection.metrics import evaluate_detections
from vision.detection.task import TRUTH, coco_lines, coco_metrics, describe_detections, detector_batch
from vision.instances.draw import draw_instances
from vision.instances.masks import fitted, merge
from vision.instances.segmenter import InstanceSegmenter
from vision.segmentation.objects import match_objects
from vision.task import TASKS, Task, images_and_speed, known, predicted, shown


def instance_batch(model: InstanceSegmenter, samples: list[dict]) -> tuple:
    """As detector_batch; targets also have masks (K, h, w) bool, and keypoints (K, J, 3) where the samples do; of a
    model that classifies regions segments, see vision.proposals.segments.

    Objects without a pixel are left out; boxes that a crop has clipped are fitted to what is left of the masks.
    Raises ValueError for a sample without masks, and for masks of another size than the image.
    """
    for sample in samples:
        size, masks = sample["image"].shape[:2], sample.get("masks")
        if masks is None or masks.shape != (len(sample["labels"]), *size):
            got = "none" if masks is None else masks.shape
            raise ValueError(f"wanted masks (K, {size[0]}, {size[1]}) of {len(sample['labels'])} objects, got {got}")
    kept = [sample["masks"].any(axis=(1, 2)) for sample in samples]
    per_object = ("boxes", "labels", "difficult", "masks", "keypoints")
    samples = [
        sample | {key: sample[key][there] for key in per_object if key in sample}
        for sample, there in zip(samples, kept)
    ]
    samples = [sample | {"boxes": fitted(sample["boxes"], sample["masks"])} for sample in samples]
    images, targets = detector_batch(model, samples)
    more = [{key: sample[key] for key in ("masks", "keypoints") if key in sample} for sample in samples]
    if segments := getattr(model, "segments", None):
        more = [target | {"segments": segments(sample["image"])} for target, sample in zip(more, samples)]
    return images, [target | each for target, each in zip(targets, more)]


def segment_sample(model: InstanceSegmenter, sample: dict) -> dict:
    """Boxes, masks, labels, scores and names that the model finds, in the pixels of the sample's own image."""
    return model.segment_objects(sample["image"])


def evaluate_instances(model: InstanceSegmenter, dataset, failed: list[str] | None = None) -> dict:
    """COCO's metrics of masks and of boxes; AP^r at IoU 0.5 and 0.7; F1 of objects; the speed with reading.

    AP^r is VOC's average precision with the IoU of masks, by area under the curve. Reference: Hariharan et al. 2014,
    arXiv:1407.1808, sec. 4.
    """
    started = time.monotonic()
    kinds = ("masks", "boxes", *(("keypoints",) if hasattr(model, "keypoint_head") else ()))
    coco = {kind: COCOMetrics(dataset.classes, kind) for kind in kinds}
    found, truth, counts = [], [], []
    for sample, prediction in predicted(dataset, lambda samples: [segment_sample(model, samples[0])], failed=failed):
        there = {key: sample[key] for key in (*TRUTH, "masks", "keypoints") if key in sample}
        if "keypoints" in kinds:  # OKS is relative to the area, by the file or of the mask
            there.setdefault("area", sample["masks"].sum(axis=(1, 2)))
        counts.append(object_counts(prediction, there))
        runs = [each | {"masks": runs_of(each)} for each in (prediction, there)]  # the masks need not stay in memory
        for metrics in coco.values():
            metrics.add(*runs)
        found.append(runs[0])
        truth.append(runs[1])
    seconds = time.monotonic() - started
    results = {kind: metrics.result() for kind, metrics in coco.items()}
    of_regions = {t: evaluate_detections(found, truth, dataset.classes, t, overlap=mask_iou) for t in (0.5, 0.7)}
    labels = np.concatenate([t["labels"] for t in truth])
    per_class = {
        name: {"objects": int((labels == i).sum()), "mask_AP": known(results["masks"]["classes"][name])}
        | {f"APr_{t}": known(of_regions[t][name]) for t in of_regions}
        for i, name in enumerate(dataset.classes, 1)
    }
    return {
        "mask_AP50": known(results["masks"]["AP50"]),
        "mask_AP": known(results["masks"]["AP"]),
        "APr_0.5": known(of_regions[0.5]["mean"]),
        "APr_0.7": known(of_regions[0.7]["mean"]),
        "object_F1": object_f1(counts),
        "classes": per_class,
        **{f"coco_{kind}": coco_metrics(result) for kind, result in results.items()},
        "images": len(found),
        "images_per_second": round(len(found) / seconds, 2),
    }


def mask_iou(detected: dict, truth: dict) -> np.ndarray:
    """IoU (D, G) of the masks of an image."""
    return run_iou(runs_of(detected), runs_of(truth))


def object_counts(prediction: dict, truth: dict, threshold: float = 0.5) -> tuple[int, int, int]:
    """(right, wrong, missed) objects of an image, whatever their class: scores from 0.5 on count, the best on top.

    Pixels of objects that are difficult or a crowd do not count. See match_objects for the rule.
    """
    sure = prediction["scores"] >= threshold
    found = merge(prediction["masks"][sure], prediction["scores"][sure])
    true = merge(truth["masks"])
    out = np.zeros(len(truth["labels"]), bool)
    for key in ("difficult", "crowd"):
        out |= np.asarray(truth.get(key, out), bool)
    return match_objects(found, np.where(np.isin(true, np.flatnonzero(out) + 1), -1, true))


def object_f1(counts: Sequence[tuple[int, int, int]]) -> float | None:
    """F1 = 2 right / (2 right + wrong + missed) over all images, None where there is no object at all."""
    right, wrong, missed = np.sum(counts, axis=0).tolist()
    total = 2 * right + wrong + missed
    return 2 * right / total if total else None


def instance_table(metrics: dict) -> str:
    """The metrics of evaluate_instances, a line per class, and COCO's."""
    width = max(len("class"), *map(len, metrics["classes"]))
    rows = [f"{'class':{width}}  objects  AP^r 0.5  AP^r 0.7  mask AP (COCO)"]
    mean = metrics | {"objects": sum(row["objects"] for row in metrics["classes"].values())}
    for name, row in [*metrics["classes"].items(), ("mean", mean)]:
        columns = f"{shown(row['APr_0.5']):>8}  {shown(row['APr_0.7']):>8}  {shown(row['mask_AP']):>14}"
        rows.append(f"{name:{width}}  {row['objects']:7d}  {columns}")
    for kind in ("masks", "boxes", "keypoints"):
        rows += coco_lines(metrics[f"coco_{kind}"], kind) if f"coco_{kind}" in metrics else []
    rows.append(f"F1 of objects at IoU 0.5: {shown(metrics['object_F1'])}")
    return "\n".join([*rows, images_and_speed(metrics)])


def describe_instances(prediction: dict, classes: Sequence[str]) -> list[dict]:
    """[{class, label, score, box, pixels, and keypoints where there are some}], best first."""
    order = np.argsort(-prediction["scores"], kind="stable")
    ranked = {key: prediction[key][order] for key in ("boxes", "labels", "scores")}
    pixels = prediction["masks"][order].sum(axis=(1, 2)).tolist()
    rows = [row | {"pixels": n} for row, n in zip(describe_detections(ranked, classes), pixels)]
    if "keypoints" in prediction:
        points = prediction["keypoints"][order].astype(float).round(2).tolist()
        rows = [row | {"keypoints": each} for row, each in zip(rows, points)]
    return rows


def select_instances(prediction: dict, threshold: float) -> dict:
    """The instances with a score of at least `threshold`."""
    sure = prediction["scores"] >= threshold
    keys = ("boxes", "masks", "labels", "scores", "keypoints")
    return {key: prediction[key][sure] for key in keys if key in prediction}


def draw_prediction(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image with what is found, and with the sample's masks in white contours."""
    return draw_instances(image, prediction, classes, None if sample is None else sample["masks"])


def save_instances(prediction: dict, folder: Path, name: str) -> str:
    """Write a PNG of 16 bits whose values are the objects, 1 for the best, 0 for none; returns its name."""
    order = np.argsort(-prediction["scores"], kind="stable")
    labels = merge(prediction["masks"][order])
    Image.fromarray(labels.astype(np.uint16)).save(folder / f"{name}.png", format="PNG")
    return f"{name}.png"


def count_keypoints(model: InstanceSegmenter, dataset) -> dict:
    """{keypoints: J of the data} for a model of key points that has another J, else {}."""
    if not hasattr(model.options, "keypoints"):
        return {}
    names = getattr(dataset, "keypoint_names", ())
    if not names:
        raise ValueError(f"{model.name} learns key points; the training data has none")
    return {} if len(names) == model.options.keypoints else {"keypoints": len(names)}


TASKS["instances"] = Task(
    metric="mask_AP50",
    collate=instance_batch,
    predict=segment_sample,
    evaluate=evaluate_instances,
    table=instance_table,
    describe=describe_instances,
    select=select_instances,
    draw=draw_prediction,
    save=save_instances,
    derive=count_keypoints,
    pictures=lambda model, dataset, failed=None: model.pictures(dataset),
)
