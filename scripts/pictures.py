"""Pictures of a run: its curve, and predictions on validation images with the ground truth."""

from pathlib import Path

import numpy as np
from PIL import Image

from nn.io.checkpoint import replacing
from scripts.run_folder import CURVE, read_log
from vision import Model, Task
from vision.detection.draw import grid
from vision.figures import save_png
from vision.task import EvenSubset, predicted

RULE = "\n" + 40 * "-" + "\n"  # between texts


def contact_sheet(model: Model, task: Task, dataset, number: int, failed: list[str] | None = None) -> np.ndarray | str:
    """Predictions on `number` samples across the data set, with the ground truth: (H, W, 3) uint8, or a text.

    failed: see vision.task.predicted.
    """
    pictures = []
    some = EvenSubset(dataset, number)
    for sample, found in predicted(some, lambda samples: [task.predict(model, samples[0])], failed=failed):
        pictures.append(task.draw(sample[task.input], task.select(found, 0.5), dataset.classes, sample))
    return RULE.join(pictures) if isinstance(pictures[0], str) else grid(pictures)


def save_drawn(drawn: np.ndarray | str | list[np.ndarray], folder: Path, name: str) -> str:
    """Write a picture as name.png, a text as name.txt, a list of pictures as name.gif; returns the file's name."""
    if isinstance(drawn, list):
        first, *rest = map(Image.fromarray, drawn)
        with replacing(folder / f"{name}.gif") as file:
            first.save(file, "GIF", save_all=True, append_images=rest, duration=66, loop=0)
        return f"{name}.gif"
    if isinstance(drawn, str):
        with replacing(folder / f"{name}.txt") as file:
            file.write(drawn.encode() + b"\n")
        return f"{name}.txt"
    with replacing(folder / f"{name}.png") as file:
        Image.fromarray(drawn).save(file, "PNG")
    return f"{name}.png"


def draw_curve(folder: Path, metric: str):
    """Write curve.png: the mean of each loss over each epoch, that on unseen data dashed, and below the metric."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    losses, unseen, evaluations = by_epoch(read_log(folder), metric)
    figure = Figure(figsize=(8, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for name, means in losses.items():
        (line,) = upper.plot(list(means), list(means.values()), marker=".", label=name)
        if dashed := unseen.get(name):
            label, colour = f"{name}, validation", line.get_color()
            upper.plot(list(dashed), list(dashed.values()), marker=".", linestyle="--", color=colour, label=label)
    upper.set(ylabel="loss, mean over the epoch", ylim=(0, None), title=str(folder))
    if losses:  # a fit has none
        upper.legend()
    lower.plot(list(evaluations), list(evaluations.values()), marker="o", color="black")
    lower.set(xlabel="epoch", ylabel=metric, ylim=(0, max([1.0, *evaluations.values()])))
    lower.xaxis.get_major_locator().set_params(integer=True)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    save_png(figure, folder / CURVE)


def draw_curves(folders: dict[str, Path], metric: str, path: Path):
    """Write the curves of several runs, {name: folder}: the sum of the losses over each epoch, and the metric."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for name, folder in folders.items():
        losses, _, evaluations = by_epoch(read_log(folder), metric)
        epochs = sorted({epoch for means in losses.values() for epoch in means})
        left.plot(epochs, [sum(means.get(e, 0.0) for means in losses.values()) for e in epochs], label=name)
        right.plot(list(evaluations), list(evaluations.values()), marker=".", label=name)
    left.set(xlabel="epoch", ylabel="training loss, mean over the epoch")
    right.set(xlabel="epoch", ylabel=metric)
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.legend(handles=left.get_lines(), loc="outside lower center", ncols=4, fontsize="small")
    save_png(figure, path)


def by_epoch(records: list[dict], metric: str) -> tuple[dict[str, dict[int, float]], dict, dict[int, float]]:
    """({loss: {epoch: mean}}, the same of unseen data, {epoch: metric}) from the records of a log.

    Where training has several stages, each of which counts its epochs from 1, the stages follow one another, and a
    loss is called by its stage: "proposals: cls".
    """
    values, unseen, evaluations, after, stage, last = {}, {}, {}, 0, None, 0
    for record in (record for record in records if "epoch" in record):
        if record.get("stage") != stage:  # the next stage begins behind the epochs of those before
            after, stage = last, record.get("stage")
        epoch, before = after + record["epoch"], "" if stage is None else f"{stage}: "
        last = epoch
        for name, value in record.get("losses", {}).items():
            values.setdefault(before + name, {}).setdefault(epoch, []).append(value)
        for name, value in record.get("validation", {}).items():
            if value is not None:
                unseen.setdefault(before + name, {})[epoch] = value
        if record.get("metrics", {}).get(metric) is not None:
            evaluations[epoch] = record["metrics"][metric]
    means = {name: {e: sum(v) / len(v) for e, v in epochs.items()} for name, epochs in values.items()}
    return means, unseen, evaluations
