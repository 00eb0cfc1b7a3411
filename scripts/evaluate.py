"""Measure a trained model on data with ground truth: the metrics of its task, and speed.

example, on the validation images of the run:
  python -m scripts.evaluate runs/first

example, on the test split of your own pictures, with the metrics in a file:
  python -m scripts.evaluate runs/mine/last.npz --data voc --root my_data --split test --json test.json

example, published weights of a registered network instead of a run, on a COCO file that holds all images:
  python -m scripts.evaluate --published ssd_mobilenet --weights ssd_mobilenet.npz --data coco --root coco --split all

example, a DeepLab, with the CRF that training did not use:
  python -m scripts.evaluate runs/deeplab --set crf=true

example, a detector, with precision-recall curves and its errors by kind: confused, badly placed, background, missed:
  python -m scripts.evaluate runs/first --out errors

example, a classifier, on ten crops of each picture, with pictures of its errors and of what it looks at:
  python -m scripts.evaluate runs/classes --set short_side=256 test_crops=224 --out errors
"""

import json
import sys
from argparse import Namespace
from pathlib import Path

from datasets.pictures import leaving_out
from datasets.voc import NoObjectError
from nn.io.checkpoint import replacing
from scripts.command_line import Parser, add_device, command, list_failed, make_sure_of
from scripts.data import DEFAULTS, add_data_arguments, open_data, with_proposals
from scripts.imports import add_import, import_files
from scripts.layouts import default_splits
from scripts.pictures import contact_sheet, save_drawn
from scripts.published import add_published_arguments, find_weights, load_published
from scripts.run_folder import PROPOSALS
from scripts.train_arguments import model_option
from vision import Model
from vision.registry import find
from vision.task import task_of
from vision.training.saving import find_checkpoint, load_model

SHOWN = 12  # samples whose predictions are drawn, where the task has no pictures of its own


@command
def main(arguments: list[str]) -> int | None:
    args = parse(arguments)
    make_sure_of(args.device)
    import_files(args.imports)
    out, folder, device, proposals = args.json, args.out, args.device, args.proposals
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)  # fails now, not after the work
    path, model, meta = open_model(args)
    task = task_of(model.name)
    args = as_in_training(args, arguments_of(path, meta), model.name)
    failed: list[str] = []
    with leaving_out(failed):
        data = open_as_known(path, model, args)
    total = len(data) + len(failed)
    data = with_proposals(model, data, proposals or path.parent / PROPOSALS)
    kept: dict[str, list] = {"found": []} if task.keeps else {}
    metrics = task.evaluate(model.to(device), data, failed=failed, **kept)
    progress = meta.get("progress")
    step = f", step {progress['step']}" if isinstance(progress, dict) and "step" in progress else ""
    print(f"{path}{step}, on {args.data}, split {args.split}")
    print(task.table(metrics))
    if out:
        with replacing(out) as file:
            file.write(json.dumps(metrics | ({"left_out": failed} if failed else {}), indent=2).encode() + b"\n")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = task.pictures(model, data, failed=[], **kept) if task.pictures else {}
        drawn = drawn or {"predictions": contact_sheet(model, task, data, SHOWN, failed=[])}
        names = [save_drawn(picture, folder, name) for name, picture in drawn.items()]
        print(f"{', '.join(names)} are in {folder}")
    return list_failed(failed, "evaluated", total)


def open_model(args: Namespace) -> tuple[Path, Model, dict]:
    """(path, model, meta data) of the run or checkpoint, or of --published, whose meta data are empty."""
    if not args.published:
        path = find_checkpoint(args.checkpoint)
        return path, *load_model(path, **dict(args.set))
    args.weights = find_weights(args.published, args.weights)
    return args.weights, load_published(args), {}


def parse(arguments: list[str]) -> Namespace:
    """The arguments: a run, or --published with the data to evaluate on."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if bool(args.checkpoint) == bool(args.published):
        parser.error("give one of RUN_OR_CHECKPOINT and --published NAME")
    if args.published and not args.data:
        parser.error(f"--published {args.published} needs --data and --root: what to evaluate on")
    if not args.published and (args.weights or args.class_names):
        parser.error("--weights and --class-names go with --published")
    return args


def build_parser() -> Parser:
    parser = Parser("scripts.evaluate", __doc__)
    text = "a checkpoint (.npz), or the folder of a run: its best.npz"
    parser.add_argument("checkpoint", metavar="RUN_OR_CHECKPOINT", type=Path, nargs="?", help=text)
    add_published_arguments(parser)
    group = add_data_arguments(parser, {}, "default: the validation data of the run")
    group.add("--split", str, "NAME", "split to evaluate on; coco: all for all images of the only file")
    text = "folder that keeps the proposals of the images, for detectors that need them (default: in the run's)"
    parser.add_argument("--proposals", metavar="DIR", type=Path, help=text)
    text = "options of the model that differ from training and do not change its weights (default: none)"
    parser.add_argument("--set", nargs="+", type=model_option, metavar="NAME=VALUE", default=[], help=text)
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the metrics to this file")
    text = "also write pictures to this folder: errors of classifiers and detectors, else predictions and the truth"
    parser.add_argument("--out", metavar="DIR", type=Path, help=text)
    add_import(parser)
    add_device(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def open_as_known(path: Path, model: Model, args: Namespace):
    """The data set, with labels in the order of the model's classes.

    ValueError if it has classes unknown to the model; unknown words are no error.
    """
    task, known = find(model.name).task, list(model.classes)
    if not task_of(model.name).closed:
        return open_data(task, args, args.split, known)
    try:
        data = open_data(task, args, args.split, args.classes)
    except NoObjectError:  # no objects, so no unknown class
        return open_data(task, args, args.split, known)
    unknown = [name for name in data.classes if name not in known]
    if unknown:
        raise ValueError(
            f"{path}: was trained on the classes {' '.join(known)}; the data has {' '.join(unknown)} too: "
            "evaluate on data of the same classes, or train anew"
        )
    return data if list(data.classes) == known else open_data(task, args, args.split, known)


def arguments_of(path: Path, meta: dict) -> dict:
    """The arguments of the training that wrote a checkpoint; defaults where it holds a model alone."""
    config = meta.get("config") or {}
    arguments = config.get("arguments") or {} if isinstance(config, dict) else None
    if not isinstance(arguments, dict):
        raise ValueError(f"{path}: damaged, it does not say how it was trained; take another copy")
    build_parser().check(path, arguments)
    return DEFAULTS | {"val_split": None} | arguments


def as_in_training(args: Namespace, training: dict, model: str) -> Namespace:
    """The data arguments as given; the others as in training, or their defaults if another kind of data is given."""
    same = args.data in (None, training["data"])
    base = DEFAULTS | {"split": training["val_split"]} | training if same else DEFAULTS | {"split": None}
    args = Namespace(**base | {name: value for name, value in vars(args).items() if value is not None})
    args.split = args.split or default_splits(find(model).task, args.data, args.root)[1]
    return args


if __name__ == "__main__":
    sys.exit(main())
