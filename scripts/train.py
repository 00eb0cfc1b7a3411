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

import errno
import math
import platform
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np

import vision
from datasets.listing import fingerprint
from nn.io.checkpoint import remove_temporaries
from scripts.command_line import command, make_sure_of, typed_command, without
from scripts.data import open_data, open_training_data, training_loader, validation_loader, with_proposals
from scripts.processes import check_sharing, start_processes, together
from scripts.run_folder import CONFIG, PICTURES, PROPOSALS, read_config, refuse_to_overwrite, write_config
from scripts.run_report import REPORT, write_run_report
from scripts.smallest import try_smallest
from scripts.train_arguments import of_the_run, parse
from scripts.train_report import ending, introduction, report, untrained_objects
from scripts.weights import load_start
from vision import Model
from vision.proposals import WithProposals
from vision.registry import find
from vision.task import Task, task_of
from vision.training import Diverged, Follower, Stopped, Trainer
from vision.training.communicator import Communicator
from vision.training.endings import with_advice
from vision.training.lock import locked
from vision.training.parameters import freeze
from vision.training.recipe import DEFAULTS as RECIPE
from vision.training.saving import LAST
from vision.training.sync_batch_norm import synchronise_batch_norm
from vision.training.validation import ValidationLoss


@command
def main(arguments: list[str]) -> int | None:
    args = parse(arguments, __doc__)
    make_sure_of(args.device)
    if args.processes > 1:
        return start_processes(args.processes, without(arguments, "--processes"))
    return together(partial(begin, args), args.watchdog, args.device)


def begin(args: Namespace, others: Communicator) -> int:
    """Train in a folder that is this process's, or that of the process of rank 0; exit status."""
    if others.rank:
        return train(args, Path(args.run_dir), others)
    folder = Path(args.run_dir)
    if not args.resume:
        refuse_to_overwrite(folder)
    with locked(folder):
        remove_temporaries(folder / PICTURES)
        if not args.resume:
            refuse_to_overwrite(folder)  # another process may have been faster
        return train(args, folder, others)


def train(args: Namespace, folder: Path, others: Communicator) -> int:
    """The run of the arguments, in its locked folder; exit status."""
    task = task_of(args.model)
    with others.first():  # the headers of large data are read once, and kept for the others
        train_data = open_training_data(find(args.model).task, args, args.classes)
        check_classes(find(args.model).task, train_data)
        val_data = open_data(find(args.model).task, args, args.val_split, train_data.classes)
    model = build_model(args, task, train_data)
    check_sharing(model, task, args, others)
    check_batches(args, model, len(train_data), others.size)
    if args.sync_batch_norm and others.size > 1:
        synchronise_batch_norm(model, others)
    with others.first():
        train_data, val_data = (proposed(model, data, args) for data in (train_data, val_data))
    config = {"arguments": of_the_run(args), "model": model.config, "versions": versions(), "processes": others.size}
    if args.resume and (before := read_config(folder).get("processes", 1)) != others.size:
        args.changes["processes"] = before, others.size
    trainer = build_trainer(args, task, model, train_data, val_data, config, others)
    if args.resume and (folder / LAST).exists():  # a run killed before its first checkpoint starts again
        trainer.resume(args.changes)
        if "epochs" in args.changes and trainer.progress.epoch > trainer.epochs:
            raise ValueError(f"--epochs {args.epochs}: the run has done {trainer.progress.epoch} already; give more")
    else:
        try_smallest(model, task, train_data, val_data, args)
    if others.rank == 0 and (args.changes or not (args.resume and (folder / LAST).exists())):
        write_config(folder, config)
    print(introduction(trainer, train_data, val_data, args))
    if not args.resume and (warning := untrained_objects(model, train_data)):
        print(warning)
    return run(trainer, task)


def build_model(args: Namespace, task: Task, train_data) -> Model:
    """The model of the arguments, with random weights or those of --pretrained or --weights."""

    def build(**options):
        rng = np.random.default_rng([args.seed, 0, 0, 2])  # another stream than those of the loader and the trainer
        try:
            return vision.build(args.model, list(train_data.classes), rng, **options)
        except ValueError as error:  # nobody has typed the options of a resumed run
            raise (ValueError(f"{Path(args.run_dir) / CONFIG}: {error}") if args.resume else error) from None

    model = build(**dict(args.set))
    if task.derive and (counted := task.derive(model, train_data)):
        model = build(**dict(args.set) | counted)
    if model.needs_weights and not (args.pretrained or args.weights or args.resume):
        way = "--set encoder_weights=FILE" if hasattr(model.options, "encoder_weights") else "--pretrained FILE"
        raise ValueError(f"{args.model}: what is frozen of it would stay random; give {way}")
    if not args.resume:
        load_start(args, model)
    freeze(model, args.freeze)
    return model


def proposed(model: Model, data, args: Namespace):
    """The data with proposals, for a detector that wants them; all are computed now, so that errors come now."""
    data = with_proposals(model, data, args.proposals or Path(args.run_dir) / PROPOSALS)
    if isinstance(data, WithProposals):
        print(f"proposals: {model.proposals}, {data.compute():.0f} on average for {len(data)} images", flush=True)
    return data


def check_classes(task: str, data):
    """ValueError where there is nothing to tell apart: one class of pictures or of pixels."""
    if task in ("classification", "segmentation") and len(data.classes) < 2:
        raise ValueError(f"the training data have one class alone, {data.classes[0]}; a model of {task} needs two")


def check_batches(args: Namespace, model: Model, samples: int, processes: int):
    """ValueError where the last batch of an epoch, or a part, is too small for a model with a `smallest_batch`."""
    if model.sampling is not None:  # all batches are equal
        return
    smallest, last = model.smallest_batch, samples % args.batch_size or args.batch_size
    shares = args.accumulate * processes
    if smallest > 1 and last // min(shares, last) < smallest:
        parts = f" in {shares} parts" if shares > 1 else ""
        raise ValueError(
            f"{args.model} needs batches of at least {smallest}; the last of {samples} {task_of(args.model).unit} by "
            f"--batch-size {args.batch_size} has {last}{parts}: choose another --batch-size"
        )


def build_trainer(
    args: Namespace, task: Task, model: Model, train_data, val_data, config: dict, others: Communicator
) -> Trainer:
    """The Trainer, or the Follower of another process than that of rank 0."""

    def loader(recipe):  # per stage: its recipe may change the augmentation
        share = others.rank, others.size
        return training_loader(model, task, train_data, Namespace(**vars(args) | recipe), share)

    def validation(recipe):
        try:
            loader = validation_loader(model, task, val_data, Namespace(**vars(args) | recipe))
        except ValueError as error:
            if model.sampling is None:
                raise
            print(f"note: there will be no losses on validation data: {error}", file=sys.stderr)  # too few of a class
            return None
        return ValidationLoss(loader, args.val_batches, args.seed)

    return (Follower if others.rank else Trainer)(
        model,
        loader,
        {name: getattr(args, name) for name in RECIPE} | {"lr_scale": dict(args.lr_scale)},
        args.run_dir,
        fixed=tuple(args.typed),
        seed=args.seed,
        validation=validation if args.val_batches and not others.rank else None,
        evaluate=partial(task.evaluate, dataset=val_data),
        metric=task.metric,
        evaluate_every=args.evaluate_every,
        patience=args.patience,
        after_epoch=None if others.rank else partial(report, task=task, val_data=val_data, pictures=args.pictures),
        checkpoint_every=args.checkpoint_every,
        time_limit=60 * args.time_limit if args.time_limit else math.inf,
        device=args.device,
        config=config,
        data={"training": fingerprint(train_data), "validation": fingerprint(val_data)},
        unit=task.unit if not task.in_order else "chunks",
        others=others,
    )


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    return {"python": platform.python_version(), "numpy": np.__version__, "platform": platform.platform()}


def run(trainer: Trainer, task: Task) -> int:
    """Train to the end or until stopped; exit status. What went wrong is raised with the command that continues."""
    resume = typed_command("scripts.train", "--run-dir", trainer.folder, "--resume")
    try:
        trainer.run()
    except Stopped as stopped:
        print(f"{stopped}; continue with:\n  {resume}", file=sys.stderr)
        return 0 if stopped.signal is None else 128 + stopped.signal
    except Diverged:  # it has advice of its own
        raise
    except (ValueError, OSError, MemoryError) as error:
        if trainer.saved_step is None:
            raise
        cause = "free some space" if is_full(error) else "correct that"
        raise with_advice(error, f"{cause}, then continue with: {resume}") from error
    if not isinstance(trainer, Follower):
        try:
            write_run_report(trainer.folder, task)
        except OSError as error:  # the run itself is safe
            print(f"note: {REPORT} could not be written: {error}", file=sys.stderr)
    print(ending(trainer, task))
    return 0


def is_full(error: Exception) -> bool:
    """Whether an error says that a disk, or somebody's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


if __name__ == "__main__":
    sys.exit(main())
