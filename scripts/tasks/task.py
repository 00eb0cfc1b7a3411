"""What a task is to the scripts, and what several tasks share."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from datasets import Shapes
from nn.gpu.device import device_of, to_device
from nn.layer import Layer
from vision.training.interruption import memory_explained


class Task(NamedTuple):
    """What differs from task to task. A `dataset` has len, [index] -> sample, and classes.

    The classes of a model of words are its vocabulary: they may be more, and are not `closed`.
    """

    metric: str  # headline metric: the key in evaluate's result by which models are compared, higher is better
    data: dict[str, Callable]  # --data NAME -> function(arguments, split, classes or None) -> dataset
    splits: dict[str, tuple[str, str]]  # --data NAME -> default split for training, and for validation
    collate: Callable  # (samples, model.preprocess) -> batch for model.loss
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
    in_order: Callable | None = None  # (dataset, batch_size, model.preprocess) -> dataset not to be shuffled


SHAPES_SEEDS = {"train": 1, "val": 2, "test": 3}


def on_its_device(model: Layer, method: Callable, *inputs, **options) -> Any:
    """method(*inputs, **options) with the inputs moved to where the model is, and the result moved to the CPU."""
    with memory_explained(model):
        return to_device(method(*to_device(inputs, device_of(model)), **options), "cpu")


def open_shapes(arguments, split: str, classes=None) -> Shapes:
    """Generated scenes; each split has a seed of its own, so what is tested on has not been trained on."""
    if split not in SHAPES_SEEDS:
        raise ValueError(f"--data shapes has the splits {', '.join(SHAPES_SEEDS)}; there is no {split!r}")
    if arguments.root:
        raise ValueError(f"--root {arguments.root} does not go with --data shapes, which is generated; give --data voc")
    n = arguments.shapes_train if split == "train" else arguments.shapes_val
    known = {"classes": classes} if classes else {}
    return Shapes(n, tuple(arguments.shapes_size), SHAPES_SEEDS[split], **known)


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
