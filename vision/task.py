"""Tasks: what scripts.train, evaluate and predict need that differs from task to task.

A task is one file, vision/<task>/task.py, that adds its entry to TASKS. A model names its task when it is registered:
"detection", "segmentation", and so on. The scripts add only readers of data, scripts/readers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nn.gpu.device import device_of, to_device
from vision.model import Model
from vision.registry import find
from vision.training.communicator import EVALUATORS
from vision.training.interruption import memory_explained


class Task(NamedTuple):
    """One task. A `dataset` has len, [index] -> sample, and classes; a sample is a dict, see datasets.Shapes.

    The classes of a model of text are its vocabulary: it may differ from the words of the data, so it is not `closed`.
    """

    metric: str  # key of the headline metric in evaluate's result: models are compared by it, higher is better
    collate: Callable  # (model, samples) -> batch for model.loss; the images of the samples are already scaled
    predict: Callable  # (model, sample, **options) -> prediction, in the pixels of the sample's image
    evaluate: Callable  # (model, dataset, failed=None) -> JSON-able dict of metrics; failed: see predicted
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
    pictures: Callable | None = None  # (model, dataset, failed=None) -> {name: picture}, for scripts.evaluate
    keeps: bool = False  # evaluate and pictures take a list, found: what the first predicts, the second draws
    experience: Callable | None = None  # (model, dataset, batch_size, seed) -> batches that the model itself plays
    in_order: Callable | None = None  # (model, dataset, batch_size) -> dataset not to be shuffled


TASKS: dict[str, Task] = {}  # filled by vision/<task>/task.py, at the end of each


def task_of(model_name: str) -> Task:
    """The task of a registered model. Raises ValueError for an unknown model, or a model of an unknown task."""
    entry = find(model_name)
    if entry.task not in TASKS:
        raise ValueError(f"{model_name}: its task {entry.task!r} is none of {', '.join(TASKS)}")
    return TASKS[entry.task]


class EvenSubset:
    """At most n samples of a data set, evenly spread."""

    def __init__(self, dataset, n: int):
        self.dataset, self.classes = dataset, dataset.classes
        self.indices = np.linspace(0, len(dataset) - 1, min(n, len(dataset))).astype(int).tolist()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.indices[index]]


def on_its_device(model: Model, method: Callable, *inputs, **options) -> Any:
    """method(*inputs, **options) with the inputs copied to the model's device and the result to the CPU."""
    with memory_explained(model):
        return to_device(method(*to_device(inputs, device_of(model)), **options), "cpu")


def predicted(
    dataset, predict: Callable, unit: str = "images", together: int = 1, failed: list[str] | None = None
) -> Iterator[tuple[dict, Any]]:
    """(sample, its prediction) for the samples of a data set in order, with a progress bar on a terminal.

    predict: a list of samples, `together` at most -> a list of their predictions. A ValueError or MemoryError of one
    sample is raised with the sample's id. With a list `failed` it is added to that, and the sample is left out, as are
    samples that cannot be read; ValueError where none is left. In a training run of several processes each predicts
    its share, and all get all predictions.
    """
    count, others = 0, EVALUATORS.get()
    with tqdm(total=len(dataset), desc="evaluating", unit=f" {unit}", disable=None, leave=False) as bar:
        pairs = _predicted if others.size == 1 else partial(_predicted_together, others)
        for pair in pairs(dataset, predict, together, failed, bar):
            count += 1
            yield pair
    if failed and not count:
        raise ValueError(f"none of {len(dataset)} {unit} can be evaluated; the first: {failed[0]}")


def _predicted(dataset, predict, together, failed, bar):
    """(sample, its prediction) of all samples."""
    indices = bar_over(range(len(dataset)), bar)
    samples = _readable(dataset, indices, failed)
    while batch := list(islice(samples, together)):
        yield from _attempted(predict, batch, failed)


def _predicted_together(others, dataset, predict, together, failed, bar):
    """The same by several processes: each takes `together` samples in turn, and tells the others what it predicts."""
    for start in range(0, len(dataset), others.size * together):
        first, messages = start + others.rank * together, None if failed is None else []
        indices = range(first, min(first + together, len(dataset)))
        own = {index: sample for index in indices for sample in _readable(dataset, [index], messages)}
        index_of = {id(sample): index for index, sample in own.items()}
        found = _attempted(predict, list(own.values()), messages) if own else []
        told = [(index_of[id(sample)], prediction) for sample, prediction in found], messages or []
        for predictions, others_messages in others.exchange("predictions", told):
            for index, prediction in predictions:
                yield own[index] if index in own else dataset[index], prediction
            if failed is not None:
                failed.extend(others_messages)
        bar.update(min(others.size * together, len(dataset) - start))


def bar_over(indices, bar):
    """The indices; the bar shows how many are done."""
    for index in indices:
        yield index
        bar.update()


def _readable(dataset, indices, failed):
    """The samples at the indices."""
    for index in indices:
        try:
            yield dataset[index]
        except (ValueError, MemoryError) as error:  # names the file
            if failed is None:
                raise
            failed.append(str(error))


def _attempted(predict, samples, failed):
    """[(sample, prediction)]; where the samples together fail, each of them alone."""
    try:
        return list(zip(samples, predict(samples), strict=True))
    except (ValueError, MemoryError) as error:
        if len(samples) > 1:
            return [pair for sample in samples for pair in _attempted(predict, [sample], failed)]
        message = f"{samples[0].get('id', 'a sample')}: {error}"
        if failed is None:
            raise (MemoryError if isinstance(error, MemoryError) else ValueError)(message) from error
        failed.append(message)
        return []


def known(value: float) -> float | None:
    """None for NaN, since JSON has no NaN: undefined values, such as the AP of a class without objects, are null."""
    return None if np.isnan(value) else float(value)


def shown(value: float | None) -> str:
    """A metric to three digits, "-" where it is not defined."""
    return "-" if value is None else f"{value:.3f}"


def images_and_speed(metrics: dict) -> str:
    """The last line of a table of metrics: how many images were measured, and how fast."""
    n = metrics["images"]
    return f"{n} image{'s' * (n != 1)}, {metrics['images_per_second']:.1f} images/s"
