"""g++ instead of NVRTC: CUDA source to a loaded shared library; each text is compiled once and kept on disk."""

import ctypes
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

HERE = Path(__file__).parent
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
FLAGS = "-std=c++17 -O2 -fPIC -shared -fvisibility=hidden -w -ffp-contract=off -U_FORTIFY_SOURCE".split()
TRAPS = ["-fsanitize=bounds", "-fsanitize-undefined-trap-on-error"]  # an index outside an array of fixed size
BOUNDS = r"\s*(?:__launch_bounds__\s*\([^)]*\)\s*)?"
KERNEL = re.compile(rf"__global__\b{BOUNDS}void\b{BOUNDS}\b(\w+)\s*\(([^)]*)\)")


class CompileException(Exception):  # noqa: N818  (CuPy's name)
    """A kernel's source that does not compile, with the compiler's message: `cupy.cuda.compiler.CompileException`."""


def compile_kernels(code: str, options: tuple) -> tuple[ctypes.PyDLL, dict[str, list[str]]]:
    """The loaded library of CUDA source, and {kernel: names of its parameters}.

    A PyDLL keeps the interpreter lock: launches from several threads take turns, as on one stream.
    """
    begun = _ahead.pop((code, options), None)
    if begun:
        wait([begun])
    text, kernels = _translated(code)
    return _load(text, (*TRAPS, *options)), kernels


def compile_ahead(codes: list[str], options: tuple) -> None:
    """Start to compile these sources in the background; compile_kernels waits for those that it needs."""
    global _workers
    if COMPILER is not None:
        _workers = ThreadPoolExecutor(os.cpu_count())
        _ahead.update({(code, options): _workers.submit(_compile, code, options) for code in codes})


def compile_no_more() -> None:
    """Cancel the compilations of compile_ahead that have not started."""
    if _workers:
        _workers.shutdown(cancel_futures=True)


_workers, _ahead = None, {}


def _compile(code, options):
    _library(_translated(code)[0], (*TRAPS, *options))


def _translated(code):
    """(C++ of CUDA source, {kernel: names of its parameters})."""
    bare = re.sub(r"//[^\n]*|/\*.*?\*/", lambda comment: "\n" * comment.group().count("\n"), code, flags=re.DOTALL)
    kernels = {
        name: [re.search(r"(\w+)\s*$", parameter).group(1) for parameter in parameters.split(",") if parameter.strip()]
        for name, parameters in KERNEL.findall(bare)
    }
    if "#include" in bare:
        raise CompileException("the kernel's source has an #include: NVRTC finds no standard headers")
    dynamic = r"extern\s+__shared__\s+([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;"
    bare = re.sub(dynamic, r"\1 *\2 = (\1 *)machine.dynamic_shared;", bare)
    callable_from_python = "\n".join(f"CALLABLE({name})" for name in kernels)
    return f'#include "cuda.h"\n#line 1 "kernel"\n{bare}\n{callable_from_python}\n', kernels


@functools.cache
def problem() -> str:
    """The reason why kernels cannot be run here; empty if they can."""
    if COMPILER is None:
        return "the stand-in for CuPy compiles kernels with g++, which is not installed"
    try:
        machine()
        compile_kernels('extern "C" __global__ void nothing() { __shared__ int a; a = 0; }', ())
    except (CompileException, OSError) as error:
        return f"{COMPILER} does not compile the stand-in for CuPy: {str(error)[:200]}"
    return ""


@functools.cache
def machine() -> ctypes.PyDLL:
    """The library that runs a kernel's threads: see machine.cpp."""
    return _load((HERE / "machine.cpp").read_text(), ())


@functools.cache
def _load(source, options):
    return ctypes.PyDLL(str(_library(source, options)))


def _library(source, options):
    """The path of the compiled library."""
    folder = Path(tempfile.gettempdir()) / f"cupy-stand-in-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's: libraries are not loaded from it")
    key = repr((source, options, FLAGS, COMPILER, (HERE / "cuda.h").read_text()))
    library = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    with library.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be compiling the same: it is waited for
        if not library.exists():
            _compile_to(library, source, options)
    return library


def _compile_to(library, source, options):
    unfinished = library.with_suffix(".unfinished")  # a killed process leaves no half library
    command = [COMPILER, *FLAGS, *options, f"-I{HERE}", "-x", "c++", "-", "-o", unfinished]
    done = subprocess.run(command, input=source, text=True, capture_output=True)
    if done.returncode:
        raise CompileException(done.stderr)
    os.replace(unfinished, library)
