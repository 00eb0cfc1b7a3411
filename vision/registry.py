"""The models by name: what `scripts.train --model NAME` and checkpoints mean by it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nn.layer import Layer


class Entry(NamedTuple):
    """A registered model: its task (which says what data and metrics it wants), its maker, and how it is trained."""

    task: str
    make: Callable[..., Layer]
    recipe: dict


MODELS: dict[str, Entry] = {}


def register(name: str, task: str, recipe: dict):
    """Decorator: enter make(classes, rng, **options) -> model under a name. Raises ValueError if the name is taken."""

    def enter(make):
        if name in MODELS:
            raise ValueError(f"register: there is a model named {name!r} already")
        MODELS[name] = Entry(task, make, recipe)
        return make

    return enter


def build(model: str, classes: Sequence[str], rng: np.random.Generator | None = None, **options) -> Layer:
    """A new model by name, for these classes (without background), its weights drawn from rng (default: seed 0).

    The model's `config` is a JSON-able dict with which build(**config) makes the same architecture again. It holds the
    model's `hyperparameters`, all of them, so that a checkpoint stays what it is when a default here changes.
    Raises ValueError for an unknown name, no classes, and options that the model does not have.
    """
    if model not in MODELS:
        raise ValueError(f"build: there is no model {model!r}, choose from {', '.join(sorted(MODELS))}")
    if not classes:
        raise ValueError(f"build: {model} needs at least one class name")
    made = MODELS[model].make(tuple(classes), rng or np.random.default_rng(0), **options)
    made.config = {"model": model, "classes": list(classes), **options, **getattr(made, "hyperparameters", {})}
    return made
