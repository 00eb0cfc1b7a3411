"""What every test finds as it would be in a terminal."""

import signal
import sys

import pytest

import nn


@pytest.fixture(autouse=True, scope="session")
def cached_bytecode(tmp_path_factory):
    """Where Python is told to write no bytecode, all processes that tests start would compile every module again."""
    if sys.dont_write_bytecode:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
            yield
    else:
        yield


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Tests write thousands of checkpoints of a few kilobytes; none of them has to outlast a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def ctrl_c_interrupts():
    """A shell starts its background jobs with SIGINT ignored, and Python leaves it at that: some tests send it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def same_draws():
    """Layers made without an rng draw the same in a test, whichever tests ran before."""
    nn.seed(0)
