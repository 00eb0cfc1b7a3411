"""Processes that read samples, for a Loader whose threads would wait for each other's Python.

They are started anew (spawn) and get the data set once, pickled. A copy of this process (fork) would also copy locks
that the threads of BLAS or of a loader hold at that moment, and wait for them for ever.

They leave Ctrl-C and SIGTERM to the process that started them, and end with it, however it ends.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import numpy as np

from .listing import name_of
from .samplers import Drawn


class SampleReader(NamedTuple):
    """Samples of a data set, transformed by random numbers that depend on seed, epoch and stream alone: see Loader."""

    dataset: Any
    transform: Callable[[dict, np.random.Generator], dict] | None
    seed: int

    def read(self, epoch: int, drawn: Drawn, stream: int) -> dict:
        """The sample. What fails in the transform is a ValueError that names the sample."""
        sample = self.dataset[drawn.index] | drawn.fields  # a data set's own errors name the file
        if self.transform is None:
            return sample
        try:  # + 1, as [seed, e, 0] is the same seed as [seed, e] to NumPy
            return self.transform(sample, np.random.default_rng([self.seed, epoch, stream + 1]))
        except ValueError as error:
            raise ValueError(f"{name_of(self.dataset, drawn.index)}: {error}") from error


class ReaderProcesses:
    """So many processes with a copy of a SampleReader each. Raises ValueError where it cannot be pickled."""

    def __init__(self, reader: SampleReader, count: int):
        try:
            pickled = pickle.dumps(reader, protocol=5)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"Loader: processes need a data set and a transform that can be pickled ({error}); use threads"
            ) from error
        self.pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, (pickled,))

    def read(self, epoch: int, chunk: Sequence[tuple[Drawn, int]]) -> list[dict]:
        """The samples of a batch, read by one of the processes, whose errors are raised here."""
        try:
            return self.pool.submit(_read, epoch, chunk).result()
        except BrokenProcessPool as error:
            what = "a process that reads samples was ended from outside, or could not begin"
            raise ChildProcessError(f"{what}; is there enough memory? Use fewer --workers, or threads") from error

    def close(self):
        """End the processes, after the batches that they are reading."""
        self.pool.shutdown(wait=False, cancel_futures=True)


_READER: list[SampleReader] = []  # in a process of ReaderProcesses: its own


def _begin(pickled: bytes):
    """What a new process does first."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _READER.append(pickle.loads(pickled))


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _read(epoch, chunk):
    return [_READER[0].read(epoch, *each) for each in chunk]
