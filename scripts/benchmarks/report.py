"""The measured rows as a table, and as JSON."""

import platform
from importlib import metadata

import numpy as np

from scripts.benchmarks.measure import Measured, Row, geometric_mean

HEADER = f"{'':32}{'ours':>9}{'torch':>9}{'ratio':>8}{'spread':>14}{'peak of ours':>14}{'torch':>9}{'of matmul':>11}"
UNITS = f"{'':32}{'ms':>9}{'ms':>9}{'':8}{'over rounds':>14}{'MB':>14}{'MB':>9}{'':11}"

GPU_HEADER, GPU_UNITS = f"{'of floor':>10}{'kernels':>9}", f"{'':10}{'of ours':>9}"  # beside these, on a GPU


def line(row: Row, speed: float | None, bandwidth: float | None = None) -> str:
    """A row of the table; "-" for what was not measured, and what went wrong below it."""
    ratios, ours, theirs = row.ratios(), row.ours, row.theirs or Measured(failure="-")
    spread = f"{ratios[0]:.2f} .. {ratios[-1]:.2f}" if ratios else "-"
    columns = (
        f"{row.case.name:32}{_milliseconds(ours):>9}{_milliseconds(theirs):>9}{_shown(row.ratio, '.2f'):>8}{spread:>14}"
        f"{_megabytes(ours):>14}{_megabytes(theirs):>9}{_shown(row.share(speed), '.0%'):>11}"
    )
    if bandwidth:
        columns += f"{_shown(row.of_floor(speed, bandwidth), '.0%'):>10}{_shown(ours.kernels, 'd'):>9}"
    sides = (("ours", row.ours), ("torch", row.theirs))
    return "\n".join([columns, *(f"    {side}: {m.failure}" for side, m in sides if m and m.failure)])


def totals(rows: list[Row]) -> str:
    """Geometric mean and worst of the ratios, of layers and of training steps, and the steps' memory."""
    lines = []
    for what, step in (("layers", False), ("training steps", True)):
        compared = [row for row in rows if row.ratio and row.case.step == step]
        if compared:
            worst = max(compared, key=lambda row: row.ratio)
            mean = geometric_mean([row.ratio for row in compared])
            lines.append(f"{len(compared)} {what}: mean {mean:.2f}, worst {worst.ratio:.2f} ({worst.case.name})")
    ratios = [row.ratio for row in rows if row.ratio]
    if ratios:
        lines.append(
            f"geometric mean of all {len(ratios)} ratios {geometric_mean(ratios):.3f}, worst {max(ratios):.2f}"
        )
    for row in rows:
        if row.case.step and row.ours.peak and row.theirs and row.theirs.peak:
            times = f"{row.ours.peak / row.theirs.peak:.2f} times PyTorch's"
            lines.append(f"{row.case.name}: peak memory {_megabytes(row.ours)} MB, {times}")
    return "\n".join(lines)


def as_json(
    rows: list[Row], speed: float | None, settings: dict, bandwidth: float | None = None, gpu: str | None = None
) -> dict:
    """All that was measured."""
    ratios = [row.ratio for row in rows if row.ratio]
    return {
        "settings": settings,
        "machine": machine() | {"gpu": gpu, "matmul_multiply_adds_per_second": speed, "bytes_per_second": bandwidth},
        "cases": [_case_as_json(row, speed, bandwidth) for row in rows],
        "geometric_mean": geometric_mean(ratios) if ratios else None,
        "worst": max(ratios, default=None),
    }


def machine() -> dict:
    """Processor and versions."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    try:
        versions["torch"] = metadata.version("torch")
    except metadata.PackageNotFoundError:
        pass
    return {"processor": processor(), **versions}


def processor() -> str:
    """Its name, as the system gives it."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(text.split(":")[1].strip() for text in lines if text.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _case_as_json(row, speed, bandwidth):
    sides = {"ours": row.ours} | ({"torch": row.theirs} if row.theirs else {})
    ratios = row.ratios()
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
        **{
            name: {
                "seconds": None if m.failure else m.median,
                "rounds": m.rounds,
                "peak_bytes": m.peak,
                "failure": m.failure or None,
            }
            for name, m in sides.items()
        },
    }


def _shown(value, form):
    return "-" if value is None else format(value, form)


def _milliseconds(measured):
    return "-" if measured.failure else f"{1e3 * measured.median:.2f}"


def _megabytes(measured):
    return _shown(None if measured.peak is None else measured.peak / 1e6, ".0f")
