"""What scripts.compare measures of a finished run."""

import statistics
from argparse import Namespace
from pathlib import Path

import vision
from datasets import resize_to
from nn.io.checkpoint import read_checkpoint
from nn.summary import multiply_adds, recorded
from scripts.data import open_data, open_training_data, with_proposals
from vision import Model
from vision.detection import Detector
from vision.detection.region_svm import STORE
from vision.detection.speed import seconds_an_image
from vision.task import TASKS, EvenSubset, task_of
from vision.training.saving import LAST, find_checkpoint, load_model

TRAINING_IMAGES = 10_000  # for the accuracy in training, at most
TIMED_IMAGES, NAMED_CLASSES = 10, 12  # images that a detector is timed on; classes with a column of their own, at most


def measure(folder: Path, split: str, proposals: Path) -> dict:
    """The figures of a system for the table: its size, its time, and the float metrics on a split.

    proposals: the folder that keeps those of the images. {} for an unfinished run, stopped by a --time-limit.
    """
    meta = read_checkpoint(folder / LAST)[1]
    arguments, progress = meta["config"]["arguments"], meta["progress"]
    model, _ = load_model(find_checkpoint(folder))
    *before, last = model.stages()
    if (progress["stage"], progress["epoch"]) < (len(before), 1 if last.fit else arguments["epochs"]):
        return {}
    task = task_of(model.name)
    data = open_data(vision.MODELS[model.name].task, Namespace(**arguments), split, model.classes)
    batch = task.collate(model, [resize_to(data[0], size=model.preprocess.size)])
    metrics = task.evaluate(model, with_proposals(model, data, proposals))
    if task is TASKS["classification"]:  # whether a network cannot learn or does not generalise
        training = open_training_data("classification", Namespace(**arguments), model.classes)
        metrics["training_accuracy"] = task.evaluate(model, EvenSubset(training, TRAINING_IMAGES))["accuracy"]
    if isinstance(model, Detector):
        metrics |= of_a_detector(model, metrics, data)
    if (stored := folder / STORE).exists():
        metrics["stored_MB"] = sum(file.stat().st_size for file in stored.iterdir()) / 1e6
    metrics |= {f"object_{name}": value for name, value in metrics.get("objects", {}).items()}
    return {
        "parameters": sum(parameter.value.size for parameter in model.parameters().values()),
        "multiply_adds": work_of(model, batch[0].shape, data[0]),
        "minutes": progress["seconds"] / 60,
        **{name: v for name, v in metrics.items() if isinstance(v, float) and name != "images_per_second"},
    }


def work_of(model: Model, input_shape: tuple[int, ...], sample: dict) -> int:
    """Multiply-adds of one image of this shape; where a detector classifies proposals, of those of the sample."""
    if not getattr(model, "proposals", None):
        return multiply_adds(model, input_shape)
    with recorded(model) as calls:
        model.detect(sample["image"])
    return sum(macs for *_, macs in calls)


def of_a_detector(model: Detector, metrics: dict, data) -> dict[str, float | None]:
    """COCO's AP, the AP50 of each class, and the median time of ten images with and without their proposals."""
    times = [seconds_an_image(model, sample["image"], 1) for sample in EvenSubset(data, TIMED_IMAGES)]
    without, whole = (statistics.median(seconds) for seconds in ([t.detector for t in times], [sum(t) for t in times]))
    named = metrics["classes"].items() if len(metrics["classes"]) <= NAMED_CLASSES else ()
    return {
        "COCO_AP": metrics["coco"]["AP"],
        **{f"AP50_{name}": row["AP50"] for name, row in named},
        "seconds_an_image": whole,
        "without_proposals": without,
    }
