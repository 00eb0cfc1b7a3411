"""Classification as a task: batches, accuracy, tables, JSON, pictures of errors and of what was learned."""

import time

import numpy as np

from vision.classification.classifier import ImageClassifier
from vision.classification.draw import draw_label
from vision.classification.draw_frames import draw_frame, draw_points
from vision.classification.draw_glimpses import draw_glimpses
from vision.classification.pictures import draw_classifier, probabilities_of
from vision.task import TASKS, Task, images_and_speed, known, predicted, shown

TOGETHER = 50  # images in one forward pass of an evaluation
TOP = 5  # of top-5


def classification_batch(model: ImageClassifier, samples: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """(images (N, 3, H, W) float32, labels (N,) int64); smaller images are padded with the mean colour."""
    images = model.preprocess.batch_of(samples)
    return images, np.array([sample.get("label", -1) for sample in samples], np.int64)


def classify(model: ImageClassifier, sample: dict) -> dict:
    """The most probable classes: labels, scores and names; with attention also the glimpses, or the frame."""
    return model.classify(sample["image"])


def evaluate_classifier(model: ImageClassifier, dataset, failed: list[str] | None = None) -> dict:
    """Accuracy over all images and over those of each class, top-5 where there are more classes, and the speed."""
    started, found, truth, near = time.monotonic(), [], [], []
    for sample, p in predicted(dataset, probabilities_of(model), together=TOGETHER, failed=failed):
        found.append(int(p.argmax()))
        truth.append(sample["label"])
        near.append((p > p[sample["label"]]).sum() < TOP)  # fewer than five classes are more probable than the true one
    seconds = time.monotonic() - started
    truth, right = np.array(truth), np.array(found) == np.array(truth)
    per_class = {
        name: {"images": int((truth == k).sum()), "accuracy": _mean(right[truth == k])}
        for k, name in enumerate(dataset.classes)
    }
    speed = round(len(found) / seconds, 2)
    top = {"top5": _mean(np.array(near))} if len(dataset.classes) > TOP else {}
    return {"accuracy": _mean(right), **top, "classes": per_class, "images": len(found), "images_per_second": speed}


def _mean(right):
    return known(right.mean() if len(right) else np.nan)


def classification_table(metrics: dict) -> str:
    """The metrics of evaluate_classifier, a line per class and one for all."""
    width = max(len("class"), *map(len, metrics["classes"]))
    rows = [f"{'class':{width}}  images  accuracy"]
    for name, row in [*metrics["classes"].items(), ("all", metrics)]:
        rows.append(f"{name:{width}}  {row['images']:6d}  {shown(row['accuracy']):>8}")
    if "top5" in metrics:
        rows.append(f"{'top-5':{width}}  {metrics['images']:6d}  {shown(metrics['top5']):>8}")
    return "\n".join([*rows, images_and_speed(metrics)])


def describe_label(prediction: dict, classes) -> list[dict]:
    """[{class, label, score}], best first."""
    return [
        {"class": classes[label], "label": int(label), "score": round(float(score), 4)}
        for label, score in zip(prediction["labels"], prediction["scores"])
    ]


def select_labels(prediction: dict, threshold: float) -> dict:
    """The classes with a score of at least `threshold`."""
    sure = prediction["scores"] >= threshold
    return prediction | {key: prediction[key][sure] for key in ("labels", "scores")}


def draw_classified(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image, with any glimpses or frame, above the best class and, if a sample is given, its true class."""
    if "glimpses" in prediction:
        image = draw_glimpses(image, prediction["glimpses"])
    if "frame" in prediction:
        image = draw_frame(image, prediction["frame"])
    if "samples" in prediction:
        image = draw_points(image, prediction["samples"])
    found = describe_label(prediction, classes)
    text = f"{found[0]['class']} {found[0]['score']:.2f}" if found else "unsure"
    if sample is None:
        return draw_label(image, text)
    truth = classes[sample["label"]]
    return draw_label(image, text, truth, bool(found) and found[0]["class"] == truth)


TASKS["classification"] = Task(
    metric="accuracy",
    collate=classification_batch,
    predict=classify,
    evaluate=evaluate_classifier,
    table=classification_table,
    describe=describe_label,
    select=select_labels,
    draw=draw_classified,
    pictures=draw_classifier,
)
