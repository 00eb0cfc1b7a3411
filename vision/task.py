"""What a task is to the scripts: a task is one file, vision/<room>/task.py, that enters itself in TASKS.

A model's task is the word it is registered with: "detection", "segmentation", and so on. scripts.train, evaluate and
predict take all that differs from task to task from its entry. They add only readers of data, scripts/readers.
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
    """What differs from task to task. A `dataset` has len, [index] -> sample, and classes; samples: see HOUSE format.

    The classes of a model of words are its vocabulary: they may be more than the data holds, and are not `closed`.
    """

    metric: str  # headline metric: the key in evaluate's result by which models are compared, higher is better
    collate: Callable  # (model, samples) -> batch for model.loss; the images of the samples are scaled already
    predict: Callable  # (model, sample, **options) -> prediction, in the pixels of the sample's image
    evaluate: Callable  # (model, dataset) -> JSON-able dict of metrics
    table: Callable  # metrics -> text to print
    describe: Callable  # (prediction, classes) -> JSON-able list of what is in one image
    select: Callable  # (prediction, threshold) -> prediction, the doubtful parts left out
    draw: Callable  # (sample[input], prediction, classes, sample or None) -> picture or text, with the sample's truth
    input: str = "image"  # what a prediction is made from, "image" or "text": what scripts.predict reads from a file
    unit: str = "images"  # what the len of a dataset counts
    closed: bool = True  # False: data may hold classes (words) that the model does not know
    options: dict[str, Any] = {}  # noqa: RUF012  --set NAME=VALUE of scripts.predict, for `predict`, and their defaults
    save: Callable | None = None  # (prediction, folder, name) -> name of a further file written, for scripts.predict
    derive: Callable | None = None  # (model, training data) -> options of the model that are counted in the data
    in_order: Callable | None = None  # (model, dataset, batch_size) -> dataset not to be shuffled


TASKS: dict[str, Task] = {}  # filled by vision/<room>/task.py, at the end of each


def task_of(model_name: str) -> Task:
    """The task of a registered model. Raises ValueError for an unknown model, or a model of an unknown task."""
    entry = find(model_name)
    if entry.task not in TASKS:
        raise ValueError(f"{model_name}: its task {entry.task!r} is none of {', '.join(TASKS)}")
    return TASKS[entry.task]


def on_its_device(model: Model, method: Callable, *inputs, **options) -> Any:
    """method(*inputs, **options) with the inputs moved to where the model is, and the result moved to the CPU."""
    with memory_explained(model):
        return to_device(method(*to_device(inputs, device_of(model)), **options), "cpu")


def watched(dataset, what: str, unit: str = "images") -> Iterable[dict]:
    """The samples of a data set in order, with a progress bar where somebody watches."""
    indices = tqdm(range(len(dataset)), what, unit=f" {unit}", disable=None, leave=False, dynamic_ncols=True)
    return (dataset[index] for index in indices)


def known(value: float) -> float | None:
    """JSON has no NaN: what is not defined, such as the AP of a class without objects, is null."""
    return None if np.isnan(value) else float(value)


def shown(value: float | None) -> str:
    """A metric to three digits, "-" where it is not defined."""
    return "-" if value is None else f"{value:.3f}"
