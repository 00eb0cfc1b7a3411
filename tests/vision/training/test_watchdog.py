"""A process that hangs: the others give up, and end."""

import copy
import threading
import time

import numpy as np
import pytest

from tests.vision.training.threads import in_threads
from vision.training.communicator import Communicator
from vision.training.watchdog import Watchdog


@pytest.mark.parametrize("hangs", [0, 2])
@pytest.mark.parametrize("message", ["count", "sum of gradients", "error"])
def test_the_others_give_up(hangs, message):
    given_up = threading.Event()

    def work(others):
        others.any(False)
        others.watchdog.limit = 0.1
        if others.rank == hangs:
            return given_up.wait(15)
        if message == "sum of gradients":
            others.sum_vector_ = lambda vector: others.gather(vector)
        began = time.monotonic()
        try:
            if message == "count":
                others.count(1.0)
            elif message == "error":
                with others.failing():
                    raise OSError("no space")
            else:
                others.sum_([np.ones(3)])
        except threading.BrokenBarrierError:
            given_up.set()
            return time.monotonic() - began, others.gave_up
        return None

    results = in_threads(3, work)
    assert results[hangs] == (True, None)
    waited = [result for rank, (result, _) in enumerate(results) if rank != hangs]
    seconds = [each for each, _ in waited]
    assert 0.1 <= max(seconds) < 15  # who comes later is told by the one who waited
    said = [line for _, lines in waited for line in lines]
    wanted = f"waited 0.1 seconds for the other processes ({message}): one of them hangs or is gone"
    assert said and set(said) == {wanted}


def test_what_is_slow_is_waited_for():
    def work(others):
        for _ in range(3):
            time.sleep(0.02 * others.rank)
            others.any(False)
        return others.gave_up

    assert in_threads(2, work, watchdog=60) == [([], None)] * 2
    said = []
    watchdog = Watchdog(0.02, said.append)
    with watchdog.off(), watchdog.over("value"):
        time.sleep(0.2)
    assert said == []
    with watchdog.over("value"):
        watchdog.thread.join(10)
    assert len(said) == 1


def test_without_a_limit_there_is_no_thread():
    watchdog = Watchdog(0, pytest.fail)
    with watchdog.over("count"):
        assert watchdog.thread is None
    assert Communicator().any(True)


def test_a_copy_of_a_model_talks_to_the_same_processes():
    """Layers that synchronise hold the communicator; its watchdog has a thread, which cannot be copied."""
    communicator = Communicator(watchdog=60)
    with communicator.watchdog.over("a message"):
        assert copy.deepcopy({"others": communicator})["others"] is communicator
