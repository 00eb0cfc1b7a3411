"""nn.gpu.kernels: which arrays kernels support, the arguments that launch passes, and those that it refuses."""

import numpy as np
import pytest

import nn
from nn.gpu import kernels as cuda

SOURCE = """
// y = factor * x + shift
extern "C" __global__ void affine(T *y, const T *x, int count, T factor, T shift, const T *more) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = factor * x[i] + shift + (more ? more[i] : 0);
}
extern "C" __global__ void where(int *y) {
    y[blockIdx.y * gridDim.x + blockIdx.x] = 10 * blockIdx.y + blockIdx.x;
}
"""


@pytest.fixture
def kernel(tmp_path):
    """The path of a file with two kernels."""
    path = tmp_path / "example.cu"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_gets_its_arguments(dtype, kernel, device):
    x, before = device.asarray(np.arange(1000).astype(dtype)), cuda.launches
    y = device.empty(1000, dtype)
    cuda.launch(kernel, "affine", 1000, dtype, y, x, 1000, 1 / 3, np.float64(2), None)
    wanted = dtype(1 / 3) * np.arange(1000, dtype=dtype) + 2
    assert np.allclose(device.asnumpy(y), wanted, rtol=1e-15 if dtype is np.float64 else 1e-6)
    cuda.launch(kernel, "affine", 1000, dtype, y, x, np.int64(1000), 0.0, 0.0, x, block=64)
    assert (y == x).all()
    assert cuda.launches == before + 2


def test_a_grid_of_blocks(kernel, device):
    y = device.zeros((3, 4), np.int32)
    cuda.launch(kernel, "where", 12, np.float32, y, grid=(4, 3), block=1)
    assert device.asnumpy(y).tolist() == [[10 * i + j for j in range(4)] for i in range(3)]


def test_nothing_is_launched_for_no_elements(kernel, device):
    y, before = device.empty(0, np.float32), cuda.launches
    cuda.launch(kernel, "affine", 0, np.float32, y, y, 0, 1.0, 1.0, None)
    cuda.launch(kernel, "where", 1, np.float32, y, grid=(0, 3), block=1)
    assert cuda.launches == before


def test_which_arrays_kernels_support(device, monkeypatch):
    single, double = device.zeros(3, np.float32), device.zeros(3, np.float64)
    assert cuda.use_kernels(single, single) and cuda.use_kernels(double)
    assert not cuda.use_kernels(single, double)
    assert not cuda.use_kernels(device.zeros(3, np.complex128)) and not cuda.use_kernels(device.zeros(3, np.float16))
    assert not cuda.use_kernels(np.zeros(3))
    monkeypatch.setattr(nn.config, "plain", True)
    assert not cuda.use_kernels(single)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"dtype": np.float16},
            "example.affine: kernels compute in float32 or float64, got float16: convert with .astype",
        ),
        ({"dtype": np.complex128}, "got complex128.*nn.config.plain = True"),
        ({2: 2**31}, "argument 2 is 2147483648, beyond an int of 32 bits: use smaller batches"),
        ({2: -(2**31) - 1}, "argument 2 is -2147483649"),
        ({1: np.zeros(3, np.float32)}, "argument 1 must be an array on the GPU or a number, got an array on the CPU"),
        ({1: "x"}, "argument 1 must be an array on the GPU or a number, got str"),
        ({1: "other dtype"}, "argument 1 holds float64, but the kernel computes in float32"),
        ({1: "transposed"}, r"argument 1, of shape \(3, 2\), is not contiguous: pass xp.ascontiguousarray"),
        ({"grid": (1, 65536)}, r"a grid of \(1, 65536\) blocks is more than a GPU takes.*smaller batches"),
    ],
)
def test_what_launch_refuses(change, message, kernel, device):
    y = device.empty((2, 3), np.float32)
    special = {"other dtype": y.astype(np.float64), "transposed": y.T}
    args = [y, y, 6, 1.0, 1.0, None]
    for index in (key for key in change if isinstance(key, int)):
        value = change[index]
        args[index] = special.get(value, value) if isinstance(value, str) else value
    options = {"grid": change["grid"]} if "grid" in change else {}
    with pytest.raises(ValueError, match=message):
        cuda.launch(kernel, "affine", 6, change.get("dtype", np.float32), *args, **options)


def test_an_array_whose_indices_pass_32_bits_is_refused(kernel, device):
    """n * oh * ow of an int wrapped, and the kernel read elsewhere."""
    large, y = device.zeros(2**31, np.bool_), device.empty(3, np.float32)  # memory that nobody touches
    with pytest.raises(
        ValueError, match=r"affine: argument 1, of shape \(2147483648,\), has 2147483648 elements, more"
    ):
        cuda.launch(kernel, "affine", 3, np.float32, y, large, 3, 1.0, 1.0, None)


def test_constants(kernel, device):
    kernel.write_text('extern "C" __global__ void fill(T *y) { y[threadIdx.x] = ROWS + 10 * COLUMNS; }')
    y = device.zeros(2, np.float64)
    for rows, columns in ((1, 2), (3, 4)):
        cuda.launch(kernel, "fill", 2, np.float64, y, block=2, constants=(("ROWS", rows), ("COLUMNS", columns)))
        assert device.asnumpy(y).tolist() == 2 * [rows + 10 * columns]


def test_it_is_said_once_that_kernels_are_compiled(kernel, device, caplog, monkeypatch):
    monkeypatch.setenv("CUPY_CACHE_DIR", "/some/folder")
    cuda._say_that_it_compiles.cache_clear()
    y = device.zeros(3, np.float32)
    cuda.launch(kernel, "where", 1, np.float32, device.zeros(1, np.int32))
    cuda.launch(kernel, "affine", 3, np.float32, y, y, 3, 1.0, 1.0, None)
    (text,) = caplog.messages
    assert text.startswith("note: CUDA kernels are compiled at their first use, a minute")
    assert text.endswith("later runs take them from /some/folder")


def test_a_source_that_does_not_compile(kernel, device):
    kernel.write_text(SOURCE.replace("factor * x[i]", "factor * z[i]"))
    y = device.empty(3, np.float32)
    with pytest.raises(RuntimeError, match=r"(?s)example.cu: the CUDA compiler refuses it for float32:.*example.cu.*z"):
        cuda.launch(kernel, "affine", 3, np.float32, y, y, 3, 1.0, 1.0, None)


def test_an_included_file(kernel, device):
    """Its text replaces the line, and messages have the line numbers of each file."""
    kernel.with_name("shared.cu").write_text("__device__ T twice(T x) { return x + x; }\n")
    text = '\n#include "shared.cu"\nextern "C" __global__ void doubled(T *y) {\n    y[threadIdx.x] = twice(1);\n}\n'
    kernel.write_text(text)
    y = device.zeros(3, np.float64)
    cuda.launch(kernel, "doubled", 3, np.float64, y, block=3)
    assert device.asnumpy(y).tolist() == [2, 2, 2]
    kernel.write_text(text.replace("twice", "thrice"))
    with pytest.raises(RuntimeError, match=r"example\.cu[:(]4.*thrice"):
        cuda.launch(kernel, "doubled", 3, np.float32, y.astype(np.float32), block=3)
