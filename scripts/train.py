"""Train a model that is registered in `vision`, on generated scenes or on your own pictures or texts.

example, first steps (generated scenes, no files needed; three minutes on two cores):
  python -m scripts.train --model faster_rcnn_small --shapes-train 240 --epochs 8 \\
      --set short_side=120 anchor_scales=[16,32,64] --run-dir runs/first

example, your own pictures in Pascal VOC's layout (JPEGImages, Annotations, ImageSets/Main):
  python -m scripts.train --model faster_rcnn_small --data voc --root my_data \\
      --train-split train --val-split val --run-dir runs/mine

example, your own pictures with a label for every pixel (images, labels, classes.txt: see docs/own_data.md):
  python -m scripts.train --model unet_small --data folders --root my_labels --set short_side=240 max_side=320 \\
      --run-dir runs/pixels

example, a language model of your own text (a file, or a folder of .txt files), by characters:
  python -m scripts.train --model char_lstm --data text --root my_text.txt --run-dir runs/letters

Ctrl-C saves. To continue, also after a crash, with the same bits as without an interruption:
  python -m scripts.train --run-dir runs/mine --resume

Defaults of optimisation and augmentation are the model's recipe: --model NAME --help shows them.
"""

import math
import platform
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np

import vision
from nn.io.checkpoint import read_checkpoint
from scripts.command_line import command, make_sure_of
from scripts.data import open_data, training_loader
from scripts.pictures import contact_sheet, draw_curve, save_drawn
from scripts.run_folder import CURVE, PICTURES, refuse_to_overwrite, write_config
from scripts.train_arguments import of_the_run, parse
from vision import Model
from vision.registry import find
from vision.task import Task, shown, task_of
from vision.training import Stopped, Trainer
from vision.training.recipe import DEFAULTS as RECIPE
from vision.training.saving import LAST, find_checkpoint, load_pretrained, load_state


@command
def main(arguments: list[str]) -> int | None:
    args = parse(arguments, __doc__)
    make_sure_of(args.device)
    folder, task = Path(args.run_dir), task_of(args.model)
    if not args.resume:
        refuse_to_overwrite(folder)
    train_data = open_data(find(args.model).task, args, args.train_split, args.classes)
    val_data = open_data(find(args.model).task, args, args.val_split, train_data.classes)
    model = build_model(args, task, train_data)
    check_batches(args, model, len(train_data))
    config = {"arguments": of_the_run(args), "model": model.config, "versions": versions()}
    trainer = build_trainer(args, task, model, train_data, val_data, config)
    if args.resume and (folder / LAST).exists():  # a run killed before its first checkpoint starts again
        trainer.resume()
    else:
        write_config(folder, config)
    print(introduction(trainer, train_data, val_data, args))
    return run(trainer, task)


def build_model(args: Namespace, task: Task, train_data) -> Model:
    """The model of the arguments, with random weights or those of --pretrained or --weights."""

    def build(**options):
        rng = np.random.default_rng([args.seed, 0, 0, 2])  # another stream than those of the loader and the trainer
        return vision.build(args.model, list(train_data.classes), rng, **options)

    model = build(**dict(args.set))
    if task.derive and (counted := task.derive(model, train_data)):
        model = build(**dict(args.set) | counted)
    if model.needs_weights and not (args.pretrained or args.weights or args.resume):
        raise ValueError(f"{args.model}: its CNN is frozen and would stay random; give --set encoder_weights=FILE")
    if args.pretrained and not args.resume:
        loaded, names = load_pretrained(find_checkpoint(args.pretrained), model), model.state_dict()
        rest = [name for name in names if name not in loaded]
        print(f"{args.pretrained}: {len(loaded)} of {len(names)} arrays; random are {', '.join(rest) or 'none'}")
    if args.weights and not args.resume:
        load_state(args.weights, model, *read_checkpoint(args.weights))
    return model


def check_batches(args: Namespace, model: Model, samples: int):
    """ValueError where the last batch of an epoch is too small for a model with a `smallest_batch`."""
    smallest, last = model.smallest_batch, samples % args.batch_size or args.batch_size
    if last < smallest:
        raise ValueError(
            f"{args.model} needs batches of at least {smallest}; the last of {samples} {task_of(args.model).unit} by "
            f"--batch-size {args.batch_size} has {last}: choose another --batch-size"
        )


def build_trainer(args: Namespace, task: Task, model: Model, train_data, val_data, config: dict) -> Trainer:
    def loader(recipe):  # per stage: its recipe may change the augmentation
        return training_loader(model, task, train_data, Namespace(**vars(args) | recipe))

    return Trainer(
        model,
        loader,
        {name: getattr(args, name) for name in RECIPE},
        args.run_dir,
        fixed=tuple(args.typed),
        seed=args.seed,
        evaluate=partial(task.evaluate, dataset=val_data),
        metric=task.metric,
        evaluate_every=args.evaluate_every,
        after_epoch=partial(report, task=task, val_data=val_data, pictures=args.pictures),
        checkpoint_every=args.checkpoint_every,
        time_limit=60 * args.time_limit if args.time_limit else math.inf,
        device=args.device,
        config=config,
        unit=task.unit,
    )


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    return {"python": platform.python_version(), "numpy": np.__version__, "platform": platform.platform()}


def introduction(trainer: Trainer, train_data, val_data, args: Namespace) -> str:
    """A summary of the run, in three lines."""
    size = sum(parameter.value.size for parameter in trainer.model.parameters().values())
    task = task_of(args.model)
    counts = (
        f"{len(train_data)} {task.unit} to train on ({args.train_split}), "
        f"{len(val_data)} to evaluate on ({args.val_split})"
    )
    known = f"classes {', '.join(train_data.classes)}" if task.closed else f"vocabulary of {len(train_data.classes)}"
    begin = f"resuming at step {trainer.progress.step} of" if trainer.progress.step else "training for"
    return (
        f"{args.model}: {size:,} parameters, {known}\n{args.data}: {counts}\n"
        f"{begin} {trainer.total_steps} steps ({trainer.epochs} epochs); everything goes to {trainer.folder}"
    )


def report(trainer: Trainer, metrics: dict | None, *, task: Task, val_data, pictures: int):
    """After each epoch: a line with the losses; after an evaluation also its table, the curve and the pictures."""
    epoch = trainer.progress.epoch + 1
    time = f"{trainer.seconds() / 60:.1f} minutes, {trainer.waiting.share:.1%} of the epoch waiting for data"
    line = f"epoch {epoch}/{trainer.epochs}: {trainer.running}; {time}"
    trainer.bar.write(f"{line}\n{task.table(metrics)}" if metrics else line)
    sys.stdout.flush()
    if metrics:
        draw_curve(trainer.folder, task.metric)
    if metrics and pictures:
        (trainer.folder / PICTURES).mkdir(exist_ok=True)
        sheet = contact_sheet(trainer.model, task, val_data, pictures)
        save_drawn(sheet, trainer.folder / PICTURES, f"epoch_{epoch:04d}")


def run(trainer: Trainer, task: Task) -> int:
    """Train to the end or until stopped; exit status."""
    folder = trainer.folder
    try:
        progress = trainer.run()
    except Stopped as stopped:
        print(f"{stopped}; go on with:\n  python -m scripts.train --run-dir {folder} --resume", file=sys.stderr)
        return 0 if stopped.signal is None else 128 + stopped.signal
    best = f"; best {task.metric} {shown(progress.best)} in epoch {progress.best_epoch}" if progress.best_epoch else ""
    print(f"done in {progress.seconds / 60:.1f} minutes{best}")
    print(f"look at {folder / CURVE} and {folder / PICTURES}; next:")
    print(f"  python -m scripts.evaluate {folder}")
    print(f"  python -m scripts.predict {folder} {task.input.upper()} --out predictions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
