"""What stands guard around a training loop: interrupts that wait for the end of a step, warnings that keep quiet."""

import contextlib
import os
import signal
import threading
import warnings

MESSAGE = b"\nfinishing this step and saving (once more: stop at once) ...\n"


@contextlib.contextmanager
def interrupts_wait():
    """Yields a list that Ctrl-C or SIGTERM put their number in, instead of breaking into the block; twice breaks in."""
    caught = []

    def note(number, frame):
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        os.write(2, MESSAGE)  # print is not safe in a handler

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield caught
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def overflow_unwarned():
    """No NumPy warnings of overflow and NaN: Diverged names both. (np.errstate would not reach the layers' threads.)"""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(overflow|invalid value|divide by zero) encountered", RuntimeWarning)
        yield
