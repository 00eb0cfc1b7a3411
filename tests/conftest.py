"""What every test finds as it would be in a terminal."""

import signal

import pytest


@pytest.fixture(autouse=True)
def ctrl_c_interrupts():
    """A shell starts its background jobs with SIGINT ignored, and Python leaves it at that: some tests send it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
