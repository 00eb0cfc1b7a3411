"""Predict on your own pictures or texts: writes a picture or text for each input, and JSON for all.

example:
  python -m scripts.predict runs/mine holiday.jpg more_pictures/ --out predictions

writes predictions/holiday.png, ... and predictions/predictions.json; boxes are [x1, y1, x2, y2] in the pixels of the
picture as it is shown (turned upright if its EXIF data says so), x2 and y2 exclusive.

A model of segmentation colours its classes, and also writes predictions/labels/holiday.png, a palette PNG of class
indices; pixels with a probability below --threshold are 255.

example, 500 characters of a language model that continue the text of prompt.txt:
  python -m scripts.predict runs/letters prompt.txt --out predictions --set length=500 temperature=0.7
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from datasets import read_image, read_text
from datasets.files import PICTURES, files_in
from nn.io.checkpoint import replacing
from scripts.command_line import Parser, add_device, command, fraction, list_failed, make_sure_of
from scripts.imports import add_import, import_files
from scripts.pictures import save_drawn
from scripts.train_arguments import model_option
from vision import TASKS, Model, Task
from vision.options import as_json
from vision.task import task_of
from vision.training.saving import find_checkpoint, load_model

SUFFIXES = {"image": PICTURES, "text": (".txt",)}
READERS = {"image": read_image, "text": read_text}
RESULT, LABELS = "predictions.json", "labels"


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    make_sure_of(args.device)
    import_files(args.imports)
    path = find_checkpoint(args.checkpoint)
    model = load_model(path)[0]
    task = task_of(model.name)
    inputs, (options, changes) = find_inputs(args.inputs, task.input), split_options(task, model, args.set)
    model = (load_model(path, **changes)[0] if changes else model).to(args.device)
    names = result_names(inputs)
    refuse_to_overwrite(inputs, args.out, names)
    records, failed = [], []
    with made(args.out):
        for path_of_input, name in zip(tqdm(inputs, unit=f" {task.input}s", disable=None, leave=False), names):
            try:
                given = READERS[task.input](path_of_input)
                found = task.select(task.predict(model, {task.input: given}, **options), args.threshold)
            except (ValueError, MemoryError) as error:
                if args.debug:
                    raise
                failed.append(f"{path_of_input}: {str(error).removeprefix(f'{path_of_input}: ')}")
                continue
            record = write(found, given, task, model.classes, args.out, name)
            records.append({"file": str(path_of_input), **record})
        if not records:
            raise ValueError(failed[0] if len(failed) == 1 else f"none of {len(failed)} can be predicted: {failed[0]}")
        with replacing(args.out / RESULT) as file:
            file.write(json.dumps(records, indent=2).encode() + b"\n")
    print(f"{len(records)} {'pictures' if task.input == 'image' else 'texts'} and {RESULT} are in {args.out}")
    return list_failed(failed, "predicted", len(inputs))


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
    parser.add_argument("checkpoint", metavar="RUN_OR_CHECKPOINT", type=Path, help=text)
    text = "pictures (or texts, for a model of text), or folders of them"
    parser.add_argument("inputs", metavar="FILE_OR_FOLDER", type=Path, nargs="+", help=text)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the results (needed)")
    text = "leave out lower scores (default: 0.5)"
    parser.add_argument("--threshold", metavar="P", type=fraction, default=0.5, help=text)
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
            raise ValueError(f"{path}: no such file or folder; give {word}, or folders that hold some")
        inside = [path] if path.is_file() else files_in(path, suffixes)
        if not inside:
            raise ValueError(f"{path}: this folder holds no {word} ({', '.join(sorted(suffixes))}); give another")
        inputs += inside
    return inputs


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
