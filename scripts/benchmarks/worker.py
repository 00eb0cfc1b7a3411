"""A process that does one side's works on demand: a line of JSON comes in, a line goes out.

{"prepare": name}   the case's weights and inputs, and two calls to warm up; gives seconds of the second one, the
                    multiply-adds and, of ours on a GPU, the least bytes to read and write and the kernels launched
{"run": count}      gives seconds, a list
{"finish": true}    gives the peak memory of the case in bytes (null where the system does not tell), and lets it go
{"first": name}     seconds, a list, of ten calls of the case's work in a process that has computed nothing before
{"machine": true}   the machine's matrix products: float32 multiply-adds a second; of a GPU bytes a second of a copy,
                    and its name

The memory of a case is the peak of this process from the first call on, less what it held before the case was prepared.
"""

import ctypes
import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from threadpoolctl import threadpool_limits

import nn
import nn.gpu.kernels
from nn.cpu.parallel import matmul
from nn.gpu.device import import_cupy
from scripts.benchmarks.cases import CASES, Case
from scripts.benchmarks.work import normal

PRODUCTS = [(1024, 1024, 1024), (2048, 2048, 2048), (512, 4608, 3136)]  # M, K, N; the last is a convolution's


def torch_work(case: Case, small: bool = False, device: str = "cpu"):
    """The work of a case by PyTorch, on the weights and inputs that ours has."""
    from scripts.benchmarks import torch_side  # PyTorch may be missing where it is not asked for

    return torch_side.work(case, case.work(small), device)


class Worker:
    """What the commands do. A side says in `make` which work is to be called, and waits for its device."""

    device = "cpu"

    def make(self, case: Case) -> tuple[Callable, dict]:
        """The case's work, and what is known of it: "multiply_adds", "bytes", "kernels"."""
        raise NotImplementedError

    def synchronise(self):
        """Wait until the device has finished its work."""

    def prepare(self, name: str):
        release()
        before = resident()
        self.work, facts = self.make(CASES[name])
        release()
        self.before = before if self.device == "cpu" and reset_peak() else None
        return {"seconds": [self.timed(), self.timed()][1], **facts}

    def run(self, count: int):
        self.timed()  # what the other side has driven out of the caches comes back
        return {"seconds": [self.timed() for _ in range(count)]}

    def first(self, name: str):
        work = CASES[name].work().to(self.device)
        return {"seconds": [self.timed(work) for _ in range(10)]}

    def finish(self, _):
        self.work = None
        return {"peak": None if self.before is None else max(0, resident("VmHWM") - self.before)}

    def timed(self, function: Callable | None = None, *args):
        began = time.perf_counter()
        (function or self.work)(*args)
        self.synchronise()
        return time.perf_counter() - began


class Ours(Worker):
    """NumPy on the CPU, CuPy on the GPU."""

    def __init__(self, device: str, threads: int, plain: bool):
        nn.config.plain, self.threads, self.device = plain, threads, device
        self.cupy = import_cupy() if device == "gpu" else None

    def make(self, case):
        work = case.work().to(self.device)
        facts = {"multiply_adds": work.multiply_adds()}
        if self.cupy is not None:
            work()  # the first call of an optimiser launches more
            before = nn.gpu.kernels.launches
            work()
            facts |= {"kernels": nn.gpu.kernels.launches - before, "bytes": work.least_bytes()}
        return work, facts

    def synchronise(self):
        if self.cupy is not None:
            self.cupy.cuda.Device().synchronize()

    def machine(self, _):
        gpu = self.cupy and self.cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        return {"speed": self.speed(), "bandwidth": self.cupy and self.bandwidth(), "gpu": gpu}

    def speed(self) -> float:
        """Multiply-adds a second of the fastest of some large products, by our matmul or by BLAS's own threads."""
        xp, best = self.cupy or np, 0.0
        for m, k, n in PRODUCTS:
            a, b = xp.asarray(normal(m, k)), xp.asarray(normal(k, n))
            best = max(best, m * k * n / self.fastest(matmul, a, b))
            # only now: our matmul has told BLAS to use one thread, and this limit is put back when the block ends
            with threadpool_limits(self.threads, user_api="blas"):
                best = max(best, m * k * n / self.fastest(xp.matmul, a, b))
        return best

    def bandwidth(self) -> float:
        """Bytes a second of a copy on the GPU, read and written."""
        a = self.cupy.zeros(1 << 26, np.float32)
        return 2 * a.nbytes / self.fastest(self.cupy.copyto, self.cupy.empty_like(a), a)

    def fastest(self, function, *args):
        """Seconds of the fastest of five calls, of fewer where they take long."""
        seconds = []
        while len(seconds) < 2 or (len(seconds) < 5 and sum(seconds) < 0.5):
            seconds.append(self.timed(function, *args))
        return min(seconds)


class Torch(Worker):
    """PyTorch, with as many threads as we have; on the GPU without tensor-float-32, as ours."""

    def __init__(self, device: str, threads: int, plain: bool):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.device = torch, "cuda" if device == "gpu" else "cpu"
        if device == "gpu" and not torch.cuda.is_available():
            raise ValueError("--against torch --device gpu: this PyTorch has no CUDA; install one that does")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def make(self, case):
        return torch_work(case, device=self.device), {}

    def synchronise(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()


def resident(what: str = "VmRSS") -> int | None:
    """Bytes of memory this process holds (VmRSS), or has held at most (VmHWM); None where there is no /proc."""
    with suppress(OSError, TypeError), open("/proc/self/status") as status:
        return 1024 * int(re.search(rf"{what}:\s*(\d+) kB", status.read())[1])


def reset_peak() -> bool:
    """Let VmHWM begin anew; False where that cannot be done."""
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        return bool(file.write("5"))
    return False


def release():
    """Give freed memory back to the system, so that it does not count for the next case."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc's


def main(side: str, device: str, threads: str, *plain: str):
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed must not look like an answer
    worker = {"ours": Ours, "torch": Torch}[side](device, int(threads), bool(plain))
    for line in sys.stdin:
        (command, argument), *_ = json.loads(line).items()
        try:
            answer = getattr(worker, command)(argument)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)
