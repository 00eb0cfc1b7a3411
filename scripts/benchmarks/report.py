"""The measured rows as a table, and as JSON."""

import platform
from importlib import metadata
from importlib.util import find_spec

import numpy as np

from scripts.benchmarks.measure import Measured, Row, geometric_mean

COLUMNS = [  # title, unit, width
    ("ours", "ms", 9), ("torch", "ms", 9), ("ratio", "", 8), ("spread", "over rounds", 14),
    ("peak of ours", "MB", 14), ("torch", "MB", 9), ("of matmul", "", 11),
    ("of floor", "", 10), ("kernels", "of ours", 9),  # on a GPU
]  # fmt: skip


def header(on_gpu: bool) -> str:
    """The titles of the columns and, below them, their units."""
    return "\n".join(_line("", [column[i] for column in COLUMNS], on_gpu) for i in (0, 1))


def line(row: Row, speed: float | None, bandwidth: float | None = None) -> str:
    """A row of the table; "-" for what was not measured, and what went wrong below it."""
    ratios, ours, theirs = row.ratios(), row.ours, row.theirs or Measured(failure="-")
    spread = f"{ratios[0]:.2f} .. {ratios[-1]:.2f}" if ratios else "-"
    milliseconds = ["-" if m.failure else f"{1e3 * m.median:.2f}" for m in (ours, theirs)]
    cells = [*milliseconds, _shown(row.ratio, ".2f"), spread, _megabytes(ours), _megabytes(theirs)]
    cells += [_shown(row.share(speed), ".0%"), _shown(row.of_floor(speed, bandwidth), ".0%"), _shown(ours.kernels, "d")]
    failures = [f"    {side}: {m.failure}" for side, m in _sides(row).items() if m.failure]
    return "\n".join([_line(row.case.name, cells, bool(bandwidth)), *failures])


def _line(name, cells, on_gpu):
    shown = zip(cells, COLUMNS) if on_gpu else zip(cells, COLUMNS[:-2])
    return f"{name:32}" + "".join(f"{cell:>{width}}" for cell, (_, _, width) in shown)


def _sides(row):
    return {"ours": row.ours} | ({"torch": row.theirs} if row.theirs else {})


def totals(rows: list[Row]) -> str:
    """Geometric mean and worst of the ratios, of layers, training steps and predictions, and the steps' memory."""
    lines, compared = [], [row for row in rows if row.ratio]
    for what in ("layers", "training steps", "predictions"):
        if some := [row for row in compared if row.case.kind == what]:
            worst, mean = max(some, key=lambda row: row.ratio), geometric_mean([row.ratio for row in some])
            lines.append(f"{len(some)} {what}: mean {mean:.2f}, worst {worst.ratio:.2f} ({worst.case.name})")
    if ratios := [row.ratio for row in compared]:
        mean = geometric_mean(ratios)
        lines.append(f"geometric mean of all {len(ratios)} ratios {mean:.3f}, worst {max(ratios):.2f}")
    for row in rows:
        if row.case.step and row.ours.peak and row.theirs and row.theirs.peak:
            times = f"{row.ours.peak / row.theirs.peak:.2f} times PyTorch's"
            lines.append(f"{row.case.name}: peak memory {_megabytes(row.ours)} MB, {times}")
    return "\n".join(lines)


def as_json(rows: list[Row], settings: dict, speed: float | None, bandwidth=None, gpu: str | None = None) -> dict:
    """All that was measured."""
    ratios = [row.ratio for row in rows if row.ratio]
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    versions |= {"torch": metadata.version("torch")} if find_spec("torch") else {}
    machine = {"processor": processor(), **versions, "gpu": gpu, "matmul_multiply_adds_per_second": speed}
    return {
        "settings": settings,
        "machine": machine | {"bytes_per_second": bandwidth},
        "cases": [_case_as_json(row, row.ratios(), speed, bandwidth) for row in rows],
        "geometric_mean": geometric_mean(ratios) if ratios else None,
        "worst": max(ratios, default=None),
    }


def processor() -> str:
    """Its name, as the system gives it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(text.split(":")[1].strip() for text in lines if text.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _case_as_json(row, ratios, speed, bandwidth):
    return {
        "name": row.case.name,
        "sizes": row.case.sizes,
        "multiply_adds": row.ours.multiply_adds,
        "ratio": row.ratio,
        "ratio_spread": [ratios[0], ratios[-1]] if ratios else None,
        "share_of_matmul": row.share(speed),
        "least_bytes": row.ours.bytes,
        "share_of_floor": row.of_floor(speed, bandwidth),
        "kernels": row.ours.kernels,
    } | {name: m.as_json() for name, m in _sides(row).items()}


def _shown(value, form):
    return "-" if value is None else format(value, form)


def _megabytes(measured):
    return _shown(None if measured.peak is None else measured.peak / 1e6, ".0f")
