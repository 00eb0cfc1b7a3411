"""One process in a folder: a second one is refused, a killed one is no hindrance, nothing is left behind."""

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vision.training import lock
from vision.training.lock import LOCK, locked

ROOT = Path(__file__).parents[3]
IMPORT = (  # lock.py alone: all of vision would take a second of each process
    "import importlib.util, sys, time\n"
    f"spec = importlib.util.spec_from_file_location('lock', {lock.__file__!r})\n"
    "lock = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(lock)\nlocked = lock.locked\n"
)
PROGRAM = f"{IMPORT}with locked(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder tmp_path / "run"."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path / "run"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def test_a_second_process_is_refused_and_the_first_one_named(holder, tmp_path):
    held = rf"run: another process \({holder.pid} on {socket.gethostname()}, since \d{{4}}-.*\) trains in this folder"
    for _ in range(2):
        with pytest.raises(ValueError, match=held), locked(tmp_path / "run"):
            pytest.fail("two processes hold it")
    assert (tmp_path / "run" / LOCK).exists()


def test_the_lock_of_a_killed_process_is_taken_over(holder, tmp_path):
    (tmp_path / "run/last.npz").write_text("")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).read_text().startswith(f"{holder.pid} on ")
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text().startswith(f"{os.getpid()} on ")
    assert os.listdir(tmp_path / "run") == ["last.npz"]


def test_of_many_that_start_at_once_one_gets_it(tmp_path):
    program = (
        f"{IMPORT}print('ready', flush=True)\nsys.stdin.readline()\n"
        "try:\n    with locked(sys.argv[1]):\n        print('held', flush=True)\n        sys.stdin.readline()\n"
        "except ValueError:\n    print('refused', flush=True)\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "run"], cwd=ROOT, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]  # fmt: skip
    assert {child.stdout.readline() for child in children} == {"ready\n"}
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    said = sorted(child.stdout.readline() for child in children)
    for child in children:
        child.communicate(timeout=60)  # ends the one that holds it
    assert said == ["held\n"] + ["refused\n"] * 5


def test_a_folder_that_stayed_empty_is_removed_with_those_above_it(tmp_path):
    with locked(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()
    assert os.listdir(tmp_path) == []
    (tmp_path / "old").mkdir()
    with locked(tmp_path / "old"):
        pass
    with locked(tmp_path / "a/c"):
        (tmp_path / "a/c/last.npz").write_text("")
    assert sorted(os.listdir(tmp_path)) == ["a", "old"]


def test_a_process_may_lock_again_what_it_holds(tmp_path):
    with locked(tmp_path / "run"):
        with locked(tmp_path / "x/../run"):
            pass
        assert (tmp_path / "run" / LOCK).exists()
    assert not (tmp_path / "run").exists()


def test_an_error_inside_gives_it_back(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_half_written_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    for name in (".last.npz.4711.tmp", ".best.npz.1.tmp", ".mine.tmp", "a.tmp", ".last.npz.x.tmp"):
        (tmp_path / name).write_text("half")
    with locked(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".last.npz.x.tmp", LOCK, ".mine.tmp", "a.tmp"]


def test_a_folder_that_is_removed_meanwhile(tmp_path):
    with locked(tmp_path / "run"):
        (tmp_path / "run" / LOCK).unlink()
        (tmp_path / "run").rmdir()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(lock.fcntl is None, reason="flock is POSIX's")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_of_the_file_system_the_file_names_the_holder(tmp_path, monkeypatch, code):
    def flock(*_):
        raise OSError(code, "no locks here")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with locked(tmp_path):
        pass
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / LOCK).write_text(f"{child.pid} on {socket.gethostname()}, since today")
    with pytest.raises(ValueError, match=rf"another process \({child.pid} on .*, since today\)"), locked(tmp_path):
        pytest.fail("its process is alive")
    child.kill()
    child.wait()
    with locked(tmp_path):
        pass
    (tmp_path / LOCK).write_text(f"{child.pid} on another host, since today")
    with pytest.raises(ValueError, match="another host"), locked(tmp_path):
        pytest.fail("nobody knows whether it is alive")


@pytest.mark.skipif(lock.fcntl is None, reason="flock is POSIX's")
def test_windows_locks_a_byte_behind_the_text(tmp_path, monkeypatch):
    """A stand-in for msvcrt that keeps a byte of one file for one descriptor, as the system does."""

    class Msvcrt:
        LK_NBLCK = 2
        taken = {}  # noqa: RUF012

        def locking(self, file, mode, count):
            key = os.fstat(file).st_ino, os.lseek(file, 0, os.SEEK_CUR)
            assert mode == self.LK_NBLCK and count == 1 and key[1] == lock.FAR
            if self.taken.setdefault(key, file) != file:
                raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "msvcrt", Msvcrt(), raising=False)
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} on ")
        monkeypatch.setattr(lock, "HELD", set())
        with pytest.raises(ValueError, match=f"another process \\({os.getpid()} on "), locked(tmp_path):
            pytest.fail("two descriptors hold it")
    assert os.listdir(tmp_path) == []
