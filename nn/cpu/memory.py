"""Memory of large arrays, kept for the next ones."""

import ctypes
import os
from contextlib import suppress
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # the names of glibc's options, M_..., in malloc.h
LARGEST = 32 << 20  # bytes: the most that glibc takes for the second
SETTINGS = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"  # see mallopt(3)


@cache
def keep_freed_memory() -> None:
    """Tell glibc, for the rest of the process, to keep freed memory, unless the environment has SETTINGS for it.

    Otherwise the memory of a training step goes back to the system at its end, or at once where an array is over
    128 KiB and none as large was freed before; the next step gets it page by page, and the system clears each of them.
    Arrays over 32 MiB still come from the system and go back to it.
    """
    if any(name in os.environ for name in SETTINGS):
        return
    with suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, -1)  # never
