"""What scripts.train prints and draws: before the run, after each epoch, at the end."""

import sys
import textwrap
from argparse import Namespace

from datasets import drop_difficult, resize_to
from scripts.command_line import typed_command
from scripts.pictures import contact_sheet, draw_curve, save_drawn
from scripts.run_folder import CURVE, PICTURES
from scripts.run_report import REPORT
from vision import Model
from vision.detection import Detector
from vision.registry import find
from vision.task import EvenSubset, Task, shown, task_of
from vision.training import Trainer

COUNTED = {
    "detection": "objects",
    "instances": "objects",
    "segmentation": "pixels",
}  # by a data set's counts; other tasks count images
COUNTED_IMAGES = 500  # training images whose objects are matched before the run, at most
SMALL = 8  # batches that are no larger need not be smaller
WIDTH = 120  # characters of a line


def introduction(trainer: Trainer, train_data, val_data, args: Namespace) -> str:
    """A summary of the run, a few lines."""
    parameters = {id(p): p for p in trainer.model.parameters().values()}.values()  # tied ones once
    size = sum(parameter.value.size for parameter in parameters)
    held = sum(parameter.value.size for parameter in parameters if not parameter.trainable)
    task = task_of(args.model)
    known = f"classes {', '.join(train_data.classes)}" if task.closed else f"vocabulary of {len(train_data.classes)}"
    known = f"{len(train_data.classes)} classes" if trainer.model.sampling else known
    splits = (
        f"{len(train_data)} {task.unit} to train on ({args.train_split}), "
        f"{len(val_data)} to evaluate on ({args.val_split})"
    )
    counts = [
        class_counts(split, data, COUNTED.get(find(args.model).task, "images"))
        for split, data in ((args.train_split, train_data), (args.val_split, val_data))
    ]
    begin = f"resuming at step {trainer.progress.stage_step} of" if trainer.progress.step else "training for"
    epochs = f"{trainer.epochs} epochs" + (f" of stage {trainer.stage.name}" if len(trainer.stages) > 1 else "")
    changes = "".join(f", {name} {now} in place of {before}" for name, (before, now) in args.changes.items())
    lines = [
        f"{args.model}: {size:,} parameters{f' ({held:,} frozen)' if held else ''}, {known}",
        f"{args.data}: {splits}",
        *filter(None, counts),
        f"{begin} {trainer.total_steps} steps ({epochs}){changes}; everything goes to {trainer.folder}",
    ]
    if trainer.stage.fit:
        lines[-1] = f"the stage {trainer.stage.name} is a fit{changes}; everything goes to {trainer.folder}"
    elif len(trainer.loader) == 1 and trainer.batch_size > SMALL:
        lines.append(f"note: an epoch is one step, of {len(train_data)} {task.unit}: a smaller --batch-size makes more")
    return "\n".join(lines)


def class_counts(split: str, data, unit: str) -> str:
    """How often each class occurs in a split, by the `counts` of a data set; pixels in percent. "" without counts."""
    counts = getattr(data, "counts", None) or {}
    total = sum(counts.values())
    if not total:
        return ""
    each = [f"{name} {100 * n / total:.1f} %" if unit == "pixels" else f"{name} {n}" for name, n in counts.items()]
    return textwrap.fill(f"{unit} in {split}: {', '.join(each)}", WIDTH, subsequent_indent="  ", break_long_words=False)


def untrained_objects(model: Model, data) -> str:
    """A line about objects of COUNTED_IMAGES images at most that a detector does not learn; "" where it learns all."""
    if not isinstance(model, Detector) or type(model).untrained is Detector.untrained:  # then no image is read
        return ""
    some = EvenSubset(data, COUNTED_IMAGES)
    samples = [drop_difficult(resize_to(sample, size=model.preprocess.size)) for sample in some]
    reason, total = model.untrained([s["boxes"] for s in samples]), sum(len(s["boxes"]) for s in samples)
    return f"note: of {total} objects in {len(some)} training images {reason}" if reason else ""


def report(trainer: Trainer, metrics: dict | None, *, task: Task, val_data, pictures: int):
    """After each epoch: a line with the losses; after an evaluation also its table, the curve and the pictures."""
    epoch = trainer.progress.epoch + 1
    title = trainer.stage.name if trainer.stage.fit else f"epoch {epoch}/{trainer.epochs}"
    line = f"{title}: {'; '.join(filter(None, (str(trainer.running), *costs(trainer))))}"
    trainer.bar.write(f"{line}\n{task.table(metrics)}" if metrics else line)
    sys.stdout.flush()
    if metrics:
        draw_curve(trainer.folder, task.metric)
    if metrics and pictures:
        (trainer.folder / PICTURES).mkdir(exist_ok=True)
        sheet = contact_sheet(trainer.model, task, val_data, pictures)
        save_drawn(sheet, trainer.folder / PICTURES, f"epoch_{epoch:04d}")


def costs(trainer: Trainer) -> list[str]:
    """The losses on unseen data, and what the epoch has cost: time, speed, waiting and memory."""
    found, speed, memory = (trainer.summary.get(name) for name in ("validation", "speed", "memory"))
    unseen = ", ".join(f"{name} {_short(value)}" for name, value in (found or {}).items())
    cost = [f"{trainer.seconds() / 60:.1f} minutes"]
    cost += [f"{speed:.3g} {trainer.unit}/s"] if speed else []
    cost += [] if trainer.stage.fit else [f"{trainer.waiting.share:.1%} of the epoch waiting for data"]
    cost += [f"{memory / 2**20:.0f} MiB"] if memory else []
    return [f"validation {unseen}" if unseen else "", ", ".join(cost)]


def _short(value):
    """A loss as others are shown, a huge one with an exponent."""
    return f"{value:.3g}" if value is not None and abs(value) >= 1e5 else shown(value)


def ending(trainer: Trainer, task: Task) -> str:
    """What a run has come to that is done, and what to do next."""
    p, folder = trainer.progress, trainer.folder
    best = f"; best {task.metric} {shown(p.best)} in epoch {p.best_epoch}" if p.best_epoch else ""
    tired = 0 < trainer.patience <= p.stale and p.epoch < trainer.epochs
    early = f"; stopped early, as {p.stale} evaluations in a row were not better" if tired else ""
    return (
        f"done in {p.seconds / 60:.1f} minutes{best}{early}\n"
        f"look at {folder / REPORT}, {folder / CURVE} and {folder / PICTURES}; next:\n"
        f"  {typed_command('scripts.evaluate', folder)}\n"
        f"  {typed_command('scripts.predict', folder)} {task.input.upper()} --out predictions"
    )
