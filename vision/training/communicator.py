"""What the processes of one run tell each other: synchronous data parallelism.

Every process has the whole model and takes its share of each batch. Losses divide by what the whole batch counts, so
the gradients of the shares add up to that of the batch; all processes then make the same step.

Reference: Goyal et al. 2017, Accurate, large minibatch SGD: training ImageNet in 1 hour, arXiv:1706.02677, sec. 3-4.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from vision.training.watchdog import Watchdog

GAVE_UP = 75  # exit status: EX_TEMPFAIL of sysexits.h
BUCKET = 1 << 22  # elements that are summed by one message


class OtherFailed(Exception):  # noqa: N818
    """Another process has failed; str() is its message. (Not a ValueError: no sample of this process is to blame.)"""


class Communicator:
    """One process alone, and what the communicators of several have in common.

    All processes make the same calls in the same order. A process that fails says so instead of its next call, and the
    others raise OtherFailed: none waits for ever.

    rank: 0 .. size - 1; the process of rank 0 writes the files. size: of them. watchdog: seconds that a message may
    take, 0 for any time; then the process ends, see give_up.
    """

    rank: int = 0
    size: int = 1
    over: bool = False  # whether a failure was sent to the others
    where: str = "cpu"  # the device of the vectors that are summed

    def __init__(self, watchdog: float = 0):
        self.watchdog = Watchdog(watchdog, self.give_up)

    def __deepcopy__(self, memo) -> "Communicator":
        """Itself: a copy of a model whose layers synchronise talks to the same processes."""
        return self

    def exchange(self, kind: str, value: Any) -> list[Any]:
        """The values of all processes, by rank. kind: what the value is, to notice if another sends something else.

        Raises OtherFailed, and ValueError where the processes do not send the same kind.
        """
        return [message for _, message in self._sent(kind, value)]

    def stand_by(self, until: str) -> list[Any]:
        """What the others exchange as `until`: a process without a sample in this batch lets them count until then."""
        while True:
            sent = self._sent("idle", None)
            if sent[0][0] == until:
                return [message for _, message in sent]

    def _sent(self, kind, value):
        """[(kind, value)] of the processes that are not idle."""
        with self.watchdog.over(kind):
            sent = self.gather((kind, value))
        for rank, (other, message) in enumerate(sent):
            if other == "error":
                self.over = True
                raise OtherFailed(f"process {rank} of {self.size}: {message}")
        sent = [each for each in sent if each[0] != "idle"]
        if len({other for other, _ in sent}) > 1:
            kinds = ", ".join(other for other, _ in sent)
            raise ValueError(f"the processes are not at the same point of the training: {kinds}")
        return sent

    def count(self, value: float) -> float:
        """The sum of a count over all processes; see nn.losses.parts.batch_in_parts."""
        return sum(self.exchange("count", value))

    def check_equal(self, what: str, value: Any):
        """ValueError unless all processes have the same value."""
        values = self.exchange(what, value)
        if any(each != value for each in values):
            raise ValueError(f"the processes have other {what}: {', '.join(map(str, values))}")

    def any(self, flag: Any) -> bool:
        """Whether the flag of any process is true."""
        return any(self.exchange("flag", bool(flag)))

    def broadcast(self, value: Any) -> Any:
        """The value of the process of rank 0."""
        return self.exchange("value", value)[0]

    @contextmanager
    def failing(self) -> Iterator[None]:
        """An error of the block is sent to the other processes before it is raised."""
        try:
            yield
        except BaseException as error:
            if not self.over:
                self.over = True
                with self.watchdog.over("error"):
                    self.gather(("error", f"{type(error).__name__}: {error}" if str(error) else type(error).__name__))
            raise

    @contextmanager
    def first(self) -> Iterator[None]:
        """The block is done by the process of rank 0 before the others begin it: to write files that they read."""
        if self.rank:
            with self.watchdog.off():
                self.broadcast(None)
        yield
        if not self.rank:
            self.broadcast(None)

    def sum_(self, arrays: Sequence[np.ndarray]):
        """Replace each array by its sum over all processes: packed into long vectors, a message each."""
        for bucket in buckets(arrays):
            flat = [to_device(array, self.where).ravel() for array in bucket]
            packed = array_module(flat[0]).concatenate(flat)
            with self.watchdog.over("sum of gradients"):
                self.sum_vector_(packed)
            start = 0
            for array in bucket:
                part = packed[start : start + array.size].reshape(array.shape)
                array[...] = to_device(part, device_of(array))
                start += array.size

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        return [value]

    def sum_vector_(self, vector: np.ndarray):
        """Replace a vector by its sum over all processes."""

    def give_up(self, message: str):
        """End this process, which waits in vain, at once: with a line on stderr, and without cleaning up."""
        time.sleep(self.rank)  # the others' launcher ends them meanwhile: one line
        sys.__stderr__.write(f"error: process {self.rank} of {self.size} {message}\n")
        sys.__stderr__.flush()
        os._exit(GAVE_UP)


def buckets(arrays: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The arrays in groups of one dtype, of BUCKET elements together or little more."""
    waiting: dict[Any, list[np.ndarray]] = {}
    for array in arrays:
        bucket = waiting.setdefault(array.dtype, [])
        bucket.append(array)
        if sum(each.size for each in bucket) >= BUCKET:
            yield waiting.pop(array.dtype)
    yield from waiting.values()


class MPICommunicator(Communicator):
    """The processes that mpiexec has started. Needs mpi4py and an MPI library: the extra `mpi`."""

    def __init__(self, watchdog: float = 0):
        super().__init__(watchdog)
        from mpi4py import MPI

        self.world, self.in_place = MPI.COMM_WORLD, MPI.IN_PLACE
        self.rank, self.size = self.world.rank, self.world.size

    def gather(self, value):
        return self.world.allgather(value)

    def sum_vector_(self, vector):
        self.world.Allreduce(self.in_place, vector)


# What launchers of MPI tell their processes about how many they are: MPICH and Intel, Open MPI, Slurm.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "MPI_LOCALNRANKS")


EVALUATORS: ContextVar[Communicator] = ContextVar("EVALUATORS", default=Communicator())  # noqa: B039 (nothing changes)


@contextmanager
def evaluated_together(others: Communicator) -> Iterator[None]:
    """In the block, the processes share the predictions of an evaluation: see vision.task.predicted."""
    token = EVALUATORS.set(others)
    try:
        yield
    finally:
        EVALUATORS.reset(token)


def communicator(watchdog: float = 0, device: str = "cpu") -> Communicator:
    """That of the processes started by mpiexec, or of this one alone. On GPUs NCCL sums where each process has one of
    its own. ValueError where mpi4py is missing.
    """
    if not any(int(os.environ.get(name, "1")) > 1 for name in SIZES):
        return Communicator()
    try:
        others = MPICommunicator(watchdog)
    except ImportError as error:
        raise ValueError(f"started by mpiexec, but {error}; install the extra: pip install -e '.[mpi]'") from None
    if device == "gpu":
        from vision.training.nccl import NCCLCommunicator, choose_device, has_nccl

        if choose_device(others) and has_nccl(others):
            return NCCLCommunicator(watchdog)
    return others
