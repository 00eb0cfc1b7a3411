"""What crosses between host and device, counted by the line that asks for it, and refused where a test says so.

`moved` counts (kind, place) with the kinds
    "in"    host data to the device: asarray, array, set
    "out"   device values to the host: get, asnumpy, item, tolist, float(), int(), bool()
    "wait"  the host has to know a number before it can go on: boolean masks, nonzero, unique, bincount
and place "file.py:line function" of the caller outside of this package.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

moved: Counter = Counter()
_forbidden: list[frozenset] = []  # of each block that is being run: the functions where a transfer is right
_HERE = str(Path(__file__).parent)


class TransferError(RuntimeError):
    """A transfer between host and device where the code says that there is none."""


def record(kind: str) -> None:
    """Count a transfer. TransferError inside `no_transfers`."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
    if _forbidden and not any(f.f_code.co_name in _forbidden[-1] for f in _callers(frame)):
        raise TransferError(f"a transfer ({kind}) between host and device at {place}")
    moved[kind, place] += 1


def _callers(frame):
    while frame is not None:
        yield frame
        frame = frame.f_back


@contextmanager
def no_transfers(*but_in: str):
    """Refuse every transfer in the block, but in the functions of these names and in what they call."""
    _forbidden.append(frozenset(but_in))
    try:
        yield
    finally:
        _forbidden.pop()


@contextmanager
def count_transfers():
    """A Counter {(kind, place): times} of the transfers in the block, to be read after it."""
    before, counted = moved.copy(), Counter()
    yield counted
    counted.update(moved - before)
