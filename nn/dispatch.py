"""Whose arrays these are, and which version of a layer's functions computes on them.

A textbook file, such as nn/layers/conv.py, holds plain array code. Faster versions are modules of the same functions
with the same arguments: nn/cpu/conv.py for NumPy, nn/gpu/conv.py for CuPy. `functions` picks one of the three.
"""

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from nn.config import config

_INSTEAD = ContextVar("instead", default=(None, None))  # (textbook, functions): see instead_of


def array_module(*arrays) -> ModuleType:
    """The module whose arrays these are: cupy if any of them is CuPy's, else numpy.

    CuPy is looked up among the modules already imported, so `import nn` never needs CUDA:
    whoever holds a CuPy array has imported it.
    """
    cupy = sys.modules.get("cupy")
    if cupy is not None and any(isinstance(a, cupy.ndarray) for a in arrays):
        return cupy
    return np


def functions(textbook: str, *arrays, **options) -> ModuleType:
    """The module whose functions compute on these arrays: the textbook's own, or a faster one of the same functions.

    textbook: the caller's __name__, such as nn.layers.conv; the faster ones are then nn.cpu.conv and nn.gpu.conv, where
    they exist. A faster module says by `takes(*arrays, **options)` whether it is for these arguments. With
    `nn.config.plain = True` it is always the textbook.
    """
    limit_blas()
    if config.plain:
        return sys.modules[textbook]
    replaced, others = _INSTEAD.get()
    if replaced == textbook:
        return others
    fast = _fast("cpu" if array_module(*arrays) is np else "gpu", textbook.rpartition(".")[2])
    return fast if fast is not None and fast.takes(*arrays, **options) else sys.modules[textbook]


@contextmanager
def instead_of(textbook: str, others):
    """In this block `functions` gives `others` for a textbook module: two layers are then computed in one pass."""
    token = _INSTEAD.set((textbook, others))
    try:
        yield
    finally:
        _INSTEAD.reset(token)


@cache
def limit_blas() -> None:
    """Limit NumPy's BLAS to one thread, for the rest of the process; called before anything is computed.

    BLAS divides a product otherwise among its threads, and with another number of them a sum has another order: results
    would depend on the machine, and on whether a layer that limits BLAS had run before. nn.cpu.parallel shares the work
    among threads itself, in chunks that do not depend on their number.
    """
    from threadpoolctl import threadpool_limits  # imported here: it would be a tenth of `import nn`

    threadpool_limits(limits=1, user_api="blas")


@cache
def _fast(folder, name):
    """nn.<folder>.<name>, loaded at its first use, or None where there is no such module."""
    path = f"nn.{folder}.{name}"
    return import_module(path) if find_spec(path) else None
