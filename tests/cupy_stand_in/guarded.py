"""Copies of device arrays between guard zones, for a kernel to run on: every access outside them is detected.

A protected page follows the last byte, so reading or writing there is a signal. The bytes between the
page before and the first byte are a pattern (NaN as floats): a write changes it. Launches reuse the pages.
"""

import ctypes
import mmap
from collections import defaultdict

import numpy as np

from .array import ndarray

PAGE, ALIGNMENT, PATTERN, KEPT = mmap.PAGESIZE, 16, 0xFF, 64  # blocks of more pages are not kept for other launches
_UNTOUCHED = bytes([PATTERN]) * (PAGE + ALIGNMENT)
_free: dict[int, list] = defaultdict(list)


class KernelError(RuntimeError):
    """A launch that on a GPU would give an error, wrong results, or by chance neither."""


class Pages:
    """Memory of some pages between two protected ones."""

    def __init__(self, count):
        self.count, memory = count, mmap.mmap(-1, (count + 2) * PAGE)
        self.begin = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + PAGE
        self.end = self.begin + count * PAGE
        libc = ctypes.CDLL(None, use_errno=True)
        for guard in (self.begin - PAGE, self.end):
            if libc.mprotect(ctypes.c_void_p(guard), PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.bytes = np.frombuffer(memory, np.uint8, count * PAGE, PAGE)
        self.bytes[:] = PATTERN


class Guarded:
    """A copy of `nbytes` bytes at `source` that ends at the end of a page, up to alignment. source None: no copy."""

    def __init__(self, source: int | None, nbytes: int):
        count = max(1, -(-nbytes // PAGE))
        self.pages = _free[count].pop() if _free[count] else Pages(count)
        self.source, self.nbytes = source, nbytes
        self.offset = count * PAGE - -(-nbytes // ALIGNMENT) * ALIGNMENT
        self.address = self.pages.begin + self.offset
        if source is not None:
            ctypes.memmove(self.address, source, nbytes)

    def copy_back(self):
        """Copy the bytes back to the original."""
        ctypes.memmove(self.source, self.address, self.nbytes)

    def release(self) -> int | None:
        """Return the pages. The distance in bytes from the start of the copy to a changed guard byte, if any."""
        pages, end = self.pages, self.offset + self.nbytes
        around = pages.bytes[: self.offset].tobytes() + pages.bytes[end:].tobytes()
        if pages.count <= KEPT:
            pages.bytes[:] = PATTERN
            _free[pages.count].append(pages)
        if around == _UNTOUCHED[: len(around)]:
            return None
        around = np.frombuffer(around, np.uint8)
        changed = np.flatnonzero(around != PATTERN) - self.offset  # negative before the start of the copy
        return int(changed[changed < 0][-1]) if changed[0] < 0 else int(changed[0]) + self.nbytes

    def reaches(self, address: int) -> bool:
        """Whether an address is in these pages or the guards around them."""
        return self.pages.begin - PAGE <= address < self.pages.end + PAGE


class Guards:
    """The memory of a launch, as a context: guarded copies of its arrays, copied back at its end.

    arguments {parameter: value}. Raises KernelError at the end where the kernel wrote into a guard zone.
    """

    def __init__(self, kernel: str, arguments: dict, shared_bytes: int):
        self.kernel = kernel
        self.arrays = {name: a for name, a in arguments.items() if isinstance(a, ndarray)}
        self.shared = Guarded(None, shared_bytes)
        self.copies = [Guarded(*span) for span in merge([(a.data.ptr, a.nbytes) for a in self.arrays.values()])]

    def __enter__(self):
        return self

    def address(self, array) -> int:
        """The address of an array's copy; for an array without elements, an address in a protected page."""
        begin = array.data.ptr
        for copy in self.copies:
            if copy.source <= begin < copy.source + copy.nbytes:
                return copy.address + begin - copy.source
        return self.shared.pages.end

    def describe(self, fault: int) -> str:
        """An address outside one of the copies, in words."""
        for copy in self.copies:
            if copy.reaches(fault):
                return self._distance(copy, fault - copy.address)
        return "no argument is near" if not self.shared.reaches(fault) else "in dynamic shared memory or an empty array"

    def _distance(self, copy, offset):
        within = {n: a for n, a in self.arrays.items() if copy.source <= a.data.ptr < copy.source + copy.nbytes}
        name, array = (min if offset < 0 else max)(within.items(), key=lambda item: item[1].data.ptr)
        offset += copy.source - array.data.ptr
        where = f"{-offset} bytes before the begin" if offset < 0 else f"{offset - array.nbytes} bytes after the end"
        return f"{where} of {name} {array.shape} {array.dtype}"

    def __exit__(self, error, *_):
        if error is None:
            for copy in self.copies:
                copy.copy_back()
        changed = [(copy, copy.release()) for copy in self.copies]
        shared = self.shared.release()
        for copy, offset in changed:
            if offset is not None and error is None:
                where = self._distance(copy, offset)
                raise KernelError(f"kernel {self.kernel} writes outside its arguments: {where}")
        if shared is not None and error is None:
            raise KernelError(f"kernel {self.kernel} writes outside its {self.shared.nbytes} bytes of shared memory")


def merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(start, nbytes) of ranges of memory; overlapping ones are merged, empty ones left out."""
    merged = []
    for begin, nbytes in sorted(span for span in spans if span[1]):
        if merged and begin < sum(merged[-1]):
            merged[-1] = merged[-1][0], max(merged[-1][1], begin + nbytes - merged[-1][0])
        else:
            merged.append((begin, nbytes))
    return merged
