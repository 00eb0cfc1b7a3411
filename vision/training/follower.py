"""A process that trains along with the Trainer of rank 0, and writes nothing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vision.training.trainer import Trainer


class Follower(Trainer):
    """Computes its share of each batch and makes the same steps. Files, pictures and evaluations are the Trainer's, who
    also decides about Ctrl-C.
    """

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Nothing is opened; Ctrl-C, which all processes get, is left to the Trainer."""
        in_main = threading.current_thread() is threading.main_thread()  # only there handlers may be set
        before = [(n, signal.signal(n, signal.SIG_IGN)) for n in (signal.SIGINT, signal.SIGTERM) if in_main]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def save(self):
        self.saved_step = self.progress.step

    def save_best(self):
        pass

    def write_log(self, **record):
        pass

    def write_table(self):
        pass

    def summarise(self):
        pass
