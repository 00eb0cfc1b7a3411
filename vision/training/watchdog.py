"""An end for a process that waits in vain for a message of the others: one of them hangs, or its machine is gone."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Looks after the waiting of one process, from a thread of its own, since a message of MPI cannot be interrupted.

    limit: seconds that one message may take; 0: any time. give_up: called, once, with what is wrong.
    """

    def __init__(self, limit: float, give_up: Callable[[str], None]):
        self.limit, self.give_up = limit, give_up
        self.waiting: tuple[float, str] | None = None  # since when, and for what
        self.thread: threading.Thread | None = None

    @contextmanager
    def over(self, what: str) -> Iterator[None]:
        """The block waits for the others."""
        if self.limit and self.thread is None:
            self.thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
            self.thread.start()
        self.waiting = time.monotonic(), what
        try:
            yield
        finally:
            self.waiting = None

    @contextmanager
    def off(self) -> Iterator[None]:
        """In the block waiting may take any time: the process of rank 0 prepares something."""
        limit, self.limit = self.limit, 0
        try:
            yield
        finally:
            self.limit = limit

    def _look(self):
        while True:
            time.sleep(min(1.0, self.limit / 4) if self.limit else 1.0)
            waiting = self.waiting
            if waiting and self.limit and time.monotonic() - waiting[0] > self.limit:
                what = f"waited {self.limit:g} seconds for the other processes ({waiting[1]})"
                return self.give_up(f"{what}: one of them hangs or is gone")
