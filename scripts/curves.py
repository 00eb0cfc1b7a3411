"""Draw how fast systems learn: a metric over the steps of their runs, its mean and spread over seeds.

Beside the picture a table: the area under each curve divided by its length, which is the metric's mean over the
training, the metric's highest value, and its last one. Systems are compared on the steps that all their runs have.

example, two agents with three seeds each, whose batches are 16 rollouts of 20 steps:
  python -m scripts.curves ff=runs/ff_0 ff=runs/ff_1 ff=runs/ff_2 nav=runs/nav_0 nav=runs/nav_1 nav=runs/nav_2 \\
      --metric goals_per_minute --samples 320 --out runs/curves.png
"""

import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scripts.command_line import Parser, command, count
from scripts.run_folder import read_log
from vision.figures import save_png


class Curves(NamedTuple):
    """The runs of a system: steps (E,), and the metric (runs, E) there."""

    steps: np.ndarray
    values: np.ndarray


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    systems: dict[str, list[dict[int, float]]] = {}
    for name, folder in args.runs:
        systems.setdefault(name, []).append(read_curve(folder, args.metric))
    curves = {name: common(name, runs) for name, runs in systems.items()}
    print(table(curves))
    draw(curves, args.metric, args.samples, args.out)
    print(f"\nthe picture is {args.out}")


def build_parser() -> Parser:
    parser = Parser("scripts.curves", __doc__)
    text = "a system's name and a run of it; the name again for further seeds"
    parser.add_argument("runs", metavar="NAME=DIR", type=name_and_folder, nargs="+", help=text)
    parser.add_argument("--metric", metavar="NAME", required=True, help="a number that the evaluations give (needed)")
    text = "samples of a step, such as frames: the picture's axis counts them (default: 1)"
    parser.add_argument("--samples", metavar="N", type=count, default=1, help=text)
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="the picture, a PNG (needed)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def name_and_folder(text: str) -> tuple[str, Path]:
    """(name, folder) of NAME=DIR."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ArgumentTypeError(f"must look like NAME=DIR, got {text!r}")
    return name, Path(path)


def read_curve(folder: Path, metric: str) -> dict[int, float]:
    """{step: the metric there}. ValueError for a run without evaluations, and one whose evaluations lack it."""
    found = {record["step"]: record["metrics"] for record in read_log(folder) if "metrics" in record}
    if not found:
        raise ValueError(f"{folder}: the run has no evaluations yet; train it with --evaluate-every 1")
    known = [name for name, value in next(iter(found.values())).items() if isinstance(value, (int, float))]
    if metric not in known:
        raise ValueError(f"{folder}: there is no metric {metric!r}; its evaluations give {', '.join(known)}")
    return {step: metrics[metric] for step, metrics in found.items()}


def common(name: str, runs: list[dict[int, float]]) -> Curves:
    """The runs on the steps at which all were evaluated. ValueError where these are fewer than two."""
    steps = sorted(set.intersection(*(set(run) for run in runs)))
    if len(steps) < 2:
        raise ValueError(f"{name}: its runs have {len(steps)} evaluations at the same steps; a curve needs two")
    return Curves(np.array(steps), np.array([[run[step] for step in steps] for run in runs], float))


def area(curves: Curves) -> np.ndarray:
    """(runs,) the area under each curve over its length, by trapezes."""
    return np.trapezoid(curves.values, curves.steps, axis=1) / (curves.steps[-1] - curves.steps[0])


def table(systems: dict[str, Curves]) -> str:
    """A Markdown table: means over the runs, with the standard deviation of several."""
    lines = ["| system | runs | steps | area / length | highest | last |", "| --- | --- | --- | --- | --- | --- |"]
    for name, curves in systems.items():
        columns = area(curves), curves.values.max(axis=1), curves.values[:, -1]
        numbers = " | ".join(spread(values) for values in columns)
        lines.append(f"| {name} | {len(curves.values)} | {curves.steps[0]} to {curves.steps[-1]} | {numbers} |")
    return "\n".join(lines)


def spread(values: np.ndarray) -> str:
    """The mean, and the standard deviation of several."""
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def draw(systems: dict[str, Curves], metric: str, samples: int, path: Path):
    """Write the curves: means as lines, a standard deviation to both sides as bands; single runs dashed."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for i, (name, (steps, values)) in enumerate(systems.items()):
        x, mean, n = steps * samples, values.mean(axis=0), len(values)
        axes.plot(x, mean, "-" if n > 1 else "--", marker=".", color=f"C{i % 10}", label=f"{name}, {n}")
        if n > 1:
            deviation = values.std(axis=0, ddof=1)
            axes.fill_between(x, mean - deviation, mean + deviation, color=f"C{i % 10}", alpha=0.2, linewidth=0)
    axes.set(xlabel="samples" if samples > 1 else "steps", ylabel=metric.replace("_", " "), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(title="system, runs", fontsize="small")
    save_png(figure, path)


if __name__ == "__main__":
    sys.exit(main())
