"""Where arrays live and who works on them: NumPy or CuPy, and threads that share a batch."""

import math
import os
import sys
import threading
from functools import cache
from itertools import count
from types import ModuleType

import numpy as np


class _Switches(type):
    """The class of `config`: tells CuPy where a switch is its own."""

    def __setattr__(cls, name, value):
        super().__setattr__(name, value)
        if name == "tf32" and "cupy" in sys.modules:
            set_tf32(sys.modules["cupy"], value)


class config(metaclass=_Switches):  # noqa: N801  (a namespace, not something to make instances of)
    """Switches for the whole library, such as `nn.config.plain = True`."""

    plain = False  # True: the plain version of every algorithm, to step through
    winograd = True  # False: no Winograd convolutions, which round more: see nn.winograd
    deterministic = True  # False: kernels may add up in any order where that is faster; then two runs may differ
    tf32 = False  # True: matrix products of float32 on the GPU round their factors to 10 bits, and are faster


def set_tf32(cupy, wanted: bool):
    """Whether CuPy multiplies float32 matrices in tensor-float-32, which GPUs before Ampere lack: CuPy warns there."""
    linalg = cupy._core._routines_linalg  # where CuPy has this switch; the environment's CUPY_TF32 sets it, too
    kind = linalg.COMPUTE_TYPE_TF32 if wanted else linalg.COMPUTE_TYPE_DEFAULT
    linalg.set_compute_type(np.float32, kind)


def array_module(*arrays) -> ModuleType:
    """The module whose arrays these are: cupy if any of them is CuPy's, else numpy.

    CuPy is looked up among the modules already imported, so `import nn` never needs CUDA:
    whoever holds a CuPy array has imported it.
    """
    cupy = sys.modules.get("cupy")
    if cupy is not None and any(isinstance(a, cupy.ndarray) for a in arrays):
        return cupy
    return np


@cache
def thread_count() -> int:
    """Threads that share the work inside a layer: NN_THREADS if set, else the cores this process may use."""
    wanted = os.environ.get("NN_THREADS", "")
    if wanted and (not wanted.isdigit() or int(wanted) < 1):
        raise ValueError(f"NN_THREADS must be a whole number of at least 1, got {wanted!r}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(wanted) if wanted else available


@cache
def _pool():
    """The helpers of parallel_for, started at its first use, and BLAS told to leave the threading to us.

    A convolution is many medium-sized products between copies. BLAS's own threads speed up only the products; one
    Python thread per piece speeds up everything, since NumPy's copies and BLAS both release the GIL.
    """
    from concurrent.futures import ThreadPoolExecutor  # imported here: these two would be a fifth of `import nn`

    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1, user_api="blas")
    return ThreadPoolExecutor(thread_count() - 1, thread_name_prefix="nn") if thread_count() > 1 else None


def parallel_for(task, n: int, xp=np):
    """Call task(0) ... task(n - 1), shared among threads; returns when all are done. On a GPU (xp is cupy): in turn.

    The calling thread works too, so nested or concurrent calls cannot wait for each other for ever. Results do not
    depend on the number of threads as long as each task writes only what is its own.
    """
    pool = _pool()
    if pool is None or n <= 1 or xp is not np:
        for i in range(n):
            task(i)
        return
    ticket = count()  # next() on a count is atomic: each index is handed out once

    def work():
        while (i := next(ticket)) < n:
            task(i)

    helpers = [pool.submit(work) for _ in range(min(n, thread_count()) - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            if not helper.cancel():  # not started yet: nothing is left for it to do
                helper.result()


def matmul(a, b):
    """a @ b for matrices (M, K) and (K, N); blocks of the longer side of the result are shared among threads."""
    (m, k), n = a.shape, b.shape[1]
    if array_module(a, b) is not np or config.plain or m * k * n < 1 << 21:
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
