"""The models by name, for `scripts.train --model NAME` and checkpoints."""

import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from nn.random import generator
from vision.model import Model
from vision.options import complete


class Tiny(NamedTuple):
    """A tiny version of a model for gradient checks: options, and the number and size of generated scenes."""

    options: Mapping[str, Any] = {}
    scenes: int = 2
    size: tuple[int, int] = (32, 48)


class Entry(NamedTuple):
    """A registered model: everything that a list of models needs.

    make(classes, options, rng) makes it; its options are an instance of the dataclass `options`. system, paper and
    figures make its row in docs/systems.md: models of one system share a row with all their figures. published: where
    weights are to be had, an address or a few words; classes: the names of their classes.
    """

    name: str
    task: str
    make: Callable[..., Model]
    options: type
    recipe: Mapping[str, Any]
    tiny: Tiny
    system: str
    paper: str
    figures: str
    published: str = ""
    classes: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that registers it, such as vision.detection.faster_rcnn."""
        return self.make.__module__

    @property
    def file(self) -> str:
        """The path of the module's source."""
        return sys.modules[self.module].__file__


MODELS: dict[str, Entry] = {}


def register(
    name: str,
    task: str,
    recipe: Mapping[str, Any],
    *,
    options: type,
    tiny: Tiny = Tiny(),  # noqa: B008  (immutable)
    system: str = "",
    paper: str = "",
    figures: str = "",
    published: str = "",
    classes: Sequence[str] = (),
):
    """Decorator of a function or class make(classes, options, rng) -> Model: registers it under a name.

    recipe: changes to vision.training.recipe.DEFAULTS; also data and augmentation, by the names of scripts.train.
    system: its name in docs/systems.md (default: `name`). paper: authors, year, arXiv number. figures: what was
    measured, in a few words, on which data; "" where nothing was. published: where published weights are to be had.
    classes: of these weights, in the order of the network's output.
    Raises ValueError if the name is taken.
    """

    def enter(make):
        if name in MODELS:
            raise ValueError(f"register: there is a model named {name!r} already, in {MODELS[name].module}")
        about = (system or name, paper, figures, published, tuple(classes))
        MODELS[name] = Entry(name, task, make, options, recipe, tiny, *about)
        return make

    return enter


def find(model: str) -> Entry:
    """The entry of a name. Raises ValueError, with the nearest names, if there is none."""
    if model not in MODELS:
        near = get_close_matches(model, MODELS, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(sorted(MODELS))}"
        raise ValueError(f"there is no model {model!r}: {hint}")
    return MODELS[model]


def build(model: str, classes: Sequence[str], rng: np.random.Generator | None = None, **options) -> Model:
    """A new model by name, for these classes (without background), with weights drawn from rng.

    rng: default the library's generator, see nn.seed.
    options: those of the entry's dataclass; lists are taken as tuples. `build(**made.config)` makes the same
    architecture: config holds all options, so that a checkpoint keeps its meaning when a default changes.
    Raises ValueError for an unknown name, no classes, and unknown options or options of another kind.
    """
    entry = find(model)
    if not classes:
        raise ValueError(f"build: {model} needs at least one class name")
    made = entry.make(tuple(classes), complete(model, entry.options, options), rng or generator())
    made.name = model
    return made
