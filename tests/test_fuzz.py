"""A slice of the fuzz run, and that it finds what it is for."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import fuzz, whole_data
from tests.whole_data import READERS, Reader


def test_damaged_files_are_refused_by_name_or_read_right():
    """In a process of its own, as it forks; `python -m tests.fuzz --count 20000` is the whole."""
    command = [sys.executable, "-m", "tests.fuzz", "--count", "78", "--seed", "3"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    total = next(line for line in done.stdout.splitlines() if line.startswith("all "))
    files, read, refused, faults = map(int, total.split()[1:5])
    assert (files, faults) == (78, 0) and read > 15 and refused > 30


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(name, tmp_path):
    READERS[name].write(tmp_path)
    outcome = fuzz.attempt(name, tmp_path)
    assert outcome.kind == "read", outcome


def fail(error):
    def read(folder):
        raise error

    return read


def sleep(folder):
    started = time.process_time()
    while time.process_time() < started + 0.3:
        pass


@pytest.mark.parametrize(
    "read, message",
    [
        (fail(KeyError("a")), "KeyError at test_fuzz.py"),
        (fail(ValueError("damaged")), "no path: damaged"),
        (fail(MemoryError()), "MemoryError"),
        (fail(RecursionError("deep")), "RecursionError"),
        (lambda folder: whole_data.check_sample({"image": None}, ()), "AttributeError"),
        (sleep, "0.3 s, "),
    ],
)
def test_faults_are_found(monkeypatch, capsys, read, message):
    monkeypatch.setitem(READERS, "planted", Reader(lambda folder: (folder / "a").write_bytes(b"abc"), read))
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    monkeypatch.setattr(fuzz, "in_a_fork", fuzz.attempt)
    assert fuzz.main(["planted", "--count", "1"]) == 1
    assert "planted --only 0 (a): FAULT " in (out := capsys.readouterr().out)
    assert message in out


def test_too_much_memory_is_found(monkeypatch, tmp_path):
    monkeypatch.setitem(READERS, "planted", Reader(None, lambda folder: None))
    peaks = iter([100.0, 700.0])
    monkeypatch.setattr(fuzz, "peak", lambda: next(peaks))
    assert fuzz.attempt("planted", tmp_path)[:2] == ("FAULT", "0.0 s, 600 MB, then read: ")
