"""The systems that scripts.compare trains: rows of its table."""

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import vision
from scripts.data import DEFAULTS
from scripts.train_arguments import model_option
from vision.training.recipe import DEFAULTS as RECIPE


class System(NamedTuple):
    """A registered model with options, and with arguments of scripts.train: a row of the table."""

    text: str
    model: str
    options: list[str]
    recipe: Sequence[str] = ()  # what it learns by, such as --epochs 20

    def arguments(self) -> list[str]:
        """The system as arguments of scripts.train."""
        return ["--model", self.model, *(["--set", *self.options] if self.options else [])]

    def folder(self, run_dir: Path, seed: int) -> Path:
        return run_dir / f"{self.text.replace(':', '_').replace(',', '_')}_seed{seed}"

    def has_options_of(self, model: str, given: Sequence) -> bool:
        """Whether these options [[name, value], ...] of another model are the system's where both models have them."""
        both = set.intersection(*({f.name for f in fields(vision.MODELS[m].options)} for m in (self.model, model)))
        own = json.loads(json.dumps([model_option(option) for option in self.options]))  # tuples become lists
        return {n: v for n, v in own if n in both} == {n: v for n, v in given if n in both}


def learn_shapes(task: str) -> list[str]:
    """The registered models of a task whose recipe trains them on generated scenes."""
    return [name for name, e in vision.MODELS.items() if e.task == task and (DEFAULTS | e.recipe)["data"] == "shapes"]


def parse_system(text: str, task: str) -> System:
    """The system of NAME:OPTION=VALUE,--ARGUMENT=VALUE,...

    Raises ValueError for an unknown model, or one of another task, and for arguments that a recipe does not have.
    """
    name, _, options = text.partition(":")
    known = [model for model, entry in vision.MODELS.items() if entry.task == task]
    if name not in known:
        raise ValueError(f"there is no model {name!r} of the task {task}; choose from {', '.join(known)}")
    given = re.split(r",(?=(?:--)?[\w-]+=)", options) if options else []  # [16,32] stays whole
    recipe = [option for option in given if option.startswith("--")]
    if unknown := [option for option in recipe if option[2:].partition("=")[0].replace("-", "_") not in RECIPE]:
        known = ", ".join("--" + key.replace("_", "-") for key in RECIPE)
        raise ValueError(f"{text}: {unknown[0].partition('=')[0]} is nothing that one system has alone: {known}")
    words = [word for option in recipe for word in option.replace("=", " ", 1).split()]
    return System(text, name, [option for option in given if option not in recipe], words)


def in_order(systems: list[System]) -> list[System]:
    """The systems, those that start from another one's weights (their recipe's "after") after that one."""
    names, ordered = {system.model for system in systems}, []
    waiting = list(systems)
    while waiting:
        done = {system.model for system in ordered}
        ready = [s for s in waiting if before(s) not in names - done]
        ordered += ready or waiting  # a circle has no order
        waiting = [s for s in waiting if s not in ordered]
    return ordered


def before(system: System) -> str | None:
    """The model whose trained weights a system starts from."""
    return vision.MODELS[system.model].recipe.get("after")
