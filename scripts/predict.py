"""Predict on your own pictures or texts: writes a picture or text for each input, and JSON for all.

example:
  python -m scripts.predict runs/mine holiday.jpg more_pictures/ --out predictions

writes predictions/holiday.png, ... and predictions/predictions.json; boxes are [x1, y1, x2, y2] in the pixels of the
picture as it is shown (turned upright if its EXIF data says so), x2 and y2 exclusive.

A model of segmentation colours its classes, and also writes predictions/labels/holiday.png, a palette PNG of class
indices; pixels with a probability below --threshold are 255.

example, what is found also as files for COCO's evaluation and as VOC annotations (segmentation: coco alone, as RLE, a
mask of each class, or of each object where the model tells objects apart):
  python -m scripts.predict runs/mine pictures/ --out predictions --write coco voc

example, published weights of a registered network instead of a run: without --out, what is found is only printed:
  python -m scripts.predict --published efficientnet_lite0 --weights efficientnet_lite0.npz photo.jpg

example, 500 characters of a language model that continue the text of prompt.txt:
  python -m scripts.predict runs/letters prompt.txt --out predictions --set length=500 temperature=0.7
"""

import contextlib
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets import read_image, read_text
from datasets.files import PICTURES, files_in, meant
from datasets.headers import read_header
from nn.io.checkpoint import replacing
from scripts.command_line import Parser, add_device, command, fraction, list_failed, make_sure_of
from scripts.imports import add_import, import_files
from scripts.pictures import save_drawn
from scripts.published import add_published_arguments, load_published
from scripts.result_files import FORMATS, ResultFiles
from scripts.train_arguments import model_option
from vision import TASKS, Model, Task
from vision.options import as_json
from vision.registry import find
from vision.task import task_of
from vision.training.saving import find_checkpoint, load_model

SUFFIXES = {"image": PICTURES, "text": (".txt",)}
RESULT, LABELS = "predictions.json", "labels"


@command
def main(arguments: list[str]) -> int | None:
    args = parse(arguments)
    make_sure_of(args.device)
    import_files(args.imports)
    load = opener(args)
    model = load()
    task = task_of(model.name)
    inputs, (options, changes) = find_inputs(args.inputs, task.input), split_options(task, model, args.set)
    model = (load(**changes) if changes else model).to(args.device)
    names, files = result_names(inputs), ResultFiles(args.write, find(model.name).task, model.classes, args.coco_ids)
    if args.out:
        refuse_to_overwrite(inputs, args.out, names)
    records, failed = [], []
    with made(args.out) if args.out else contextlib.nullcontext():
        for path_of_input, name in zip(tqdm(inputs, unit=f" {task.input}s", disable=None, leave=False), names):
            try:
                given = READERS[task.input](path_of_input)
                found = task.select(task.predict(model, {task.input: given}, **options), args.threshold)
                if args.write:
                    files.add(path_of_input, name, given.shape[:2], found, args.out)
            except (ValueError, MemoryError) as error:
                if args.debug:
                    raise
                failed.append(f"{path_of_input}: {str(error).removeprefix(f'{path_of_input}: ')}")
                continue
            record = write(found, given, task, model.classes, args.out, name) if args.out else {}
            records.append({"file": str(path_of_input), **record})
            if not args.out:
                print(f"{path_of_input}: {in_words(task.describe(found, model.classes))}")
        if not records:
            raise ValueError(failed[0] if len(failed) == 1 else f"none of {len(failed)} can be predicted: {failed[0]}")
        if args.out:
            with replacing(args.out / RESULT) as file:
                file.write(json.dumps(records, indent=2).encode() + b"\n")
            kind = "picture" if task.input == "image" else "text"
            written = [f"{len(records)} {kind}{'s' * (len(records) != 1)}", *files.finish(args.out)]
    if args.out:
        print(f"{', '.join(written)} and {RESULT} are in {args.out}")
        if empty := sum(not record["found"] for record in records):
            print(f"no score of {args.threshold:g} in {empty} of {len(records)}: a lower --threshold shows more")
    return list_failed(failed, "predicted", len(inputs))


def parse(arguments: list[str]) -> Namespace:
    """The arguments; with --published the first of the files is an input, and --out and --threshold may be absent."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.published and args.checkpoint:
        args.inputs, args.checkpoint = [args.checkpoint, *args.inputs], None
    needed = [("RUN_OR_CHECKPOINT", args.checkpoint or args.published), ("FILE_OR_FOLDER", args.inputs)]
    missing = [name for name, value in [*needed, ("--out", args.out or args.published)] if not value]
    if missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    if not args.published and (args.weights or args.class_names):
        parser.error("--weights and --class-names go with --published")
    if (args.write or args.coco_ids) and not args.out:
        parser.error("--write and --coco-ids go with --out")
    if args.threshold is None:
        args.threshold = 0.0 if args.published and args.out is None else 0.5
    return args


def opener(args: Namespace) -> Callable[..., Model]:
    """load(**options) -> the model of --published, or of the run or checkpoint."""
    if args.published:
        return partial(load_published, args)
    path = find_checkpoint(args.checkpoint)
    return lambda **changes: load_model(path, **changes)[0]


def in_words(found: list) -> str:
    """What is found on one line: classes with their scores, anything else as JSON."""
    if all(isinstance(each, dict) and "score" in each for each in found):
        return "; ".join(f"{each['class']} {each['score']:.2f}" for each in found) or "nothing"
    return json.dumps(found)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """The folder is there in the block; if the block made it and put nothing in, it is removed again."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def build_parser() -> Parser:
    parser = Parser("scripts.predict", __doc__)
    text = "a checkpoint (.npz), or the folder of a run: its best.npz"
    parser.add_argument("checkpoint", metavar="RUN_OR_CHECKPOINT", type=Path, nargs="?", help=text)
    text = "pictures (or texts, for a model of text), or folders of them"
    parser.add_argument("inputs", metavar="FILE_OR_FOLDER", type=Path, nargs="*", help=text)
    add_published_arguments(parser)
    text = "folder for the results (needed with a run; with --published default: they are printed)"
    parser.add_argument("--out", metavar="DIR", type=Path, help=text)
    text = "also write what is found as coco_results.json and coco_instances.json, or as Annotations/NAME.xml"
    parser.add_argument("--write", choices=sorted(FORMATS), nargs="+", default=[], help=text)
    text = "with --write coco: take the ids of images and categories from this annotation file (default: 1, 2, 3, ...)"
    parser.add_argument("--coco-ids", metavar="FILE", type=Path, help=text)
    text = "leave out lower scores (default: 0.5); where results are only printed there are all"
    parser.add_argument("--threshold", metavar="P", type=fraction, help=text)
    known = "; ".join(
        f"{name}: {' '.join(f'{key}={value}' for key, value in task.options.items())}"
        for name, task in TASKS.items()
        if task.options
    )
    text = f"options of the prediction, by task, with their defaults: {known}; or of the model, such as crf=true"
    parser.add_argument("--set", nargs="+", type=model_option, metavar="NAME=VALUE", default=[], help=text)
    add_import(parser)
    add_device(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def split_options(task: Task, model: Model, given: list) -> tuple[dict, dict]:
    """(options of task.predict, as given or by default; options of the model that differ from training).

    ValueError for a name that is neither.
    """
    given = dict(given)
    known = [*task.options, *as_json(model.options)]
    if unknown := [name for name in given if name not in known]:
        choice = f"choose from {', '.join(known)}" if known else "this model has none"
        raise ValueError(f"--set: predicting has no option {unknown[0]!r}; {choice}")
    options = {name: given.get(name, default) for name, default in task.options.items()}
    return options, {name: value for name, value in given.items() if name not in options}


def find_inputs(paths: list[Path], kind: str) -> list[Path]:
    """The files given, and the files of this kind in the folders given, in order.

    kind: "image" or "text". ValueError for a missing path.
    """
    word, suffixes, inputs = {"image": "pictures", "text": "texts"}[kind], SUFFIXES[kind], []
    for path in paths:
        if not path.exists():
            advice = meant(path, f"give {word}, or folders that hold some")
            raise ValueError(f"{path}: no such file or folder; {advice}")
        inside = [path] if path.is_file() else files_in(path, suffixes)
        if not inside:
            raise ValueError(f"{path}: this folder holds no {word} ({', '.join(sorted(suffixes))}); give another")
        inputs += inside
    return inputs


def read_photograph(path: Path) -> np.ndarray:
    """The picture in a file; a note is printed where the file has frames or pages behind the first."""
    if read_header(path).more:
        print(f"note: {path}: has several frames or pages; the first is taken", file=sys.stderr)
    return read_image(path)


READERS = {"image": read_photograph, "text": read_text}


def result_names(inputs: list[Path]) -> list[str]:
    """A name for the result of each input: its own without suffix, numbered where it occurs twice."""
    names, taken = [], set()
    for path in inputs:
        name, k = path.stem, 2
        while name in taken:
            name, k = f"{path.stem}_{k}", k + 1
        taken.add(name)
        names.append(name)
    return names


def refuse_to_overwrite(inputs: list[Path], out: Path, names: list[str]):
    """Raise ValueError where a result would overwrite an input."""
    results = {(out / f"{name}{suffix}").resolve() for name in names for suffix in (".png", ".txt")}
    results |= {(out / LABELS / f"{name}.png").resolve() for name in names}
    if lost := [path for path in inputs if path.resolve() in results]:
        raise ValueError(f"--out {out}: the results would overwrite {lost[0]}; give another folder")


def write(found, given, task: Task, classes, out: Path, name: str) -> dict:
    """Write what is found in one input to the folder `out`; returns the record for the JSON file."""
    file = save_drawn(task.draw(given, found, classes, None), out, name)
    more = {}
    if task.save:
        (out / LABELS).mkdir(exist_ok=True)
        more = {LABELS: f"{LABELS}/{task.save(found, out / LABELS, name)}"}
    size = {"width": given.shape[1], "height": given.shape[0]} if task.input == "image" else {"characters": len(given)}
    shown = "picture" if file.endswith(".png") else "text"
    return {**size, shown: file, **more, "found": task.describe(found, classes)}


if __name__ == "__main__":
    sys.exit(main())
