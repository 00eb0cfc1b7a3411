"""Time layers and training steps, and compare with PyTorch.

Each library runs in a process of its own. They take turns, case by case and round by round, with the same weights,
inputs and number of threads, in float32. The table has the median milliseconds of a call, the ratio of ours to
PyTorch's with its smallest and largest value over the rounds, the peak memory of the case (of a training step: of a
fresh process, without that of the imports), and our fraction of the machine's speed of matrix products, where a
convolution counts as its direct multiply-adds. ".both" is forward and backward, ".forward" inference.

With --device gpu both compute there, without tensor-float-32, and each call is timed to the end of its last kernel.
There are two more columns: the fraction of our time that the device needs at least, by its measured speed of products
or of copying memory, and the number of our kernels that a call launches (those of CuPy are not counted).

example, everything against PyTorch:
  python -m scripts.benchmark --against torch

example, the cases whose names begin with conv3x3_64, without PyTorch:
  python -m scripts.benchmark conv3x3_64

example, how the time of a training step grows:
  python -m scripts.benchmark --growth

example, the first training step of a fresh process beside the tenth:
  python -m scripts.benchmark step_resnet20 --first
"""

import importlib.util
import json
import os
import sys
import textwrap
from pathlib import Path

import nn
from nn.cpu.parallel import thread_count
from scripts.benchmarks import report
from scripts.benchmarks.cases import CASES, choose
from scripts.benchmarks.growth import run_growths
from scripts.benchmarks.measure import Failed, Side, measure
from scripts.command_line import Parser, command, count


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    if args.growth:
        return print_growth(args)
    cases = choose(args.names)
    if args.first:
        return print_first(cases, args)
    if args.against == "torch" and importlib.util.find_spec("torch") is None:
        raise ValueError("--against torch: PyTorch is not installed; install it, or leave --against out")
    if args.json and not Path(args.json).absolute().parent.is_dir():
        raise ValueError(f"--json {args.json}: there is no such folder")
    sides = [Side(name, args.device, args.threads, args.plain) for name in ["ours", *filter(None, [args.against])]]
    try:
        rows, found = run(cases, sides, args)
    finally:
        for side in sides:
            side.stop()
    if args.json:
        settings = {name: getattr(args, name) for name in ("against", "device", "plain", "threads", "rounds")}
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report.as_json(rows, settings, **found), file, indent=1)
    return 1 if any(m and m.failure for row in rows for m in (row.ours, row.theirs)) else 0


def print_growth(args):
    """The tables of --growth, which allows only --plain beside it."""
    if args.names or args.against or args.json or args.device != "cpu":
        raise ValueError("--growth allows only --plain beside it; leave out the rest")
    nn.config.plain = args.plain
    run_growths()


def print_first(cases, args):
    """The table of --first: of each training step, in a process of its own, the first beside the tenth."""
    steps = [case for case in cases if case.step]
    if not steps or args.against or args.json:
        raise ValueError(
            "--first times training steps of ours: name some that begin with step_, without --against, --json"
        )
    print(f"{'':32}{'first ms':>10}{'tenth ms':>10}{'ratio':>8}")
    for case in steps:
        side = Side("ours", args.device, args.threads, args.plain)
        try:
            first, *_, tenth = side.ask("first", case.name)["seconds"]
        finally:
            side.stop()
        print(f"{case.name:32}{1e3 * first:10.1f}{1e3 * tenth:10.1f}{first / tenth:8.2f}", flush=True)


def run(cases, sides, args):
    """Measure and print. Returns the rows and a dict: the machine's speed and, for a GPU, its bandwidth and name."""
    try:
        found = sides[0].ask("machine")
    except Failed as failure:
        raise ValueError(str(failure).split("ValueError: ")[-1]) from None
    where = found["gpu"] or f"{report.processor()}, {args.threads} threads"
    what = where + (", plain versions" if args.plain else "")
    speed, bandwidth = found["speed"], found["bandwidth"]
    copies = f"; copies: {bandwidth / 1e9:.0f} GB/s" if bandwidth else ""
    print(f"{what}; matrix products: {speed / 1e9:.0f} thousand million multiply-adds/s{copies}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        print(f"load average {load:.1f}: other work makes the ratios unreliable (PyTorch slows down more)")
    print(report.header(on_gpu=bool(bandwidth)), flush=True)
    rows = measure(cases, sides, args.rounds, lambda row: print(report.line(row, speed, bandwidth), flush=True))
    print(report.totals(rows))
    return rows, found


def build_parser() -> Parser:
    names = textwrap.fill("cases: " + ", ".join(CASES), 110, subsequent_indent="  ", break_on_hyphens=False)
    parser = Parser("scripts.benchmark", f"{__doc__.rstrip()}\n\n{names}")
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="cases: how their names begin, or patterns with * (default: all)")
    add("--against", choices=["torch"], help="the library to compare with")
    add("--device", choices=["cpu", "gpu"], default="cpu", help="where both compute (default: cpu)")
    add("--plain", action="store_true", help="our plain versions of the algorithms (nn.config.plain)")
    add("--threads", type=count, default=thread_count(), metavar="N", help="threads of both (default: one per core)")
    add("--rounds", type=count, default=5, metavar="N", help="turns of each (default: 5)")
    add("--json", metavar="FILE", help="write all measurements")
    add("--growth", action="store_true", help="instead: one training step of ours in growing sizes")
    add("--first", action="store_true", help="instead: the first training step of a fresh process beside the tenth")
    add("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
