"""Look into a model: one forward and one backward pass as one HTML file, which opens without a network.

example, a trained detector and a photograph:
  python -m scripts.inspect runs/mine photo.jpg --out report.html

example, a model with random weights on a generated scene; any registered model can be looked at:
  python -m scripts.inspect --model faster_rcnn_small --out report.html

example, two runs, or two checkpoints of one run, side by side:
  python -m scripts.inspect --compare runs/a runs/b photo.jpg --out both.html

The page lists all layers in the order of the pass, with shapes, costs, time, memory, code and formula, and shows of
each its output and the gradient that comes back. A photograph has no truth, from which a loss could be computed: the
model's own answer is taken, or --target; the page says so. `nn.record` gives the same data in Python.
"""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

import vision
from nn.io.checkpoint import replacing
from scripts.command_line import Parser, command, count_or_none, number, typed_command
from scripts.imports import add_import, import_files
from scripts.inspection.build import report
from scripts.inspection.page import page
from scripts.inspection.samples import data_for, samples_of
from scripts.published import add_published_arguments, load_published
from scripts.train_arguments import model_option
from vision import Model
from vision.training.saving import find_checkpoint, load_model

LIMIT = 15  # MB that a page should not exceed


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    import_files(args.imports)
    runs, picture = sorted_inputs(args)
    typed = typed_command("scripts.inspect", *arguments)
    reports = []
    for name, model in models(args, runs):
        samples, words = samples_of(model, picture, args.target, tuple(args.size))
        testing = not (args.training or (args.model and not runs))
        reports.append(report(model, samples, words, {"name": name, "command": typed}, args.stage, testing))
    text = page(" and ".join(each["name"] for each in reports), {"reports": reports})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out) as file:
        file.write(text.encode())
    print(f"{args.out}: {len(reports[0]['passes'])} calls of layers, {len(text) / 1e6:.1f} MB; open it in a browser")
    if len(text) > LIMIT * 1e6:
        print(f"note: more than {LIMIT} MB; a smaller picture or --set short_side=N makes it smaller", file=sys.stderr)


def build_parser() -> Parser:
    parser = Parser("scripts.inspect", __doc__)
    text = "a checkpoint (.npz) or the folder of a run, unless --model or --published; then a picture, or a text for a "
    text += "model of text (default: a generated scene)"
    parser.add_argument("inputs", metavar="RUN_OR_PICTURE", type=Path, nargs="*", help=text)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, default=Path("inspect.html"), help="(default: inspect.html)"
    )
    parser.add_argument("--model", metavar="NAME", help="a registered model with random weights, in place of a run")
    add_published_arguments(parser)
    text = "two runs or checkpoints side by side"
    parser.add_argument("--compare", metavar=("A", "B"), type=Path, nargs=2, help=text)
    text = "what is taken as truth: a class, a caption, or of vqa the question (default: the model's own answer)"
    parser.add_argument("--target", metavar="TEXT", help=text)
    text = "the stage of training whose loss it is, for models with several (default: the last)"
    parser.add_argument("--stage", metavar="NAME", help=text)
    text = "batch normalisation by this batch, and dropout, as in training; so is it always with random weights"
    parser.add_argument("--training", action="store_true", help=text)
    text = "of the generated scene (default: 240 320)"
    side = number(32, whole=True)
    parser.add_argument("--size", metavar=("HEIGHT", "WIDTH"), type=side, nargs=2, default=[240, 320], help=text)
    parser.add_argument("--set", nargs="+", type=model_option, metavar="NAME=VALUE", default=[], help="model's options")
    text = "of the random weights of --model (default: 0)"
    parser.add_argument("--seed", metavar="N", type=count_or_none, default=0, help=text)
    add_import(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def sorted_inputs(args: Namespace) -> tuple[list[Path], Path | None]:
    """(runs, picture or None). ValueError where something is missing or too much."""
    runs = list(args.compare or [])
    left = list(args.inputs)
    if left and not runs and (left[0].is_dir() or left[0].suffix == ".npz"):
        runs = [left.pop(0)]
    if bool(runs) + bool(args.published) + bool(args.model and not runs) != 1:
        raise ValueError("give one of: a RUN, --model NAME, --published NAME, --compare A B")
    if len(left) > 1:
        raise ValueError(f"one picture is looked at, got {left[0]} and {left[1]}")
    for path in left:
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give a picture, or leave it out for a generated scene")
    return runs, left[0] if left else None


def models(args: Namespace, runs: list[Path]) -> list[tuple[str, Model]]:
    """(title, model) of each page."""
    options = dict(args.set)
    if args.published:
        return [(args.published, load_published(args))]
    if not runs:
        classes = data_for(args.model, (32, 48)).classes
        rng = np.random.default_rng(args.seed)
        return [(f"{args.model}, untrained", vision.build(args.model, list(classes), rng, **options))]
    loaded = [(title(run), load_model(find_checkpoint(run), **options)[0]) for run in runs]
    for run, (_, model) in zip(runs, loaded):
        if args.model and model.name != args.model:
            raise ValueError(f"{run}: holds {model.name}, not {args.model}; leave out --model")
    return loaded


def title(run: Path) -> str:
    """The name of a run's folder, or those of a checkpoint and its folder."""
    run = run.resolve()
    return run.name if run.is_dir() else f"{run.parent.name}/{run.stem}"


if __name__ == "__main__":
    sys.exit(main())
