"""The log of a run for TensorBoard, where its package is installed: `tensorboard --logdir runs`."""

import logging
import math
import time
from importlib import import_module
from pathlib import Path
from typing import Any

# Where these packages keep the writer of event files, and the messages in them.
PACKAGES = {
    "tensorboard": ("tensorboard.summary.writer.event_file_writer", "tensorboard.compat.proto"),
    "tensorboardX": ("tensorboardX.event_file_writer", "tensorboardX.proto"),
}


class Events:
    """Event files in the folder of a run, beside its log. They begin with the first record; without the package there
    are none.

    step: updates done so far. TensorBoard forgets what a killed process has written beyond them.
    """

    def __init__(self, folder: Path, step: int):
        self.folder, self.step = folder, step
        self.writer: Any = None  # False: there is no package
        self.event: Any = None
        self.summary: Any = None

    def write(self, record: dict[str, Any], step: int):
        """Add the scalars of a record of the log, under such tags as loss/cls, validation/cls, metrics/AP50, lr."""
        if self.writer is None:
            self._begin()
        values = scalars(record)
        if self.writer and values:
            parts = [self.summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
            self._add(step, summary=self.summary(value=parts))

    def _begin(self):
        """Open a file with the first package that there is; a note where one is there and cannot be used."""
        self.writer = False
        for package, (writer, messages) in PACKAGES.items():
            try:
                self.event = import_module(f"{messages}.event_pb2")
                self.summary = import_module(f"{messages}.summary_pb2").Summary
                self.writer = import_module(writer).EventFileWriter(str(self.folder))
                break
            except ModuleNotFoundError:
                continue
            except Exception as error:  # of its own dependencies: versions that do not fit
                logging.getLogger(__name__).warning(
                    "note: no TensorBoard events: %s cannot be loaded: %s", package, error
                )
        if self.writer and self.step:
            self._add(self.step + 1, session_log=self.event.SessionLog(status=self.event.SessionLog.START))

    def _add(self, step, **content):
        self.writer.add_event(self.event.Event(wall_time=time.time(), step=step, **content))

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *error):
        if self.writer:
            self.writer.close()


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """{tag: value} of the finite values in a record of the log; of a stage, tags begin with its name."""
    values = {name: record[name] for name in ("lr", "gradient_norm", "speed", "memory") if name in record}
    for title, name in (("loss", "losses"), ("validation", "validation"), ("metrics", "metrics"), ("fit", "fit")):
        values |= {f"{title}/{each}": value for each, value in record.get(name, {}).items()}
    stage = f"{record['stage']}/" if "stage" in record else ""
    shown = {tag: value for tag, value in values.items() if isinstance(value, (int, float))}
    return {f"{stage}{tag}": float(value) for tag, value in shown.items() if math.isfinite(value)}
