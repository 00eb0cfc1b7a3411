"""What is watched while a model trains: how far it is, means of the losses, the time spent waiting for data."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """Where a run stands: with the arrays, all that a checkpoint needs to go on from."""

    stage: int = 0  # stages done
    begun: bool = False  # whether the `begin` of the stage under way was called
    epoch: int = 0  # epochs done of the stage under way, their evaluation included
    batch: int = 0  # batches done of the epoch under way
    step: int = 0  # batches done in all
    stage_step: int = 0  # batches, or rounds of a fit, done of the stage under way
    seconds: float = 0.0  # spent, all sittings together
    best: float | None = None  # best value of the headline metric
    best_epoch: int | None = None
    log_bytes: int = 0  # length of the log; what a killed process wrote beyond it is cut off on resuming


class RunningMean:
    """Mean of each named value over about the last 50 updates, for showing: mean += (value - mean) / min(count, 50)."""

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
    """How long a loop waits for what it goes over: `for batch in waiting.over(batches)`.

    last: seconds that the present batch was waited for; share: the part of the loop's whole time up to the last
    request, or to its end, that all waits make up.
    """

    END = object()

    def __init__(self):
        self.last = self.total = self.elapsed = 0.0

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

    @property
    def share(self) -> float:
        return self.total / self.elapsed if self.elapsed else 0.0
