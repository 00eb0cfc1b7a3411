"""Classification, as the scripts see it."""

import time
from collections.abc import Sequence
from functools import partial
from itertools import islice

import numpy as np
from scripts.tasks.task import Task, known, on_its_device, open_shapes, shown, watched

from datasets import MNIST, CIFAR10Lossless, Shapes, TranslatedMNIST, detection_batch, resize
from nn.layer import Layer
from vision.classification.draw import draw_label
from vision.classification.draw_glimpses import draw_glimpses

TOGETHER = 50  # images in one forward pass of an evaluation
NAMED = 5  # classes named in a prediction at most
CLUTTER, COPIES = 4, 10  # pieces on a cluttered digit; places of each training digit in an epoch


class LargestShape:
    """Generated scenes, each with the class of its largest object: label int, 0 for `classes[0]`."""

    def __init__(self, shapes: Shapes):
        self.shapes, self.classes = shapes, shapes.classes

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> dict:
        sample = self.shapes[index]
        return {"id": sample["id"], "image": sample["image"], "label": sample["label"] - 1}  # there 0 is background


def open_largest_shape(arguments, split: str, classes=None) -> LargestShape:
    """Generated scenes, to be told apart by their largest object."""
    return LargestShape(open_shapes(arguments, split, classes))


def open_cifar10(arguments, split: str, classes=None) -> CIFAR10Lossless:
    """A folder of CIFAR-10 in lossless PNGs."""
    if not arguments.root:
        raise ValueError("--data cifar10 needs --root DIR: the folder that holds labels.json")
    data = CIFAR10Lossless(arguments.root, split)
    if classes and tuple(classes) != data.classes:
        raise ValueError(f"--data cifar10 has the classes {' '.join(data.classes)}; got {' '.join(classes)}")
    return data


def open_mnist(arguments, split: str, classes=None) -> MNIST:
    """A folder of MNIST's own files."""
    if not arguments.root:
        raise ValueError(
            f"--data {arguments.data} needs --root DIR: the folder that holds train-images-idx3-ubyte(.gz)"
        )
    data = MNIST(arguments.root, split)
    if classes and tuple(classes) != data.classes:
        raise ValueError(f"--data {arguments.data} has the classes {' '.join(data.classes)}; got {' '.join(classes)}")
    return data


def open_translated_mnist(arguments, split: str, classes=None, clutter: int = 0) -> TranslatedMNIST:
    """MNIST's digits at random places of 60x60; each training digit at COPIES places, each test digit at one."""
    digits = open_mnist(arguments, split, classes)
    seed, copies = {"train": (1, COPIES), "test": (2, 1)}[split]
    return TranslatedMNIST(digits, clutter=clutter, seed=seed, copies=copies)


def classification_batch(samples: list[dict], preprocess: dict) -> tuple[np.ndarray, np.ndarray]:
    """(images (N, 3, H, W) float32, labels (N,) int64); smaller images are padded with the mean colour."""
    images, _ = detection_batch(samples, preprocess["mean"], preprocess["std"])
    return images, np.array([sample.get("label", -1) for sample in samples], np.int64)


def probabilities(model: Layer, samples: Sequence[dict]) -> np.ndarray:
    """(N, classes) for images of any size; those of one size are seen together, none is padded."""
    preprocess = model.preprocess
    sizes = {"short_side": preprocess["short_side"], "max_side": preprocess["max_side"]}
    resized = [resize(sample, **sizes) for sample in samples]
    one_size = len({sample["image"].shape for sample in resized}) == 1
    batches = [resized] if one_size else [[sample] for sample in resized]
    batches = [classification_batch(batch, preprocess)[0] for batch in batches]
    return np.concatenate([on_its_device(model, model.predict, images) for images in batches])


def classify(model: Layer, sample: dict) -> dict:
    """The most probable classes: labels (K,), 0 for the first class, and scores (K,), best first.

    Of a model of attention also glimpses (T, scales, 4).
    """
    scores = probabilities(model, [sample])[0]
    best = np.argsort(-scores, kind="stable")[:NAMED]
    found = {"labels": best, "scores": scores[best]}
    return found | {"glimpses": glimpses(model, sample)} if hasattr(model, "look") else found


def glimpses(model: Layer, sample: dict) -> np.ndarray:
    """(T, scales, 4): the outlines of what a model of attention looks at, in the pixels of the sample's image."""
    preprocess = model.preprocess
    resized = resize(sample, short_side=preprocess["short_side"], max_side=preprocess["max_side"])
    images, _ = classification_batch([resized], preprocess)
    return on_its_device(model, model.look, images)[0] / np.array([*resized["scale"], *resized["scale"]])


def evaluate_classifier(model: Layer, dataset) -> dict:
    """Accuracy, over all images and over those of each class, and the speed, reading included."""
    started, samples, found, truth = time.monotonic(), iter(watched(dataset, "evaluating")), [], []
    while batch := list(islice(samples, TOGETHER)):
        found += probabilities(model, batch).argmax(axis=1).tolist()
        truth += [sample["label"] for sample in batch]
    seconds = time.monotonic() - started
    truth, right = np.array(truth), np.array(found) == np.array(truth)
    per_class = {
        name: {"images": int((truth == k).sum()), "accuracy": _mean(right[truth == k])}
        for k, name in enumerate(dataset.classes)
    }
    speed = round(len(dataset) / seconds, 2)
    return {"accuracy": _mean(right), "classes": per_class, "images": len(dataset), "images_per_second": speed}


def _mean(right):
    return known(right.mean() if len(right) else np.nan)


def classification_table(metrics: dict) -> str:
    """The metrics of evaluate_classifier, a line per class and one for all."""
    width = max(len("class"), *map(len, metrics["classes"]))
    rows = [f"{'class':{width}}  images  accuracy"]
    for name, row in [*metrics["classes"].items(), ("all", metrics)]:
        rows.append(f"{name:{width}}  {row['images']:6d}  {shown(row['accuracy']):>8}")
    return "\n".join([*rows, f"{metrics['images']} images, {metrics['images_per_second']:.1f} images/s"])


def describe_label(prediction: dict, classes) -> list[dict]:
    """[{class, label, score}], best first."""
    return [
        {"class": classes[label], "label": int(label), "score": round(float(score), 4)}
        for label, score in zip(prediction["labels"], prediction["scores"])
    ]


def select_labels(prediction: dict, threshold: float) -> dict:
    """Only the classes that score at least `threshold`."""
    sure = prediction["scores"] >= threshold
    return prediction | {key: prediction[key][sure] for key in ("labels", "scores")}


def draw_classified(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image, with the glimpses if there are any, above the best class and, if a sample is given, its true class."""
    if "glimpses" in prediction:
        image = draw_glimpses(image, prediction["glimpses"])
    found = describe_label(prediction, classes)
    text = f"{found[0]['class']} {found[0]['score']:.2f}" if found else "unsure"
    if sample is None:
        return draw_label(image, text)
    truth = classes[sample["label"]]
    return draw_label(image, text, truth, bool(found) and found[0]["class"] == truth)


CLASSIFICATION = Task(
    metric="accuracy",
    data={
        "shapes": open_largest_shape,
        "cifar10": open_cifar10,
        "mnist": open_mnist,
        "mnist_translated": open_translated_mnist,
        "mnist_cluttered": partial(open_translated_mnist, clutter=CLUTTER),
    },
    splits={
        "shapes": ("train", "val"),
        **dict.fromkeys(("cifar10", "mnist", "mnist_translated", "mnist_cluttered"), ("train", "test")),
    },
    collate=classification_batch,
    predict=classify,
    evaluate=evaluate_classifier,
    table=classification_table,
    describe=describe_label,
    select=select_labels,
    draw=draw_classified,
)
