"""A run as its folder keeps it: how far it is, its log, its checkpoints, and what to say when it ends early."""

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

from vision.model import Model, Stage
from vision.training.bar import Bar
from vision.training.endings import Diverged, Stopped
from vision.training.events import Events
from vision.training.lock import locked
from vision.training.log import Log
from vision.training.progress import Progress, Waiting, peak_memory
from vision.training.run_state import RunState
from vision.training.saving import BEST, LAST
from vision.training.update import Update
from vision.training.validation import ValidationLoss


class KeptRun:
    """What vision.training.Trainer trains, and keeps in a folder.

    progress: where the run stands. saved_step: step of last.npz, None before the first one. whole: whether weights,
    progress and log are those of one step, so that they may be saved. log, events: open while the run goes on.
    """

    log: Log
    events: Events
    loader: Any
    update: Update | None
    validate: ValidationLoss | None
    waiting: Waiting
    epochs: int
    batch_size: int
    recipe: dict
    total_steps: int
    device: str
    unit: str

    def __init__(self, model: Model, folder: str | os.PathLike, config: Mapping, data: Any):
        self.model, self.folder, self.config, self.data = model, Path(folder), config, data
        self.stages, self.progress, self.started = model.stages(), Progress(), time.monotonic()
        self.summary: dict[str, Any] = {}
        self.saved_step, self.whole, self.changes = None, True, {}
        model.folder = self.folder

    @property
    def stage(self) -> Stage:
        """The current stage."""
        return self.stages[self.progress.stage]

    def batches(self) -> Iterator:
        """The remaining batches of the current epoch: None each in a stage that reads nothing."""
        p, parts = self.progress, self.recipe["accumulate"]
        if self.stage.reads:
            return self.loader.epoch(p.epoch, start=p.batch)
        return repeat(None if parts == 1 else [None] * parts, len(self.loader) - p.batch)

    @property
    def state(self) -> RunState:
        """What a checkpoint holds."""
        parts = self.update.parts if self.update else {}
        if hasattr(self.loader, "state_dict"):  # experience that goes on where it ended
            parts = parts | {"experience/": self.loader}
        return RunState(self.model, parts, self.progress, self.data, len(self.loader), self.config)

    def save(self):
        """Write last.npz: model, optimiser, generators, progress. Raises Diverged instead of saving NaN or infinity."""
        self.progress.log_bytes, self.progress.seconds = self.log.flush(), self.seconds()
        self.state.write(self.folder / LAST)
        self.saved_step = self.progress.step

    def keep_best(self, value: float | None):
        """Count an evaluation by its headline metric; best.npz becomes the model if there was none better."""
        p = self.progress
        p.stale += 1
        if value is not None and math.isfinite(value) and (p.best is None or value > p.best):
            p.best, p.best_epoch, p.stale = value, p.epoch + 1, 0
            self.save_best()

    def save_best(self):
        """Write best.npz: the model alone."""
        self.state.write_model(self.folder / BEST)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The folder is this process's alone, and the log is open."""
        with locked(self.folder), Log(self.folder, self.progress.log_bytes) as self.log:
            with Events(self.folder, self.progress.step) as self.events:
                yield

    def write_log(self, **record):
        """Append a record, with the position of the run, to the log."""
        p = self.progress
        position = {"epoch": p.epoch + 1, "step": p.step, "seconds": round(self.seconds(), 3)}
        position |= {"stage": self.stage.name} if len(self.stages) > 1 else {}
        self.log.write(position | record)
        self.events.write(position | record, p.stage_step if "fit" in record else p.step)

    def write_table(self):
        """Write the epochs of the log as a table."""
        self.log.write_table()

    def log_changes(self):
        """What a run was resumed with that is another than before stands in the log, and stays there."""
        if self.changes:
            self.write_log(changed=self.changes)
            self.save()

    def summarise(self):
        """Log the validation's losses, samples trained on a second, and the memory in bytes."""
        losses = self.validate(self.model, self.stage, self.device) if self.validate else {}
        done = 0 if self.stage.fit else self.waiting.batches * self.batch_size
        done = min(done, len(getattr(self.loader, "dataset", range(done))))  # the last batch may be smaller
        speed = round(done / self.waiting.elapsed, 2) if done else None
        values = {"validation": losses, "speed": speed, "memory": peak_memory(self.device)}
        self.summary = {name: value for name, value in values.items() if value}
        self.write_log(**self.summary)

    def seconds(self) -> float:
        """Seconds spent on the run, over all sessions."""
        return time.monotonic() - self.started

    @contextmanager
    def saved_on_error(self):
        """An error of the block is raised once the steps before it are saved. (Diverged has its own advice.)"""
        try:
            yield
        except (Diverged, Stopped):
            raise
        except Exception:
            if self.whole and self.saved_step != self.progress.step:
                with suppress(OSError, ValueError, MemoryError):
                    self.save()
            raise

    @contextmanager
    def samples_named(self):
        """A ValueError of the block begins with the names of the samples in the current batch."""
        try:
            yield
        except Diverged:
            raise
        except ValueError as error:
            p = self.progress
            names = self.loader.names(p.epoch, p.batch) if self.stage.reads and hasattr(self.loader, "names") else []
            raise ValueError(f"{', '.join(names)}: {error}" if names else str(error)) from error

    def remedy(self) -> str:
        """What to do about a run that has diverged."""
        return (
            f"the checkpoint of step {self.saved_step} stays in {self.folder / LAST}; "
            "start a new run with a lower learning rate, a longer warm-up or a lower clip norm"
        )

    def kept(self) -> str:
        """How much of the run is saved."""
        return "nothing is saved yet" if self.saved_step is None else f"the run is saved up to step {self.saved_step}"

    def stopped(self, signal: int | None = None) -> Stopped:
        """The exception for Ctrl-C and SIGTERM, by their number, and for the time limit."""
        why = "time limit reached" if signal is None else "interrupted"
        stage = f" of stage {self.stage.name}" if len(self.stages) > 1 else ""
        where = f"at step {self.progress.stage_step} of {self.total_steps}{stage}, saved up to step {self.saved_step}"
        return Stopped(f"{why} {where}", signal)

    def title(self) -> str:
        """What stands before the bar."""
        stage = f"{self.stage.name}, " if len(self.stages) > 1 else ""
        return f"{stage}epoch {self.progress.epoch + 1}/{self.epochs}"

    def progress_bar(self) -> Bar:
        """Samples done in the whole stage, with their speed and the time left; no bar without a terminal."""
        done, total = self.progress.stage_step * self.batch_size, self.total_steps * self.batch_size
        return Bar(initial=done, total=total, unit=f" {self.unit}")
