"""The same batches from processes as from threads, and no process that outlives the one that started it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from datasets import Loader, Shapes, colour_jitter, compose, detection_batch, horizontal_flip

collate = partial(detection_batch, mean=(120, 110, 100), std=60)
transform = compose(horizontal_flip, partial(colour_jitter, brightness=0.2, contrast=0.2, saturation=0.2))


class Scenes(Shapes):
    """12 scenes, of which one cannot be read."""

    def __init__(self):
        super().__init__(12, size=(32, 48), seed=1)

    def __getitem__(self, index):
        if index == 7:
            raise ValueError("scene 7.jpg is damaged")
        return super().__getitem__(index)


def outcome(loader, epoch, start=0):
    """The bytes of the batches, and the error that ends them."""
    found = []
    try:
        for images, targets in loader.epoch(epoch, start):
            found.append((images.tobytes(), [target["boxes"].tobytes() for target in targets]))
    except ValueError as error:
        found.append(str(error))
    return found


def test_processes_and_threads_give_the_same_batches():
    threads, processes = (
        Loader(Scenes(), 2, collate, transform=transform, seed=4, workers=1, processes=use) for use in (False, True)
    )
    for epoch, start in ((0, 0), (3, 0), (3, 1)):  # also after an error
        wanted = outcome(threads, epoch, start)
        assert wanted[-1] == "scene 7.jpg is damaged" and outcome(processes, epoch, start) == wanted
    os.kill(next(iter(processes.processes.pool._processes)), signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="a process that reads samples was ended from outside"):
        list(processes.epoch(0))
    processes.close()


def test_what_cannot_be_pickled_is_refused():
    with pytest.raises(ValueError, match=r"processes need a data set and a transform that can be pickled .*threads"):
        Loader(Scenes(), 2, collate, transform=lambda sample, rng: sample, workers=1, processes=True)


PROGRAM = """
import sys, time
from tests.datasets.test_reader_processes import Loader, Scenes, collate
loader = Loader(Scenes(), 1, collate, shuffle=False, workers=1, processes=True)
batches = loader.epoch(0)
next(batches)
try:
    print(*loader.processes.pool._processes, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print(len(next(batches)), len(next(batches)), len(next(batches)), flush=True)
    time.sleep(60)
"""


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_they_outlive_ctrl_c_but_not_the_process_that_started_them():
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as program:
        pids = list(map(int, program.stdout.readline().split()))
        assert len(pids) == 1 and all(map(is_running, pids))
        os.killpg(program.pid, signal.SIGINT)  # as a terminal's Ctrl-C: all of the group get it
        assert program.stdout.readline().split() == ["2", "2", "2"]  # images and targets of three more batches
        program.kill()
    end = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_running, pids))
