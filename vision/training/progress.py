"""What is tracked while a model trains: progress, means of the losses, speed, waiting for data, memory."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nn.gpu.device import import_cupy


@dataclass
class Progress:
    """The progress of a run: with the arrays, everything that a checkpoint needs to resume it."""

    stage: int = 0  # stages done
    begun: bool = False  # whether the `begin` of the current stage was called
    epoch: int = 0  # epochs done of the current stage, with their evaluation
    batch: int = 0  # batches done of the current epoch
    step: int = 0  # batches done in all
    stage_step: int = 0  # batches, or rounds of a fit, done of the current stage
    seconds: float = 0.0  # time spent, over all sessions
    best: float | None = None  # best value of the headline metric
    best_epoch: int | None = None
    stale: int = 0  # evaluations since the best one
    log_bytes: int = 0  # length of the log; lines that a killed process wrote after it are removed on resuming

    def begin_stage(self):
        """Reset what is counted within a stage."""
        self.epoch, self.batch, self.stage_step, self.begun = 0, 0, 0, False
        self.best, self.best_epoch, self.stale = None, None, 0


class RunningMean:
    """Mean of each named value over about the last 50 updates: mean += (value - mean) / min(count, 50)."""

    def __init__(self):
        self.means, self.count = {}, 0

    def update(self, values: dict[str, float]):
        self.count += 1
        for name, value in values.items():
            mean = self.means.get(name, 0.0)
            self.means[name] = mean + (value - mean) / min(self.count, 50)

    def __str__(self):
        return ", ".join(f"{name} {value:.3f}" for name, value in self.means.items())


class Waiting:
    """The time that a loop waits for its batches: `for batch in waiting.over(batches)`.

    last: seconds of waiting for the current batch; share: the fraction of the loop's time, up to the last request or
    to its end, that was spent waiting. batches: so many were asked for and done; elapsed: in so many seconds.
    """

    END = object()

    def __init__(self):
        self.last = self.total = self.elapsed = 0.0
        self.batches = 0

    def over(self, batches: Iterable) -> Iterator[Any]:
        """The same batches."""
        began, batches = time.monotonic(), iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(batches, self.END)
            now = time.monotonic()
            self.last, self.elapsed = now - asked, now - began
            self.total += self.last
            if batch is self.END:
                return
            yield batch
            self.batches += 1

    @property
    def share(self) -> float:
        return self.total / self.elapsed if self.elapsed else 0.0


def peak_memory(device: str) -> int | None:
    """The most bytes of memory that this process has held so far, or those of the GPU that CuPy holds. None where the
    system does not say."""
    if device == "gpu":
        return import_cupy().get_default_memory_pool().total_bytes()
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
