"""The log of a run: metrics.jsonl, a JSON object a line, and metrics.csv, a row an epoch."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from nn.io.checkpoint import replacing

LOG, TABLE = "metrics.jsonl", "metrics.csv"
POSITION = ("stage", "epoch", "step", "seconds", "lr")  # the first columns of the table


class Log:
    """The file metrics.jsonl, open to be appended to. A line is there once `write` returns, and is there whole.

    length: bytes that a checkpoint vouches for; what a killed process wrote beyond them is cut off.
    """

    def __init__(self, folder: Path, length: int):
        self.path, self.epochs = folder / LOG, Epochs()
        self.path.touch()
        os.truncate(self.path, min(length, self.path.stat().st_size))
        for record in read_records(self.path):
            self.epochs.add(record)
        self.file = open(self.path, "ab", buffering=0)
        self.length = self.file.seek(0, os.SEEK_END)

    def write(self, record: dict[str, Any]):
        """Append a record. Where it does not fit on the disk, nothing of it stays, and the OSError names the file."""
        line = json.dumps(record).encode() + b"\n"
        try:
            done = 0
            while done < len(line):  # a disk that is nearly full takes a part
                done += self.file.write(line[done:])
        except OSError as error:
            self.file.truncate(self.length)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.length += len(line)
        self.epochs.add(record)

    def flush(self) -> int:
        """Make sure that the disk has all lines; returns their length in bytes."""
        os.fsync(self.file.fileno())
        return self.length

    def write_table(self):
        """Write metrics.csv anew."""
        with replacing(self.path.with_name(TABLE)) as file:
            file.write(self.epochs.as_csv().encode())

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error):
        self.file.close()


def read_records(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The records of a log. ValueError naming the file, and the line that is none."""
    records = []
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such log; give the folder of a run")
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        try:
            record = json.loads(line) if line else {"changed": {}}
        except (ValueError, RecursionError):
            record = None
        if not _is_record(record):
            advice = "restore it, or move it away: a run goes on without the lines before"
            raise ValueError(f"{path}, line {number}: damaged, no record of a run; {advice}")
        records += [record] if line else []
    return records


def _is_record(record) -> bool:
    """Whether what a line holds has the entries that the log writes."""
    if not isinstance(record, dict) or "changed" in record:
        return isinstance(record, dict)
    losses, scalars = record.get("losses", {}), (record.get("epoch"), record.get("gradient_norm", 0.0))
    return (
        all(isinstance(value, (int, float)) for value in scalars)
        and isinstance(record.get("stage", ""), str)
        and all(isinstance(record.get(name, {}), dict) for name in ("losses", "validation", "metrics", "fit"))
        and all(isinstance(value, (int, float)) for value in losses.values())
    )


class Epochs:
    """The records of a log by epoch: means of losses and gradient norm over the steps, the metrics of its end."""

    def __init__(self):
        self.rows: dict[tuple, dict[str, Any]] = {}

    def add(self, record: dict[str, Any]):
        """Take a record of the log into the row of its epoch. What a run was resumed with is no row."""
        if "changed" in record:
            return
        row = self.rows.setdefault((record.get("stage"), record["epoch"]), {"steps": 0})
        row |= {name: record[name] for name in POSITION if name in record}
        if "losses" in record:
            row["steps"] += 1
            sizes = {f"loss_{name}": value for name, value in record["losses"].items()}
            for name, value in (sizes | {"gradient_norm": record.get("gradient_norm", 0.0)}).items():
                before = row.get(name, 0.0)
                row[name] = before + (value - before) / row["steps"]
        row |= record.get("fit", {}) | {
            f"validation_{name}": value for name, value in record.get("validation", {}).items()
        }
        row |= {name: record[name] for name in ("speed", "memory") if name in record}
        row |= {name: value for name, value in record.get("metrics", {}).items() if isinstance(value, (int, float))}

    def as_csv(self) -> str:
        """A line of column names, then a line an epoch; empty where an epoch was not evaluated."""
        rows = [{name: value for name, value in row.items() if name != "steps"} for row in self.rows.values()]
        known = dict.fromkeys(name for row in rows for name in row)
        names = [name for name in POSITION if name in known] + [name for name in known if name not in POSITION]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
