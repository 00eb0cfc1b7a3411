"""The checkpoint of a run, last.npz: the model, and all that the next steps depend on."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nn.gpu.device import to_device
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from vision.model import Model
from vision.options import complete
from vision.training.endings import Diverged
from vision.training.progress import Progress
from vision.training.saving import BEST, load_state, prefixed, unprefixed


class RunState(NamedTuple):
    """What a run consists of, in memory.

    parts: what has a state_dict, such as the optimiser, by the beginning of its names in the file. data: a JSON-able
    fingerprint of the training data. config: JSON-able, for whoever reads the file.
    """

    model: Model
    parts: Mapping[str, Any]
    progress: Progress
    data: Any
    steps_per_epoch: int
    config: Mapping[str, Any]

    def meta(self) -> dict[str, Any]:
        """The meta data of a checkpoint, of the run or of the model alone."""
        run = {"config": self.config, "data": self.data, "steps_per_epoch": self.steps_per_epoch}
        return {"model": self.model.config, "progress": asdict(self.progress)} | run

    def write(self, path: str | os.PathLike):
        """Write the run. Raises Diverged instead of writing NaN or infinity."""
        arrays = prefixed("model/", self.model.state_dict())
        for beginning, part in self.parts.items():
            arrays |= prefixed(beginning, part.state_dict())
        arrays = to_device(arrays, "cpu")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise Diverged(f"step {self.progress.step}: {name} is not finite")
        generators = {name: g.bit_generator.state for name, g in self.model.generators().items()}
        write_checkpoint(path, arrays, self.meta() | {"generators": generators})

    def write_model(self, path: str | os.PathLike):
        """Write the model alone, as the best one."""
        write_checkpoint(path, prefixed("model/", self.model.state_dict()), self.meta())


class SavedRun(NamedTuple):
    """A run as read from a file."""

    path: Path
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def progress(self) -> Progress:
        """How far the run is. ValueError for a progress that no run has."""
        try:
            progress = complete("progress", Progress, self.meta["progress"])
            if min(value for value in asdict(progress).values() if type(value) is int) >= 0:
                return progress
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise ValueError(f"{self.path}: damaged, it does not say how far the run is; take another copy")

    def restore(self, run: RunState):
        """Load everything but the progress. Raises ValueError for another model, other data, other parts."""
        load_state(self.path, run.model, self.arrays, self.meta)
        self._check_data(run)
        try:
            for beginning, part in run.parts.items():
                part.load_state_dict(unprefixed(beginning, self.arrays))
            for name, generator in run.model.generators().items():
                generator.bit_generator.state = self.meta["generators"][name]
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}; it was written by a run of another kind") from error
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"{self.path}: damaged, it lacks the state of a generator; take another copy") from error

    def _check_data(self, run):
        was, now = self.meta.get("steps_per_epoch"), run.steps_per_epoch
        advice = "restore the data it was started with, or start a new run"
        if was != now or self.progress.batch > now:
            raise ValueError(f"{self.path}: the run had {was} batches in an epoch, now there are {now}; {advice}")
        if self.meta.get("data") != run.data:
            differ = different(self.meta.get("data"), run.data)
            raise ValueError(f"{self.path}: the run was started with other data: {differ}; {advice}")


def different(was: Any, now: Any) -> str:
    """In what two fingerprints {split: {what: value}} differ, in words."""
    if not isinstance(was, dict) or not isinstance(now, dict):
        return f"{was}, now {now}"
    both = {split: (was.get(split) or {}, now.get(split) or {}) for split in was | now}
    return "; ".join(
        f"{split} had {', '.join(f'{name} {before.get(name)}' for name in before | after)}, "
        f"now {', '.join(f'{name} {after.get(name)}' for name in before | after)}"
        for split, (before, after) in both.items()
        if before != after
    )


def read_run(path: str | os.PathLike) -> SavedRun:
    """The run in a checkpoint. Raises ValueError naming the path if it is missing, damaged or holds a model alone."""
    arrays, meta = read_checkpoint(path)
    if "generators" not in meta:
        raise ValueError(f"{path}: holds a model alone, as {BEST} does, not a run; start a new run with its weights")
    return SavedRun(Path(path), arrays, meta)
