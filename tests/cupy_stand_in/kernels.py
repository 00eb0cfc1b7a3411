"""RawModule and RawKernel: a kernel's own CUDA source, compiled for the CPU and run on the arrays.

A launch is refused, by kernel and argument, for what would be undefined on a GPU: another dtype than the source has,
an array that is not contiguous, memory accessed outside the arrays, a barrier that some threads do not reach.
"""

import ctypes
import signal
from math import prod

import numpy as np

from .array import ndarray
from .compiler import CompileException, compile_kernels, machine
from .guarded import Guards, KernelError

MOST_SHARED_BYTES, MOST_THREADS = 48 << 10, 1024
MOST_BLOCKS, LARGEST_BLOCK = (2**31 - 1, 65535, 65535), (1024, 1024, 64)
POINTERS = {np.dtype(code): f"{np.dtype(code)} *" for code in "?bhiqBHIQfd"}
AS_CUPY_PASSES = {bool: "bool", int: "int64", float: "float64"}
SCALARS = {np.dtype(pointer[:-2]).type: pointer[:-2] for pointer in POINTERS.values()}
AS_C = {kind: np.ctypeslib.as_ctypes_type(np.dtype(kind)) for kind in (*SCALARS, *AS_CUPY_PASSES)}
WAITING = ("__sync", "__shfl", "__ballot")  # a thread waits for others at these
DONE, DIVERGED = 0, 1  # of machine.cpp

reversed_threads = False  # True: blocks and threads in reverse order, which finds results that depend on the order


class RawModule:
    """CUDA source with several kernels."""

    def __init__(
        self,
        code=None,
        *,
        path=None,
        options=(),
        backend="nvrtc",
        translate_cucomplex=False,
        enable_cooperative_groups=False,
        name_expressions=None,
        jitify=None,
    ):
        if not isinstance(options, tuple):
            raise TypeError(f"options must be a tuple, got {type(options).__name__}")
        self.code, self.options = code, options

    def get_function(self, name: str) -> "RawKernel":
        """The kernel of that name. CompileException where the source does not compile."""
        return RawKernel(self.code, name, self.options)


class RawKernel:
    """One kernel, called as kernel(grid, block, arguments, shared_mem=0)."""

    def __init__(
        self,
        code,
        name,
        options=(),
        backend="nvrtc",
        translate_cucomplex=False,
        *,
        enable_cooperative_groups=False,
        jitify=None,
    ):
        library, kernels = compile_kernels(code, options)
        if name not in kernels:
            raise CompileException(f"no kernel {name} in this source, which has {', '.join(kernels)}")
        self.name, self.parameters = name, kernels[name]
        types = (ctypes.c_char_p * (len(self.parameters) + 1))()
        getattr(library, f"types_{name}")(types)
        self.types = [text.decode() for text in types[:-1]]
        self._call = ctypes.cast(getattr(library, f"call_{name}"), ctypes.c_void_p)
        self._machine = (ctypes.POINTER(ctypes.c_uint * 3) * 2).in_dll(library, "machine")  # thread, block, and more
        self._waits = any(word in code for word in WAITING)  # then threads are fibres, which is slower

    def __call__(self, grid, block, args, *, shared_mem=0):
        grid, block = ((*size, 1, 1)[:3] for size in (grid, block))
        self._check_size(grid, block, shared_mem)
        self._check_arguments(args)
        with Guards(self.name, dict(zip(self.parameters, args)), shared_mem) as guards:
            values = [_as_c(value, guards) for value in args]
            fault = ctypes.c_void_p()
            result = machine().run(
                ctypes.byref(self._machine),
                self._call,
                (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values)),
                (ctypes.c_uint * 3)(*grid),
                (ctypes.c_uint * 3)(*block),
                ctypes.c_void_p(guards.shared.address),
                ctypes.c_size_t(shared_mem),
                self._waits,
                reversed_threads,
                ctypes.byref(fault),
            )
            if result != DONE:
                raise KernelError(f"kernel {self.name} {self._explain(result, fault.value or 0, guards)}")

    def _check_size(self, grid, block, shared_mem):
        fits = all(0 < n <= most for n, most in zip((*grid, *block), MOST_BLOCKS + LARGEST_BLOCK))
        if not fits or prod(block) > MOST_THREADS or not 0 <= shared_mem <= MOST_SHARED_BYTES:
            raise KernelError(
                f"kernel {self.name}: no GPU has a grid of {grid}, blocks of {block}, {shared_mem} bytes shared"
            )

    def _check_arguments(self, args):
        if len(args) != len(self.types):
            raise KernelError(f"kernel {self.name} has {len(self.types)} parameters, got {len(args)} arguments")
        for name, wanted, value in zip(self.parameters, self.types, args):
            if isinstance(value, ndarray):
                got = POINTERS.get(value.dtype) or str(value.dtype)
                if not value.flags.c_contiguous:
                    raise KernelError(f"kernel {self.name}: {name} is not contiguous, shape {value.shape}")
            elif isinstance(value, np.generic):
                got = SCALARS.get(type(value)) or value.dtype.name
            elif type(value) in AS_CUPY_PASSES:
                got = AS_CUPY_PASSES[type(value)]
            else:
                raise TypeError(f"Unsupported type {type(value)}: argument {name} of kernel {self.name}")
            null_pointer = wanted.endswith("*") and got == "uint64" and value == 0
            if got != wanted.removeprefix("const ") and not null_pointer:
                raise KernelError(f"kernel {self.name}: {name} must be {wanted}, got {got}")

    def _explain(self, result, fault, guards):
        """The error and its position."""
        thread, block = (tuple(index.contents) for index in self._machine)
        if result == DIVERGED:
            return f"has a barrier that only some threads of block {block} reach"
        what = {
            signal.SIGSEGV: f"reads or writes outside its arguments, {guards.describe(fault)}",
            signal.SIGBUS: "accesses memory that is not there",
            signal.SIGILL: "indexes an array of fixed size outside of it",
            signal.SIGFPE: "divides a whole number by 0",
        }
        return f"{what[result]}: block {block}, thread {thread}"


def _as_c(value, guards):
    """An argument of the kernel; arrays are the address of their copy."""
    if isinstance(value, ndarray):
        return ctypes.c_void_p(guards.address(value))
    return AS_C[type(value)](value.item() if isinstance(value, np.generic) else value)
