"""Transfers between CPU and GPU, counted by the line that causes them, and refused where a test says so.

`moved` counts (kind, caller) with the kinds
    "in"    CPU data to the GPU: asarray, array, set
    "out"   GPU values to the CPU: get, asnumpy, item, tolist, float(), int(), bool()
    "wait"  the size of the result is needed, which synchronises: boolean masks, nonzero, unique, bincount
and the caller outside of this package, "file.py:line function".
"""

import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

moved: Counter = Counter()
_forbidden: list[frozenset] = []  # of each active block: the functions where transfers are allowed
_HERE = str(Path(__file__).parent)


class TransferError(RuntimeError):
    """A transfer between CPU and GPU in a block that allows none."""


def record(kind: str) -> None:
    """Count a transfer. TransferError inside `no_transfers`."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    caller = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
    if _forbidden and not any(f.f_code.co_name in _forbidden[-1] for f in _callers(frame)):
        raise TransferError(f"a transfer ({kind}) between CPU and GPU at {caller}")
    moved[kind, caller] += 1


def _callers(frame):
    while frame is not None:
        yield frame
        frame = frame.f_back


@contextmanager
def no_transfers(*but_in: str):
    """Refuse every transfer in the block, except in the functions of these names and in functions that they call."""
    _forbidden.append(frozenset(but_in))
    try:
        yield
    finally:
        _forbidden.pop()


@contextmanager
def count_transfers():
    """A Counter {(kind, caller): times} of the transfers in the block, to be read after it."""
    before, counted = moved.copy(), Counter()
    yield counted
    counted.update(moved - before)
