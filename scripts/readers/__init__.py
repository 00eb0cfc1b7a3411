"""Readers of data for the scripts: READERS[task][--data NAME] opens a data set of `datasets` from arguments.

A new reader is one more entry in the file of its task. open(arguments, split, classes or None) -> dataset, which has
len, [index] -> sample, and classes.
"""

from collections.abc import Callable
from typing import NamedTuple

from scripts.readers import (
    captioning,
    classification,
    detection,
    embedding,
    instances,
    language,
    localization,
    navigation,
    pose,
    segmentation,
    translation,
    vqa,
)


class Reader(NamedTuple):
    """The function that opens --data NAME, and the default splits of a run."""

    open: Callable
    train: str
    val: str


def _collected(*modules) -> dict[str, dict[str, Reader]]:
    """{name of the module: its READERS}."""
    return {
        module.__name__.rpartition(".")[2]: {
            name: Reader(opens, *splits) for name, (opens, splits) in module.READERS.items()
        }
        for module in modules
    }


READERS = _collected(
    captioning,
    classification,
    detection,
    embedding,
    instances,
    language,
    localization,
    navigation,
    pose,
    segmentation,
    translation,
    vqa,
)


def readers_of(task: str) -> dict[str, Reader]:
    """The readers for a task. Raises ValueError where there are none."""
    if task not in READERS:
        raise ValueError(f"there is no data for the task {task!r}, only for {', '.join(READERS)}")
    return READERS[task]
