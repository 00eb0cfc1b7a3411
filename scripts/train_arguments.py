"""The arguments of scripts.train; their defaults are the model's recipe or, when resuming, those of the run."""

import os
import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

import vision
from nn.gpu.device import DEVICES
from scripts.augmentation import add_augmentation_arguments
from scripts.command_line import (
    Group,
    Parser,
    count,
    count_or_none,
    fraction,
    model_option,
    not_negative,
    positive,
    program,
)
from scripts.data import DEFAULTS as DATA
from scripts.data import add_data_arguments
from scripts.imports import add_import, import_files
from scripts.layouts import default_splits
from scripts.published import PLACES
from scripts.run_folder import CONFIG, changed, read_config
from vision.options import describe
from vision.registry import find
from vision.training.recipe import OPTIMISERS, SCHEDULES, with_defaults

RUN = {
    "seed": 0, "evaluate_every": 1, "val_batches": 8, "patience": 0, "checkpoint_every": 100, "pictures": 6,
    "workers": 1, "device": "cpu", "set": [], "freeze": [], "proposals": None, "processes": 1,
    "watchdog": 1800,
}  # fmt: skip

# Arguments of a session, not of the run: they may differ when it is resumed, and do not change its results (the device
# changes rounding).
SESSION = {
    "run_dir", "resume", "debug", "time_limit", "workers", "checkpoint_every", "pictures", "device", "imports",
    "models", "changes", "proposals", "processes", "worker_processes", "watchdog",
}  # fmt: skip


def parse(arguments: list[str], help_text: str) -> Namespace:
    """The arguments of the run: as given, or those of the resumed run, or those of the recipe."""
    first = Parser("scripts.train", add_help=False)  # the defaults of all others depend on the model
    first.add_argument("--model")
    first.add_argument("--run-dir")
    first.add_argument("--resume", action="store_true")
    first.add_argument("--models", action="store_true")
    add_import(first)
    known = first.parse_known_args(arguments)[0]
    import_files(known.imports)
    if known.models:
        print(all_models())
        sys.exit(0)
    saved = read_config(Path(known.run_dir))["arguments"] if known.resume and known.run_dir else {}

    model = known.model or saved.get("model")
    if saved and model not in vision.MODELS:
        hint = "a model of your own needs --import FILE, the file that defines it"
        raise ValueError(f"{Path(known.run_dir) / CONFIG}: the model {model!r} is not registered; {hint}")
    parser = build_parser(model, help_text)
    if known.resume and not known.run_dir:
        parser.error("--resume needs --run-dir DIR, the folder of the run to continue")
    args = parser.parse_args(arguments)
    if model is None:
        parser.error("--model is needed, such as --model faster_rcnn_small; --models lists all")
    task, typed = find(model).task, _typed(parser, args, arguments)
    args.typed, args.changes = sorted(vars(typed)), {}
    if saved:
        parser.check(Path(args.run_dir) / CONFIG, saved)
        changes = changed(Path(args.run_dir), saved, of_the_run(typed))
        args = Namespace(**vars(args) | saved | {name: now for name, (_, now) in changes.items()})
        args.typed, args.changes = sorted({*saved.get("typed", ()), *changes}), changes
    splits = default_splits(task, args.data, args.root)
    args.train_split, args.val_split = args.train_split or splits[0], args.val_split or splits[1]
    return args


def of_the_run(args: Namespace) -> dict:
    """The arguments that results depend on: config.json keeps them. The root is absolute, to be found from anywhere."""
    kept = {name: value for name, value in vars(args).items() if name not in SESSION}
    return kept | ({"root": os.path.abspath(kept["root"])} if kept.get("root") else {})


def build_parser(model: str | None, help_text: str) -> Parser:
    """The parser; its defaults are the recipe of `model` where one is chosen."""
    usage = f"{program('scripts.train')} --model NAME --run-dir DIR [options]"
    parser = Parser("scripts.train", help_text, usage=usage)
    recipe = find(model).recipe if model in vision.MODELS else {}
    defaults = with_defaults(DATA | RUN | dict(recipe))
    defaults["lr_scale"] = [list(item) for item in defaults["lr_scale"].items()]
    _add_model_arguments(parser, defaults, model)
    group = add_data_arguments(parser, defaults)
    group.add(
        "--train-split",
        str,
        "NAME",
        "split to train on (default: train; for voc with boxes trainval, if there)",
    )
    group.add(
        "--val-split",
        str,
        "NAME",
        "split to evaluate on (default: val for shapes and all data with pixel labels, else test)",
    )
    _add_optimisation_arguments(parser, defaults)
    add_augmentation_arguments(parser, defaults)
    _add_run_arguments(parser, defaults)
    return parser


def _add_model_arguments(parser, defaults, model):
    group = Group(parser, "model", defaults, model and options_help(model))
    text = "the model, such as faster_rcnn_small, unet_small or resnet20_cifar (needed without --resume)"
    group.add("--model", model_name, "NAME", text)
    group.switch("--models", "list all models, a line each, and stop")
    add_import(group.group)
    text = "options of the model, for example --set short_side=300 max_side=500 (default: none)"
    group.group.add_argument("--set", nargs="+", type=model_option, metavar="NAME=VALUE", default=[], help=text)
    text = "weights to start from, loaded where name and shape fit: a file, another run's folder, or "
    text += f"the name of a network with published weights, which are in --weights or in {' or '.join(PLACES)}"
    group.add("--pretrained", str, "NAME_OR_FILE", text)
    group.add("--weights", str, "FILE", "checkpoint of the same model to start from (default: random weights)")
    text = "prefixes of the names of parameters that are not trained, such as backbone (default: none)"
    group.group.add_argument("--freeze", nargs="+", metavar="PREFIX", default=defaults["freeze"], help=text)


def _add_optimisation_arguments(parser, defaults):
    group = Group(parser, "optimisation", defaults)
    group.add("--epochs", count, "N", "passes over the training data")
    group.add("--batch-size", count, "N", "samples per step; for a text: positions read in parallel")
    text = "parts in which a batch is computed, one after another: the same gradient in less memory"
    group.add("--accumulate", count, "K", text)
    group.add("--optimiser", str, None, "the optimiser", choices=list(OPTIMISERS))
    group.add("--lr", positive, "X", "learning rate")
    text = "factors of the learning rate of parts: --lr-scale backbone=0.1 head=10; the longest prefix of a name counts"
    group.add("--lr-scale", rate_of_part, "PREFIX=X", text, nargs="+")
    group.add("--bias-rate", positive, "X", "another factor of the learning rate, of biases alone")
    group.add("--momentum", fraction, "X", "momentum of sgd, nesterov and rmsprop")
    group.add("--weight-decay", not_negative, "X", "weight decay (not of biases)")
    group.add("--schedule", str, None, "how the learning rate falls", choices=list(SCHEDULES))
    text = "fractions of the run after which --schedule step divides the rate by 10"
    group.add("--milestones", fraction, "X", text, nargs="+")
    text = "steps in which the learning rate rises to --lr, at most a tenth of the run"
    group.add("--warm-up", count_or_none, "N", text)
    text = "decay of a moving average of the weights, which is evaluated and saved instead of them; 0: none"
    group.add("--ema", fraction, "X", text)
    group.add("--clip-norm", not_negative, "X", "largest norm of the gradient; 0: no limit")
    group.add("--seed", count_or_none, "N", "seed of weights, order, augmentation and sampling")


def _add_run_arguments(parser, defaults):
    group = Group(parser, "run", defaults)
    group.add("--run-dir", folder_name, "DIR", "folder for all results (needed)", required=True)
    group.switch("--resume", "continue the run in --run-dir; no other argument needed")
    group.add("--evaluate-every", count_or_none, "N", "epochs between evaluations; the last epoch always has one")
    text = (
        "validation batches whose losses are computed after each epoch, always the same, without augmentation; 0: none"
    )
    group.add("--val-batches", count_or_none, "N", text)
    text = "stop after this many evaluations in a row without a new best one; 0: never"
    group.add("--patience", count_or_none, "N", text)
    group.add("--checkpoint-every", count, "N", "steps between checkpoints")
    group.add("--pictures", count_or_none, "N", "validation samples to show at each evaluation")
    text = "folder that keeps the proposals of the images, for detectors that need them (default: in --run-dir)"
    group.add("--proposals", folder_name, "DIR", text)
    group.add("--time-limit", positive, "MINUTES", "save and stop after this time (default: none)")
    group.add("--device", str, None, "where to train; gpu needs CuPy and a CUDA device", choices=DEVICES)
    group.add("--workers", count_or_none, "N", "threads that read data ahead; 0: none")
    group.switch("--worker-processes", "read training data in --workers processes instead of threads")
    text = "processes that share each batch, started with mpiexec; or start this command with mpiexec yourself"
    group.add("--processes", count, "N", text)
    text = "seconds that a process waits for a message of the others before it gives up; 0: for ever"
    group.add("--watchdog", not_negative, "SECONDS", text)
    text = "with several processes: batch normalisation over the whole batch, not over each process's share"
    group.switch("--sync-batch-norm", text)
    group.switch("--debug", "show the traceback of an error")


def all_models() -> str:
    """The registered models, a line each: name, task, system and paper, and what was measured."""
    width, rows = max(map(len, vision.MODELS)), []
    for name, entry in sorted(vision.MODELS.items(), key=lambda item: (item[1].task, item[0])):
        about = ", ".join(filter(None, (entry.system, entry.paper)))
        rows.append(f"{name:{width}}  {entry.task:14}  {about}{f'; {entry.figures}' if entry.figures else ''}")
    return "\n".join(rows)


def folder_name(text: str) -> str:
    """A path that is not empty: "" would be the folder where one stands."""
    if not text.strip():
        raise ArgumentTypeError("must be the name of a folder, got nothing")
    return text


def rate_of_part(text: str) -> list:
    """[beginning, factor] of PREFIX=X."""
    beginning, equals, factor = text.rpartition("=")
    if not (beginning and equals):
        raise ArgumentTypeError(f"must look like PREFIX=X, got {text!r}")
    return [beginning, not_negative(factor)]


def model_name(text: str) -> str:
    """The name of a registered model; an error that names the nearest if there is none."""
    try:
        return find(text).name
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def options_help(model: str) -> str:
    """The options of a model for --set, one per line: name, default and meaning."""
    rows = describe(find(model).options) if model in vision.MODELS else []
    lines = [f"  {f.name}={_shown(f.default)}  {f.comment or f.kind}" for f in rows]
    return "\n".join([f"--set NAME=VALUE of {model}, with defaults:", *lines]) if rows else ""


def _shown(value):
    """A default as --set takes it."""
    if isinstance(value, tuple):
        return f"[{','.join(map(_shown, value))}]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _typed(parser, args, arguments):
    """The arguments that were typed, without defaults: those that parsing changes in a namespace of marks."""
    mark = object()
    typed = parser.parse_args(arguments, Namespace(**dict.fromkeys(vars(args), mark)))
    return Namespace(**{name: value for name, value in vars(typed).items() if value is not mark})
