"""A few outputs of a model, and the gradient of each at every layer down to the data."""

from typing import Any, NamedTuple

import numpy as np

from nn.record import Pass, arrays_in
from scripts.inspection import pictures
from scripts.inspection.numbers import rounded
from scripts.inspection.passes import DATA, Seen, gradients_of
from vision import Model
from vision.registry import find

MOST = 5  # outputs that are followed
WIDTH = 2  # of the deltas x, y, width, height
SPECIAL = 6  # classes that a model may add to its own: background, <pad>, an objectness
ROW = {"detection": "region", "instances": "region", "captioning": "word", "translation": "word", "language": "step",
       "navigation": "step", "vqa": "question"}  # fmt: skip  # what a row of scores is; else an image
IN_ORDER = ("captioning", "translation", "vqa")  # tasks whose first rows are followed, not the surest
NO_SCORES = ("embedding", "pose")  # tasks whose last layer gives coordinates


class Output(NamedTuple):
    """One element of what a layer gave: the pass, the index in its (first) output, and what it means."""

    at: Pass
    index: tuple[int, ...]
    label: str


def followed(seen: Seen) -> list[dict[str, Any]]:
    """The outputs as JSON: label, value, pass, strip of pictures for the leaves, norms, and the data's gradient."""
    found, outputs = [], chosen(seen)
    for at in dict.fromkeys(output.at for output in outputs):
        own = [output for output in outputs if output.at is at]
        every = gradients_of(seen, at, [output.index for output in own])
        found += [about(seen, output, gradients) for output, gradients in zip(own, every)]
    return found


def about(seen: Seen, output: Output, gradients: dict) -> dict[str, Any]:
    """One output and its gradients."""
    each, data = [gradients.get(p) for p in seen.leaves], gradients.get(DATA)
    return {
        "label": output.label,
        "value": rounded(float(next(arrays_in(output.at.y))[output.index])),
        "order": output.at.order,
        "strip": pictures.strip(each),
        "norms": [None if a is None else rounded(float(np.linalg.norm(a))) for a in each],
        "pixels": pictures.overlay(data[0]) if data is not None and data.ndim == 4 else None,
    }


def chosen(seen: Seen) -> list[Output]:
    """Outputs of one pass: the best classes of a picture, the surest regions or cells, the first words of a sequence.

    The pass is the last one with a channel for each class; of a model without one the last pass of all, and its
    largest elements.
    """
    at, axis = scores_of(seen)
    if at is None:
        return []
    y = next(arrays_in(at.y))
    if axis is None:
        largest = np.argsort(-abs(y).ravel(), kind="stable")[:MOST]
        indices = np.array(np.unravel_index(largest, y.shape)).T.tolist()
        return [Output(at, tuple(i), f"output {i}") for i in indices]
    names, scores = named(seen.model, y.shape[axis]), np.moveaxis(y, axis, -1)  # (..., classes)
    rows = scores.reshape(-1, len(names))
    outputs = []
    for row, k in picked(rows, names[0] == "background", in_order=find(seen.model.name).task in IN_ORDER):
        where = [int(i) for i in np.unravel_index(row, scores.shape[:-1])]
        index = (*where[: axis % y.ndim], k, *where[axis % y.ndim :])
        outputs.append(
            Output(at, index, shown(names[k]) + place(y, where, ROW.get(find(seen.model.name).task, "image")))
        )
    return outputs + box_of(seen, outputs[0])


def box_of(seen: Seen, first: Output) -> list[Output]:
    """The box of the first region that is followed: how much its width changes, among the deltas of its class."""
    if ROW.get(find(seen.model.name).task) != "region" or len(first.index) != 2:
        return []
    classes = len(seen.model.classes)
    deltas = {4 * classes: 1, 4 * (classes + 1): 0}  # channels: the class to which the first four belong
    for p in reversed(seen.leaves):
        y = next(arrays_in(p.y), np.zeros(0))
        if first.at.order < p.order and y.ndim == 2 and p.dy is not None and y.shape[1] in deltas:
            row, k = first.index
            if k >= deltas[y.shape[1]] and len(y) > row:
                return [Output(p, (row, 4 * (k - deltas[y.shape[1]]) + WIDTH), f"its box: width, region {row + 1}")]
    return []


def picked(rows: np.ndarray, background: bool, in_order: bool) -> list[tuple[int, int]]:
    """(row, class) of scores (R, classes): of one row its best classes; of several the best class of each, the rows
    in_order, or those first that exceed the background most, one of each class before a second one."""
    if len(rows) == 1:
        return [(0, int(k)) for k in np.argsort(-rows[0], kind="stable")[:MOST]]
    counted = rows[:, background:]
    best = counted.argmax(axis=1) + background
    if in_order:
        return [(row, int(best[row])) for row in range(min(MOST, len(rows)))]
    order = np.argsort(-(counted.max(axis=1) - (rows[:, 0] if background else 0)), kind="stable").tolist()
    firsts = [order[i] for i in sorted(np.unique(best[order], return_index=True)[1])]
    return [(row, int(best[row])) for row in dict.fromkeys([*firsts, *order])][:MOST]


def scores_of(seen: Seen) -> tuple[Pass | None, int | None]:
    """The last leaf with a backward and a channel for each class, rather one of rows than one of maps, and the axis of
    the classes; (the last leaf, None) where there is none."""
    went, found = [p for p in seen.leaves if p.dy is not None], []
    if find(seen.model.name).task not in NO_SCORES:
        classes = len(classes_of(seen.model))
        most = classes + (SPECIAL if classes > 1 else 1)
        for p in went:
            y = next(arrays_in(p.y), np.zeros(0))
            axes = {4: (1, -1), 3: (-1,), 2: (-1,)}.get(y.ndim, ())
            axis = next((axis for axis in axes if classes <= y.shape[axis] <= most), None)
            if axis is not None and p.layer.parameters():
                found.append((y.ndim < 4, p.order, p, axis))
    if found:
        return max(found, key=lambda each: each[:2])[2:]
    return (went[-1] if went else None), None


def classes_of(model: Model) -> list[str]:
    """The names of the scores: of a model that answers questions its answers."""
    return list(getattr(model, "answers", None) or model.classes)


def named(model: Model, channels: int) -> list[str]:
    """Names of the channels: the classes, after the background where there is one more."""
    names = classes_of(model)
    names = ["background", *names] if channels == len(names) + 1 else names
    return names + [f"channel {k}" for k in range(len(names), channels)]


def shown(name: str) -> str:
    """The name of a class; a character in quotes."""
    return name if len(name) > 1 else f"“{name}”"


def place(y: np.ndarray, where: list[int], row: str) -> str:
    """Where in the output a score is: its cell, region or step."""
    if y.ndim == 4:
        return f", cell {where[1]}, {where[2]}"
    return f", {row} {where[0] + 1}" if len(y) > 1 else ""
