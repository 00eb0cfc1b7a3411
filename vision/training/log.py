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
        self.file = open(self.path, "ab", buffering=0)
        self.file.truncate(min(length, self.file.seek(0, os.SEEK_END)))
        self.length = self.file.seek(0, os.SEEK_END)
        with open(self.path, encoding="utf-8") as lines:
            for line in lines:
                self.epochs.add(json.loads(line))

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
            for name, value in (sizes | {"gradient_norm": record["gradient_norm"]}).items():
                before = row.get(name, 0.0)
                row[name] = before + (value - before) / row["steps"]
        row |= record.get("fit", {})
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
