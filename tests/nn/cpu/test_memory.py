"""nn/cpu/memory.py: freed memory is used again, and a C library without mallopt changes nothing."""

import ctypes
import platform
from types import SimpleNamespace

import numpy as np
import pytest

from nn.cpu import memory

COUNT, SIZE = 12, 2 << 20  # arrays, and bytes of each


def faults():
    """Pages that this process has got from the system so far."""
    return pytest.importorskip("resource").getrusage(0).ru_minflt


def made_and_freed():
    """Arrays that are in memory together."""
    return sum(array[0] for array in [np.ones(SIZE, np.uint8) for _ in range(COUNT)])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_memory_of_freed_arrays_is_used_again():
    memory.keep_freed_memory()
    made_and_freed()
    before = faults()
    made_and_freed()
    assert faults() - before < COUNT * SIZE // 4096 // 10  # a tenth of their pages


@pytest.mark.parametrize("library", [SimpleNamespace(), None])
def test_another_c_library(library, monkeypatch):
    def load(name):
        if library is None:
            raise OSError("no such library")
        return library

    for name in memory.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", load)
    memory.keep_freed_memory.__wrapped__()


def test_the_environment_has_the_last_word(monkeypatch):
    def load(name):
        raise AssertionError("glibc was told something")

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    memory.keep_freed_memory.__wrapped__()
