"""The samples of the batch that is looked at: a photograph or text with the model's own answer, or generated ones."""

from argparse import Namespace
from pathlib import Path

import numpy as np

from datasets import read_image
from scripts.augmentation import prepared
from scripts.data import open_data
from scripts.gradcheck import tiny_data
from scripts.inspection.answers import ANSWERS
from vision import Model, Tiny
from vision.registry import find
from vision.task import task_of

TEXTS = ("language", "translation")  # tasks whose input is a text
TOGETHER = ("embedding", "navigation")  # tasks whose samples belong together


def data_for(name: str, size: tuple[int, int]):
    """Generated samples for a model, of pictures of this size (height, width): as many as its batch needs."""
    return tiny_data(name, Tiny(scenes=max(2, find(name).tiny.scenes), size=size))


def samples_of(model: Model, path: Path | None, target: str | None, size: tuple[int, int]) -> tuple[list[dict], str]:
    """(samples, what is taken as their truth). path: of a photograph or text; None: generated, with their own truth.

    Raises ValueError where generated samples have other classes than the model.
    """
    task = find(model.name).task
    if path is None:
        return generated(model, task, size)
    if task in TEXTS:
        return text(model, task, path)
    if task not in ANSWERS:
        raise ValueError(f"{path}: {model.name} looks at no photographs; leave it out, and its own world is shown")
    sample = scaled(model, {"image": read_image(path), "id": path.name})
    samples, words = ANSWERS[task](model, sample, target)
    return repeated(samples, model), words


def generated(model: Model, task: str, size: tuple[int, int]) -> tuple[list[dict], str]:
    """The first samples of generated data."""
    data = data_for(model.name, size)
    if task_of(model.name).closed and tuple(data.classes) != model.classes:
        raise ValueError(f"{model.name} knows {', '.join(model.classes[:5])}, not what is generated: give a picture")
    count = find(model.name).tiny.scenes if task in TOGETHER else 1
    samples = [data[i] for i in range(count)]
    if task_of(model.name).input == "image" and model.preprocess is not None and task not in TOGETHER[1:]:
        samples = [scaled(model, sample) for sample in samples]
    return repeated(samples, model), "that of a generated scene, known as it was drawn"


def scaled(model: Model, sample: dict) -> dict:
    """The sample in the size that the network sees."""
    return prepared(model.preprocess)(sample, np.random.default_rng(0))


def repeated(samples: list[dict], model: Model) -> list[dict]:
    """One sample as often as the smallest batch needs."""
    return samples * max(1, -(-model.smallest_batch // len(samples)))


def text(model: Model, task: str, path: Path) -> tuple[list[dict], str]:
    """The beginning of a text, whose next characters are the truth; the first line, with the model's translation."""
    arguments = Namespace(data="text", root=path, shapes_train=1, shapes_val=1)
    if task == "language":
        return [open_data(task, arguments, "all", model.classes)[0]], "the characters that follow in the text"
    line = path.read_text(encoding="utf-8").strip().split("\n")[0]
    said = task_of(model.name).predict(model, {"text": line})[0]["text"]
    return [{"text": line, "target": said or line}], f"the model's own translation, {said!r}"
