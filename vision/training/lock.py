"""One process at a time in the folder of a run.

The lock is the operating system's, on a small file in the folder. It ends with its process, however that ends, so a
process that was killed leaves a file, but no lock. A few network file systems have no locks: there the file itself is
the lock, and it is taken over when the process that it names is dead.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from nn.io.checkpoint import remove_temporaries

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

LOCK = ".lock"
FAR = 1 << 20  # Windows locks bytes, and nobody else can read them: one far behind the text is locked
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # what a lock of another process says, by system
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system without locks says
HELD: set[Path] = set()  # lock files of this process


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[Path]:
    """The folder, made where it is missing, for this process alone; half-written files of killed ones are removed.

    A folder that was made here is removed again if it stays empty. A process may lock a folder that it holds already.
    Raises ValueError, naming the process, where another one holds it.
    """
    folder = Path(folder)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / LOCK
    if path in HELD:
        yield folder
        return
    file = _acquire(path, folder)
    HELD.add(path)
    try:
        remove_temporaries(folder)
        yield folder
    finally:
        HELD.discard(path)
        _release(path, file)
        for each in made:
            with contextlib.suppress(OSError):  # it is not empty, or was removed by somebody else
                each.rmdir()


def _acquire(path: Path, folder: Path) -> int:
    """The descriptor of the lock file, locked. ValueError where another process holds it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = _lock(file)
        except BaseException:
            os.close(file)
            raise
        if not free:
            holder = _read(file)
            os.close(file)
            raise ValueError(
                f"{folder}: another process{f' ({holder})' if holder else ''} trains in this folder; wait until it "
                "ends, or give another folder"
            )
        if _is_same(file, path):  # else the one before has removed the file between open and lock
            break
        os.close(file)
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, f"{os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
    return file


def _release(path, file):
    """Remove the file while it is locked where the system can, so that nobody locks a file that is about to go."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            path.unlink()
    os.close(file)
    if fcntl is None:
        with contextlib.suppress(OSError):
            path.unlink()


def _lock(file) -> bool:
    """Lock an open file for this process; False where another process has it."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(file, FAR, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return not _is_alive(_read(file))
        if error.errno in TAKEN:
            return False
        raise
    return True


def _is_same(file, path):
    """Whether the open file still is the one at the path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _read(file) -> str:
    """What the holder wrote: "PID on HOST, since TIME"; "" before it has."""
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, 1000).decode(errors="replace")


def _is_alive(holder: str) -> bool:
    """Whether the process that a lock file names may be alive; one of another host is taken to be."""
    pid, _, host = holder.partition(",")[0].partition(" on ")
    if not pid.isdecimal() or host != socket.gethostname():
        return bool(holder)
    try:
        os.kill(int(pid), 0)  # POSIX only: this is not reached on Windows
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return int(pid) != os.getpid()
