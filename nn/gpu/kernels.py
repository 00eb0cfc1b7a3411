"""CUDA kernels: nn/gpu/<name>.cu, compiled by CuPy at their first use and launched by nn/gpu/<name>.py.

There is a kernel where plain array code is slow or impossible on a GPU. Its element type is called T, float or double.
It computes one element (or tile) of the output per thread, gathering its inputs: no two threads write to one position,
so results do not depend on the order of the threads. The textbook file of nn/layers or nn/losses is its reference.
"""

import logging
import math
import os
import re
from functools import cache
from pathlib import Path

import numpy as np

from nn.config import config
from nn.dispatch import array_module

TYPES = {"float32": "float", "float64": "double"}
DTYPES = frozenset(map(np.dtype, TYPES))  # to look up a dtype by itself: its name takes NumPy longer than a launch
HERE = Path(__file__).parent
LARGEST = 2**31 - 2**16  # elements of an array: all its indices, and those of a tile beyond its end, are ints
MAX_GRID = (2**31 - 1, 65535, 65535)  # blocks along x, y, z: CUDA C++ Programming Guide, Compute Capabilities

launches = 0  # kernels of this module launched so far


def use_kernels(*arrays, **options) -> bool:
    """Whether kernels take these arrays: they are CuPy's, all float32 or all float64, and `nn.config.plain` is off.

    None stands for no array. The textbook takes all others, complex arrays and mixtures of types.
    """
    if config.plain or array_module(*arrays) is np:
        return False
    dtypes = {array.dtype for array in arrays if array is not None}
    return len(dtypes) == 1 and dtypes <= DTYPES


def launch(
    file: str | Path, name: str, count: int, dtype, *args, block=256, grid=None, shared_bytes: int = 0, constants=()
):
    """Run kernel `name` of nn/<file>.cu; a kernel elsewhere is named by the Path of its file.

    count: threads wanted, one per element of the output; none are launched for 0. They come in blocks of `block`
    threads, so a kernel begins by leaving where its number is not below the count. A grid, (x,) to (x, y, z) blocks,
    is for kernels that work in tiles. dtype, float32 or float64, is the type T. args, in the kernel's order: CuPy's
    arrays (C-contiguous, floats of this dtype), integers (int), np.uint64 (unsigned long long), other numbers (T),
    None (a null pointer). constants: (name, integer) pairs that the source has as constants.

    Raises ValueError for arguments that a kernel would misread, RuntimeError where the compiler refuses the file.
    """
    global launches
    who, dtype = f"{file if isinstance(file, str) else file.stem}.{name}", np.dtype(dtype)
    if dtype not in DTYPES:
        raise ValueError(
            f"{who}: kernels compute in float32 or float64, got {dtype}: convert with .astype, or run array code "
            "instead, nn.config.plain = True"
        )
    block = (block,) if isinstance(block, int) else tuple(block)
    grid = (-(-count // math.prod(block)),) if grid is None else tuple(grid)
    if any(blocks > most for blocks, most in zip(grid, MAX_GRID)):
        raise ValueError(f"{who}: a grid of {grid} blocks is more than a GPU takes, {MAX_GRID}: use smaller batches")
    converted = tuple(_argument(who, i, value, dtype) for i, value in enumerate(args))
    if count == 0 or 0 in grid:
        return
    _kernel(array_module(*args), file, name, dtype, constants)(grid, block, converted, shared_mem=shared_bytes)
    launches += 1


def _argument(who, i, value, dtype):
    """What CuPy passes to the kernel as the bits that its C++ signature means."""
    if value is None:
        return np.uint64(0)
    if isinstance(value, np.uint64):
        return value
    if isinstance(value, (bool, int, np.bool_, np.integer)):
        return np.int32(as_int(who, f"argument {i}", value))
    if isinstance(value, (float, np.floating)):
        return dtype.type(value)
    if isinstance(value, np.ndarray) or array_module(value) is np:
        got = "an array on the CPU" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{who}: argument {i} must be an array on the GPU or a number, got {got}")
    if value.dtype.kind in "fc" and value.dtype != dtype:
        raise ValueError(f"{who}: argument {i} holds {value.dtype}, but the kernel computes in {dtype}")
    if value.size > LARGEST:
        raise ValueError(
            f"{who}: argument {i}, of shape {value.shape}, has {value.size} elements, more than the {LARGEST} that "
            "kernels index: use smaller batches"
        )
    if not value.flags.c_contiguous:
        raise ValueError(
            f"{who}: argument {i}, of shape {value.shape}, is not contiguous: pass xp.ascontiguousarray(it)"
        )
    return value


def as_int(who: str, what: str, value: int) -> int:
    """The value; ValueError where an int of 32 bits does not hold it."""
    if not -(2**31) <= value < 2**31:
        raise ValueError(f"{who}: {what} is {value}, beyond an int of 32 bits: use smaller batches")
    return value


def source(path: Path, number_type: str, constants=()) -> str:
    """The text of a .cu file for T = number_type, with its constants."""
    # T is a type, not a macro: CUDA's own headers have templates with a T
    fixed = "".join(f"constexpr int {name} = {value};\n" for name, value in constants)
    return f"using T = {number_type};\n{fixed}{_with_included(path)}"


def _with_included(path):
    """The text of a file, in which #include "other.cu" stands for the text of that file beside it."""
    text = path.read_text(encoding="utf-8")

    def included(match):
        line = text.count("\n", 0, match.end()) + 2  # the next
        return f'{_with_included(path.with_name(match[1]))}#line {line} "{path.name}"'

    return f'#line 1 "{path.name}"\n' + re.sub(r'^#include "(\w+\.cu)"$', included, text, flags=re.MULTILINE)


@cache
def _kernel(cupy, file, name, dtype, constants):
    """The compiled kernel, for whatever device is current when it is called (CuPy keeps one for each)."""
    path = file if isinstance(file, Path) else HERE / f"{file}.cu"
    _say_that_it_compiles()
    try:
        code = source(path, TYPES[dtype.name], constants)
        return cupy.RawModule(code=code, options=("-std=c++17",)).get_function(name)
    except cupy.cuda.compiler.CompileException as error:
        raise RuntimeError(f"{path.name}: the CUDA compiler refuses it for {dtype}:\n{error}") from error


@cache
def _say_that_it_compiles():
    """Once in a process, for it takes long: CuPy compiles a file once for each kind of GPU, and keeps it on disk."""
    where = os.environ.get("CUPY_CACHE_DIR", "~/.cupy/kernel_cache")
    text = "note: CUDA kernels are compiled at their first use, a minute in all on a new machine; later runs take them"
    logging.getLogger(__name__).warning("%s from %s", text, where)
