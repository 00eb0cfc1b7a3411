"""Several processes of one training run, as threads that exchange through lists."""

import threading

import numpy as np

from vision.training.communicator import Communicator


class Threads(Communicator):
    """A communicator of threads. shared: (barrier, list of what each has sent)."""

    def __init__(self, rank, size, shared, watchdog=0):
        super().__init__(watchdog)
        self.rank, self.size, (self.barrier, self.sent) = rank, size, shared
        self.gave_up = []

    def gather(self, value):
        self.sent[self.rank] = value
        self.barrier.wait(timeout=20)
        everything = list(self.sent)
        self.barrier.wait(timeout=20)
        return everything

    def give_up(self, message):
        self.gave_up.append(message)
        self.barrier.abort()

    def sum_vector_(self, vector):
        vector[...] = np.sum(self.gather(vector.copy()), axis=0)


def in_threads(size, work, watchdog=0):
    """work(communicator) in `size` threads -> [(its result, its error)] by rank."""
    shared, results = (threading.Barrier(size), [None] * size), [None] * size

    def run(rank):
        try:
            results[rank] = work(Threads(rank, size, shared, watchdog)), None
        except Exception as error:
            results[rank] = None, error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    return results
