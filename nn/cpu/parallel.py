"""Threads that share the work of one call, and memory of their own."""

import math
import os
import threading
from functools import cache
from itertools import count

import numpy as np

from nn.cpu.memory import keep_freed_memory
from nn.dispatch import limit_blas


@cache
def thread_count() -> int:
    """Threads that share the work inside a layer: NN_THREADS if set, else the cores this process may use."""
    wanted = os.environ.get("NN_THREADS", "")
    if wanted and (not wanted.isdigit() or int(wanted) < 1):
        raise ValueError(f"NN_THREADS must be a whole number of at least 1, got {wanted!r}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(wanted) if wanted else available


class Helper:
    """A call that another thread is to make, unless it comes too late. Far lighter than a Future of the library."""

    def __init__(self, function):
        self.function, self.error = function, None
        self.claimed, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()

    def __call__(self):
        """Make the call, unless `finish` was first."""
        if self.claimed.acquire(blocking=False):
            try:
                self.function()
            except BaseException as error:  # the waiting thread raises it
                self.error = error
            self.done.release()

    def finish(self):
        """Wait for a call that has begun, and raise its error; one that has not is called off."""
        if self.claimed.acquire(blocking=False):
            self.function = None  # it holds arrays, and may stand in the queue for a while
            return
        self.done.acquire()
        if self.error is not None:
            raise self.error


@cache
def _pool():
    """The queue from which the threads of parallel_for take helpers, started at its first use; None for one thread.

    BLAS has one thread, see nn.dispatch.limit_blas. A convolution is many medium-sized products between copies. BLAS's
    own threads speed up only the products; one Python thread per chunk speeds up everything, since NumPy's copies and
    BLAS both release the GIL.
    """
    limit_blas()
    keep_freed_memory()
    if thread_count() == 1:
        return None
    from queue import SimpleQueue  # imported here: `import nn` does without

    helpers = SimpleQueue()
    for i in range(thread_count() - 1):
        threading.Thread(target=_help, args=(helpers,), name=f"nn_{i}", daemon=True).start()
    return helpers


def _help(helpers):
    """Make the calls of the queue, until None comes."""
    while (helper := helpers.get()) is not None:
        helper()
        del helper  # it holds arrays


def parallel_for(task, n: int):
    """Call task(0) ... task(n - 1), shared among threads; returns when all are done.

    The calling thread works too, so nested or concurrent calls cannot wait for each other for ever. Results do not
    depend on the number of threads as long as each task writes only what is its own.
    """
    pool = _pool()
    if pool is None or n <= 1:
        for i in range(n):
            task(i)
        return
    ticket = count()  # next() on a count is atomic: each index is handed out once

    def work():
        while (i := next(ticket)) < n:
            task(i)

    helpers = [Helper(work) for _ in range(min(n, thread_count()) - 1)]
    for helper in helpers:
        pool.put(helper)
    try:
        work()
    finally:
        for helper in helpers:
            helper.finish()


def matmul(a, b):
    """a @ b for matrices (M, K) and (K, N); blocks of the longer side of the result are shared among threads."""
    (m, k), n = a.shape, b.shape[1]
    limit_blas()
    if m * k * n < 1 << 21:
        return a @ b
    if m <= n // 32 and b.T.flags.c_contiguous:  # few rows: faster with the large matrix in front
        return np.ascontiguousarray(matmul(b.T, np.ascontiguousarray(a.T)).T)
    y = np.empty((m, n), np.result_type(a, b))
    step = max(128, min(512, max(m, n) // 4))

    def block(i):
        part = slice(i * step, (i + 1) * step)
        if n >= m:
            np.matmul(a, b[:, part], out=y[:, part])
        else:
            np.matmul(a[part], b, out=y[part])

    parallel_for(block, -(-max(m, n) // step))
    return y


_scratch = threading.local()


def workspace(shape, dtype, slot: int = 0):
    """An uninitialised array for use inside one task: this thread's own memory, overwritten by the next call.

    slot: another number is another array, for tasks that need several at once.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffers = _scratch.__dict__.setdefault("buffers", {})
    if slot not in buffers or buffers[slot].nbytes < size:
        buffers[slot] = np.empty(size, np.uint8)
    return buffers[slot][:size].view(dtype).reshape(shape)
