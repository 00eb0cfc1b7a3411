"""Every kernel of the project compiles: for the stand-in by g++, and by CUDA's own compilers where installed."""

import re
import shutil
import subprocess

import pytest

from tests.cupy_stand_in import compiler
from tests.gpu.kernel_files import sources

SOURCES = sources()
NVCC = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


@pytest.mark.skipif(bool(compiler.problem()), reason=compiler.problem())
@pytest.mark.parametrize("path, text", SOURCES.values(), ids=SOURCES)
def test_the_stand_in_compiles_it(path, text):
    kernels = compiler.compile_kernels(text, ("-std=c++17",))[1]
    assert len(kernels) == path.read_text(encoding="utf-8").count("__global__")


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
def test_nvcc_compiles_them_all(tmp_path):
    """In one file, each file and type in its own namespace; not optimised, since nothing is run."""
    known = subprocess.run([NVCC, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    gpus = [number for number in ("70", "75", "90") if f"compute_{number}\n" in known]
    assert gpus
    spaces = [f"namespace {re.sub(r'[^a-z0-9]', '_', name)} {{\n{text}\n}}" for name, (_, text) in SOURCES.items()]
    (tmp_path / "all.cu").write_text("\n".join(spaces).replace('extern "C"', ""), encoding="utf-8")  # names occur twice
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in gpus]
    fast = ["-Xcicc", "-O0", "-Xptxas", "-O0", "-std=c++17", "-fatbin", "--threads=0"]
    files = ["-o", str(tmp_path / "all.fatbin"), str(tmp_path / "all.cu")]
    done = subprocess.run([NVCC, *fast, *targets, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nvrtc_compiles_each():
    """The compiler that CuPy uses; it needs no GPU."""
    nvrtc = pytest.importorskip("cupy").cuda.nvrtc
    try:
        nvrtc.getVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC cannot be loaded: {str(error).splitlines()[0]}")
    for path, text in SOURCES.values():
        program = nvrtc.createProgram(text, path.name, (), ())
        nvrtc.compileProgram(program, ("-std=c++17", "-arch=compute_90"))
