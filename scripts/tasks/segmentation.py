"""Segmentation, as the scripts see it."""

import time
from pathlib import Path

import numpy as np
from scripts.tasks.task import Task, known, on_its_device, open_shapes, shown, watched

from datasets import (
    CamVid,
    LabelledFolders,
    LabelledImages,
    Nuclei,
    Pets,
    Shapes,
    VOCSegmentation,
    detection_batch,
    resize,
    write_label_picture,
)
from nn import Upsample2d
from nn.layer import Layer
from vision.segmentation.boundary import boundary_f1
from vision.segmentation.class_weights import median_frequency
from vision.segmentation.draw import draw_labels
from vision.segmentation.metrics import class_accuracy, confusion_matrix, global_accuracy, iou, mean
from vision.segmentation.objects import components, match_objects
from vision.segmentation.weight_map import weight_map

BACKGROUND = "background"
READERS = {  # --data NAME -> reader, and what --root has to hold
    "folders": (LabelledFolders, "images, labels and classes.txt"),
    "camvid": (CamVid, "train, trainannot, train.txt and so on"),
    "voc": (VOCSegmentation, "JPEGImages, SegmentationClass and ImageSets"),
    "nuclei": (Nuclei, "images, masks and index.csv"),
    "pets": (Pets, "images, trimaps and index.csv"),
}


class LabelledShapes:
    """Generated scenes with a label for every pixel: 0 is the background, which is a class like any other here."""

    def __init__(self, shapes: Shapes):
        self.shapes, self.classes = shapes, (BACKGROUND, *shapes.classes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> dict:
        sample = self.shapes[index]
        return {key: sample[key] for key in ("id", "image", "segmentation")}

    def label_maps(self):
        """Each sample's labels (H, W)."""
        return (self[i]["segmentation"] for i in range(len(self)))


def open_labelled_shapes(arguments, split: str, classes=None) -> LabelledShapes:
    """Generated scenes; classes, if given, begin with the background."""
    if classes and classes[0] != BACKGROUND:
        raise ValueError(f"--classes of --data shapes must begin with {BACKGROUND}, got {' '.join(classes)}")
    return LabelledShapes(open_shapes(arguments, split, tuple(classes[1:]) if classes else None))


def open_labelled(arguments, split: str, classes=None) -> LabelledImages:
    """A folder of photographs with label pictures, all of them checked: see its reader."""
    reader, held = READERS[arguments.data]
    if not arguments.root:
        raise ValueError(f"--data {arguments.data} needs --root DIR: the folder that holds {held}")
    return reader(arguments.root, split, classes)


def segmentation_batch(samples: list[dict], preprocess: dict) -> tuple[np.ndarray, ...]:
    """(images (N, 3, H, W) float32, labels (N, H, W) int64), and weights (N, H, W) float32 where the model wants them.

    All are padded at the right and the bottom, images with the mean colour, labels with -1, to the largest height and
    width, rounded up to preprocess["multiple"]. preprocess["border_weights"]: weight_map's w0 and sigma, for samples
    that hold `instances`.
    """
    images, _ = detection_batch(samples, preprocess["mean"], preprocess["std"])
    h, w = (-(-side // preprocess["multiple"]) * preprocess["multiple"] for side in images.shape[2:])
    images = np.pad(images, ((0, 0), (0, 0), (0, h - images.shape[2]), (0, w - images.shape[3])))
    labels = _stacked([sample.get("segmentation") for sample in samples], (h, w), np.int64, outside=-1)
    if not preprocess["border_weights"] or not all("instances" in sample for sample in samples):
        return images, labels
    w0, sigma = preprocess["border_weights"]
    weights = [weight_map(np.maximum(sample["instances"], 0), w0, sigma) for sample in samples]
    return images, labels, _stacked(weights, (h, w), np.float32, outside=0)


def _stacked(maps, size, dtype, outside):
    """Maps (H_i, W_i) as one array (N, *size), `outside` where a map does not reach, or there is none."""
    stack = np.full((len(maps), *size), outside, dtype)
    for into, each in zip(stack, maps):
        if each is not None:
            into[: each.shape[0], : each.shape[1]] = each
    return stack


def segment(model: Layer, sample: dict) -> dict:
    """labels (H, W) int64 and scores (H, W), the best class at each pixel of the image and its probability."""
    image, preprocess = sample["image"], model.preprocess
    resized = resize({"image": image}, short_side=preprocess["short_side"], max_side=preprocess["max_side"])
    images = segmentation_batch([resized], preprocess)[0]
    (h, w), size = resized["image"].shape[:2], image.shape[:2]
    p = on_its_device(model, model.predict, images)[:, :, :h, :w]
    p = p if (h, w) == size else Upsample2d(size, mode="bilinear", align_corners=False)(p)
    p = model.refine(image, p[0])
    return {"labels": p.argmax(axis=0), "scores": p.max(axis=0)}


def evaluate_segmenter(model: Layer, dataset) -> dict:
    """Metrics of all pixels that have a label, in the images' own size, and the speed, reading included.

    boundary_f1 of a class is the mean over the images where it is, or was found. Samples with `instances` give the
    metrics of `objects`, too, the connected components of what is not class 0.
    """
    started, classes = time.monotonic(), len(dataset.classes)
    n, borders, objects = np.zeros((classes, classes), np.int64), [], []
    for sample in watched(dataset, "evaluating"):
        labels, truth = segment(model, sample)["labels"], sample["segmentation"]
        n += confusion_matrix(labels, truth, classes)
        borders.append(boundary_f1(labels, truth, classes))
        if "instances" in sample:
            objects.append(match_objects(components(labels > 0), np.where(truth < 0, -1, sample["instances"])))
    seconds = time.monotonic() - started
    columns = {
        "accuracy": class_accuracy(n),
        "IoU": iou(n),
        "boundary_f1": np.array([mean(f1) for f1 in np.transpose(borders)]),
    }
    per_class = {
        name: {"pixels": int(n[c].sum())} | {key: known(values[c]) for key, values in columns.items()}
        for c, name in enumerate(dataset.classes)
    }
    return {
        "mIoU": known(mean(columns["IoU"])),
        "global_accuracy": known(global_accuracy(n)),
        "class_accuracy": known(mean(columns["accuracy"])),
        "boundary_f1": known(mean(columns["boundary_f1"])),
        **({"objects": _object_scores(objects)} if objects else {}),
        "classes": per_class,
        "images": len(dataset),
        "images_per_second": round(len(dataset) / seconds, 2),
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
        numbers = f"{shown(row['accuracy']):>8}  {shown(row['IoU']):>5}  {shown(row['boundary_f1']):>11}"
        rows.append(f"{name:{width}}  {row['pixels']:9d}  {numbers}")
    if objects := metrics.get("objects"):
        f1, precision, recall = (shown(objects[key]) for key in ("f1", "precision", "recall"))
        rows.append(f"{objects['objects']} objects: F1 at IoU 0.5 {f1} (precision {precision}, recall {recall})")
    rows.append(f"global accuracy {shown(metrics['global_accuracy'])}")
    return "\n".join([*rows, f"{metrics['images']} images, {metrics['images_per_second']:.1f} images/s"])


def describe_areas(prediction: dict, classes) -> list[dict]:
    """[{class, label, pixels, share}] of the classes found, the largest first."""
    labels = prediction["labels"]
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    return [
        {"class": classes[c], "label": int(c), "pixels": int(counts[c]), "share": round(counts[c] / labels.size, 4)}
        for c in np.argsort(-counts, kind="stable")
        if counts[c]
    ]


def select_pixels(prediction: dict, threshold: float) -> dict:
    """Label -1 for the pixels that score less than `threshold`."""
    return prediction | {"labels": np.where(prediction["scores"] >= threshold, prediction["labels"], -1)}


def draw_areas(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image with what is found laid over it and, if a sample is given, what is there; and the classes' colours."""
    return draw_labels(image, prediction["labels"], classes, None if sample is None else sample["segmentation"])


def save_labels(prediction: dict, folder: Path, name: str) -> str:
    """Write the labels as a palette PNG, their numbers for values and 255 for what is in doubt; returns its name."""
    write_label_picture(folder / f"{name}.png", prediction["labels"])
    return f"{name}.png"


def weights_of_classes(model: Layer, dataset) -> dict:
    """{class_weights}, counted in the training data, for a model that wants those of "median"; else {}."""
    if model.hyperparameters["class_weights"] != "median":
        return {}
    return {"class_weights": median_frequency(dataset.label_maps(), len(dataset.classes)).round(6).tolist()}


SEGMENTATION = Task(
    metric="mIoU",
    data={"shapes": open_labelled_shapes} | dict.fromkeys(READERS, open_labelled),
    splits=dict.fromkeys(("shapes", *READERS), ("train", "val")),
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
