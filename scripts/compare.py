"""Train the systems of a task, each by its recipe and all on the same data; print a table, and draw their curves.

example, all systems of segmentation that learn generated scenes; writes the table to runs/systems/table.md:
  python -m scripts.compare --run-dir runs/systems

example, chosen ones, with options, on photographs, three times each; everything after -- goes to scripts.train:
  python -m scripts.compare unet_small segnet_basic_small:decoder=bilinear --run-dir runs/camvid --seeds 0 1 2 \\
      -- --data camvid --root camvid --epochs 30

example, the depth of networks with and without shortcuts, in one table and one picture, curves.png:
  python -m scripts.compare plain20_cifar plain20_cifar:n=9 resnet20_cifar resnet20_cifar:n=9 --task classification \\
      --run-dir runs/depth -- --data class_folders --root cifar10 --val-split test --epochs 12 --lr 0.1

Every system has its own folder in --run-dir. Give the same command again after an interruption, or after --time-limit:
finished runs are only read, an unfinished run continues, bit for bit. A table of several seeds shows means, and the
standard deviation of the metric.
"""

import json
import math
import statistics
import sys
import time
from argparse import Namespace
from itertools import product
from pathlib import Path

import numpy as np

import vision
from nn.io.checkpoint import replacing
from scripts import train
from scripts.command_line import Parser, command, count_or_none, positive, program
from scripts.compare_measure import measure
from scripts.compare_systems import System, before, in_order, learn_shapes, parse_system
from scripts.data import open_data
from scripts.imports import add_import, import_files
from scripts.pictures import draw_curves
from scripts.run_folder import CONFIG, PROPOSALS, read_config
from scripts.train_arguments import parse
from vision.task import TASKS, shown
from vision.training.log import LOG

RESULT, TABLE, CURVES = "result.json", "table.md", "curves.png"
COMPARABLE = ("segmentation", "classification", "detection")  # whose models see images and nothing else
STOPPED = (130, 143)  # exit status after Ctrl-C and SIGTERM


@command
def main(arguments: list[str]) -> int | None:
    own, passed_on = _split_at_dashes(arguments)
    args = build_parser().parse_args(own)
    import_files(args.imports)
    passed_on += ["--import", *args.imports] if args.imports else []
    if set_here := {"--model", "--run-dir", "--seed", "--set", "--resume", "--proposals"} & set(passed_on):
        name = min(set_here)
        instead = "SYSTEM, --run-dir, --seeds, --proposals"
        raise ValueError(f"{name} is not for scripts.train here: give it before -- as {instead}")
    systems = [parse_system(text, args.task) for text in args.systems or learn_shapes(args.task)]
    check(systems, args, passed_on)
    args.run_dir.mkdir(parents=True, exist_ok=True)
    failed, deadline = [], time.monotonic() + 60 * args.time_limit
    for system, seed in product(in_order(systems), args.seeds):
        if (left := deadline - time.monotonic()) <= 0:
            print(f"\nthe time limit is reached before {system.text}, seed {seed}; the same command continues")
            break
        if status := run(system, seed, args, passed_on, left / 60):
            if status in STOPPED:
                return status
            failed.append(f"{system.text}, seed {seed}")
    rows = [row for system in systems if (row := read_row(system, args))]
    text = table(rows, TASKS[args.task].metric) if rows else "no system was trained to its end"
    print(f"\n{text}\n\nThe table: {args.run_dir / TABLE}")
    with replacing(args.run_dir / TABLE) as file:
        file.write(text.encode() + b"\n")
    folders = {system.text: system.folder(args.run_dir, args.seeds[0]) for system in systems}
    begun = {name: folder for name, folder in folders.items() if (folder / LOG).exists()}
    if begun:
        draw_curves(begun, TASKS[args.task].metric, args.run_dir / CURVES)
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def build_parser() -> Parser:
    usage = f"{program('scripts.compare')} [SYSTEM ...] --run-dir DIR [options] [-- arguments of scripts.train]"
    parser = Parser("scripts.compare", __doc__, usage=usage)
    text = "NAME, or NAME:OPTION=VALUE,... with options of the model, and with --epochs=N and what else its recipe "
    text += "has, where that is not the same for all (default: all of the task whose recipe learns generated scenes)"
    parser.add_argument("systems", metavar="SYSTEM", nargs="*", help=text)
    parser.add_argument("--task", choices=COMPARABLE, default="segmentation", help="default: segmentation")
    parser.add_argument("--run-dir", metavar="DIR", type=Path, required=True, help="folder for all runs (needed)")
    text = "train each with these seeds (default: 0)"
    parser.add_argument("--seeds", metavar="N", type=count_or_none, nargs="+", default=[0], help=text)
    text = "stop after this time, all trainings together (default: none)"
    parser.add_argument("--time-limit", metavar="MINUTES", type=positive, default=math.inf, help=text)
    text = "split to compare on (default: test); the best checkpoint is chosen on scripts.train's --val-split. "
    text += "The minutes of a net that starts from a coarser one's weights are its own, without the coarser one's"
    parser.add_argument("--split", metavar="NAME", default="test", help=text)
    text = "folder that keeps the proposals of all detectors that need them (default: in --run-dir)"
    parser.add_argument("--proposals", metavar="DIR", type=Path, help=text)
    add_import(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _split_at_dashes(arguments):
    """(arguments before --, arguments after it)."""
    dashes = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:dashes], arguments[dashes + 1 :]


def check(systems: list[System], args: Namespace, passed_on: list[str]):
    """ValueError for wrong arguments, data, split or options of a system that is not done yet, before any training."""
    opened = {}
    for system in systems:
        if all((system.folder(args.run_dir, seed) / RESULT).exists() for seed in args.seeds):
            continue
        given = parse([*system.arguments(), "--run-dir", str(args.run_dir), *passed_on, *system.recipe], train.__doc__)
        what = tuple(str(getattr(given, name)) for name in ("data", "root", "classes"))
        if what not in opened:
            opened[what] = list(open_data(args.task, given, args.split, given.classes).classes)
        vision.build(system.model, opened[what], np.random.default_rng(0), **dict(given.set))


def run(system: System, seed: int, args: Namespace, passed_on: list[str], minutes: float = math.inf) -> int:
    """Train a system, unless it is done, for so many minutes, and measure it where it is done. Exit status."""
    folder = system.folder(args.run_dir, seed)
    if (folder / RESULT).exists():
        held, now = _read(folder), {"split": args.split, "arguments": passed_on}
        if any(held[key] != value for key, value in now.items()):
            had = f"--split {held['split']} -- {' '.join(held['arguments'])}"
            raise ValueError(f"{folder}: was trained with {had}; give the same, or another --run-dir")
        return 0
    print(f"\n== {system.text}, seed {seed}", flush=True)
    proposals = args.proposals or args.run_dir / PROPOSALS
    common = ["--run-dir", folder, "--proposals", proposals, *passed_on, *system.recipe]
    common += ["--time-limit", minutes] if minutes < math.inf else []
    if (folder / CONFIG).exists():
        status = train.main([*common, "--resume"])
    else:
        start = _to_start_from(system, seed, args)
        status = train.main([*system.arguments(), *start, "--seed", seed, *common])
    if not status and (result := measure(folder, args.split, proposals)):
        with replacing(folder / RESULT) as file:
            result |= {"split": args.split, "arguments": passed_on}
            file.write(json.dumps(result, indent=2).encode() + b"\n")
    return status


def _to_start_from(system, seed, args):
    """Arguments for the weights to start from: those of the model in the recipe's "after".

    Of its runs, the one whose options are the system's, but for options that only one of both models has; of several
    one that is compared here.
    """
    if not (first := before(system)):
        return []
    compared = [parse_system(text, args.task).folder(args.run_dir, seed) for text in args.systems]
    for folder in sorted(args.run_dir.glob(f"{first}*_seed{seed}"), key=lambda each: (each not in compared, each)):
        given = read_config(folder)["arguments"]
        if given["model"] == first and (folder / RESULT).exists() and system.has_options_of(first, given["set"]):
            return ["--pretrained", folder]
    print(f"note: from random weights, as {first} has not been trained so in {args.run_dir}", file=sys.stderr)
    return []


def read_row(system: System, args: Namespace) -> dict:
    """The results of a system, each as a list with one value for each finished seed that has it; {} for none."""
    folders = [system.folder(args.run_dir, seed) for seed in args.seeds]
    results = [_read(folder) for folder in folders if (folder / RESULT).exists()]
    columns = [key for key in _union(results) if key not in ("split", "arguments")]
    return {"system": system.text} | {key: [r[key] for r in results if key in r] for key in columns} if results else {}


def _union(dicts):
    """All keys, in the order of their first appearance."""
    return list(dict.fromkeys(key for each in dicts for key in each))


def _read(folder):
    """The content of a result file. ValueError naming it where it is damaged."""
    path = folder / RESULT
    try:
        result = json.loads(path.read_text())
        numbers = [value for key, value in result.items() if key not in ("split", "arguments")]
        if not {"split", "arguments"} <= result.keys() or not all(type(n) in (int, float) for n in numbers):
            raise ValueError("not a result of scripts.compare")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error}); remove it, and the run is measured again") from error
    return result


def table(rows: list[dict], metric: str) -> str:
    """A Markdown table of the rows, as read_row gives them."""
    columns = [key for key in _union(rows) if key != "system"]
    lines = [["system", *(key.replace("_", " ") for key in columns)]]
    for row in rows:
        lines.append([row["system"], *(_cell(key, row.get(key), key == metric) for key in columns)])
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + " |" for line in lines)


def _cell(key, values, spread):
    """The mean of one value per seed, as text; with `spread` and several seeds, also their standard deviation."""
    if values is None:
        return "-"
    mean = statistics.mean(values)
    if key in ("parameters", "multiply_adds"):
        return f"{round(mean):,}"
    if key == "minutes":
        return f"{mean:.1f}"
    return shown(mean) + (f" ± {statistics.stdev(values):.3f}" if spread and len(values) > 1 else "")


if __name__ == "__main__":
    sys.exit(main())
