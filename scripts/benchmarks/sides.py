"""The two sides inside a worker: how each makes the works of the cases, and waits for its device."""

import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

import nn
import nn.gpu.kernels
from nn.cpu.parallel import matmul
from nn.gpu.device import import_cupy
from scripts.benchmarks import layers, steps
from scripts.benchmarks.cases import CASES, Case
from scripts.benchmarks.work import normal

PRODUCTS = [(1024, 1024, 1024), (2048, 2048, 2048), (512, 4608, 3136)]  # M, K, N; the last is a convolution's


def our_work(case: Case, small: bool = False):
    """The work of a case by our code."""
    families = steps if case.step else layers
    return getattr(families, case.family)(case.options(small))


def torch_work(case: Case, small: bool = False, device: str = "cpu"):
    """The work of a case by PyTorch, on the weights and inputs that ours has."""
    from scripts.benchmarks import torch_side  # PyTorch may be missing where it is not asked for

    return torch_side.work(case, our_work(case, small), case.options(small), device)


class Ours:
    """NumPy on the CPU, CuPy on the GPU."""

    def __init__(self, device: str, threads: int, plain: bool):
        nn.config.plain, self.threads, self.device = plain, threads, device
        self.cupy, self.facts = import_cupy() if device == "gpu" else None, {}

    def prepare(self, name: str) -> Callable:
        work = our_work(CASES[name])
        work.to(self.device)
        self.facts = {"multiply_adds": work.multiply_adds()}
        if self.cupy is not None:
            self.facts |= {"bytes": work.least_bytes(), "kernels": self._kernels(work)}
        return work

    def _kernels(self, work):
        """How many kernels of ours a call launches; what CuPy launches for array code is not among them."""
        work()  # the first call of an optimiser launches more
        before = nn.gpu.kernels.launches
        work()
        return nn.gpu.kernels.launches - before

    def synchronise(self):
        if self.cupy is not None:
            self.cupy.cuda.Device().synchronize()

    def speed(self) -> float:
        """Multiply-adds a second of the fastest of some large products, by our matmul or by BLAS's own threads."""
        xp, best = self.cupy or np, 0.0
        for m, k, n in PRODUCTS:
            a, b = xp.asarray(normal(m, k)), xp.asarray(normal(k, n))
            best = max(best, m * k * n / self._time(matmul, a, b))
            # only now: our matmul has told BLAS to use one thread, and this limit is put back when the block ends
            with threadpool_limits(self.threads, user_api="blas"):
                best = max(best, m * k * n / self._time(xp.matmul, a, b))
        return best

    def gpu(self) -> str | None:
        """Its name; None on the CPU."""
        return self.cupy and self.cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()

    def bandwidth(self) -> float | None:
        """Bytes a second of a copy on the GPU, read and written; on the CPU not measured."""
        if self.cupy is None:
            return None
        a = self.cupy.zeros(1 << 26, np.float32)
        return 2 * a.nbytes / self._time(self.cupy.copyto, self.cupy.empty_like(a), a)

    def _time(self, product, a, b):
        """Seconds of the fastest of five."""
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            product(a, b)
            self.synchronise()
            seconds.append(time.perf_counter() - began)
        return min(seconds)


class Torch:
    """PyTorch, with as many threads as we have; on the GPU without tensor-float-32, as ours."""

    facts = {"multiply_adds": 0}  # noqa: RUF012  (never written to)

    def __init__(self, device: str, threads: int, plain: bool):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.device = torch, "cuda" if device == "gpu" else "cpu"
        if device == "gpu" and not torch.cuda.is_available():
            raise ValueError("--against torch --device gpu: this PyTorch has no CUDA; install one that does")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def prepare(self, name: str) -> Callable:
        return torch_work(CASES[name], device=self.device)

    def synchronise(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()


SIDES = {"ours": Ours, "torch": Torch}
