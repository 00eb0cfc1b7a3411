"""Tasks: what scripts.train, evaluate and predict need that differs from task to task.

A task is one file, vision/<room>/task.py, that adds its entry to TASKS. A model names its task when it is registered:
"detection", "segmentation", and so on. The scripts add only readers of data, scripts/readers.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nn.gpu.device import device_of, to_device
from vision.model import Model
from vision.registry import find
from vision.training.interruption import memory_explained


class Task(NamedTuple):
    """One task. A `dataset` has len, [index] -> sample, and classes; a sample is a dict, see datasets.Shapes.

    The classes of a model of text are its vocabulary: it may differ from the words of the data, so it is not `closed`.
    """

    metric: str  # key of the headline metric in evaluate's result: models are compared by it, higher is better
    collate: Callable  # (model, samples) -> batch for model.loss; the images of the samples are already scaled
    predict: Callable  # (model, sample, **options) -> prediction, in the pixels of the sample's image
    evaluate: Callable  # (model, dataset) -> JSON-able dict of metrics
    table: Callable  # metrics -> text to print
    describe: Callable  # (prediction, classes) -> JSON-able list of what is in one image
    select: Callable  # (prediction, threshold) -> prediction without scores below the threshold
    draw: Callable  # (sample[input], prediction, classes, sample or None) -> picture or text, with the sample's truth
    input: str = "image"  # what scripts.predict reads from a file: "image" or "text"
    unit: str = "images"  # what the len of a dataset counts
    closed: bool = True  # False: data may hold classes (words) that the model does not know
    options: dict[str, Any] = {}  # noqa: RUF012  --set NAME=VALUE of scripts.predict, for `predict`, and their defaults
    save: Callable | None = None  # (prediction, folder, name) -> name of a further file written, for scripts.predict
    derive: Callable | None = None  # (model, training data) -> options of the model that are computed from the data
    in_order: Callable | None = None  # (model, dataset, batch_size) -> dataset not to be shuffled


TASKS: dict[str, Task] = {}  # filled by vision/<room>/task.py, at the end of each


def task_of(model_name: str) -> Task:
    """The task of a registered model. Raises ValueError for an unknown model, or a model of an unknown task."""
    entry = find(model_name)
    if entry.task not in TASKS:
        raise ValueError(f"{model_name}: its task {entry.task!r} is none of {', '.join(TASKS)}")
    return TASKS[entry.task]


def on_its_device(model: Model, method: Callable, *inputs, **options) -> Any:
    """method(*inputs, **options) with the inputs copied to the model's device and the result to the CPU."""
    with memory_explained(model):
        return to_device(method(*to_device(inputs, device_of(model)), **options), "cpu")


def watched(dataset, what: str, unit: str = "images") -> Iterable[dict]:
    """The samples of a data set in order, with a progress bar on a terminal."""
    indices = tqdm(range(len(dataset)), what, unit=f" {unit}", disable=None, leave=False, dynamic_ncols=True)
    return (dataset[index] for index in indices)


def known(value: float) -> float | None:
    """None for NaN, since JSON has no NaN: undefined values, such as the AP of a class without objects, are null."""
    return None if np.isnan(value) else float(value)


def shown(value: float | None) -> str:
    """A metric to three digits, "-" where it is not defined."""
    return "-" if value is None else f"{value:.3f}"
