"""The module in place of CuPy: `cupy`, which is sys.modules["cupy"] during a test."""

from types import ModuleType, SimpleNamespace

import numpy as np

from . import creation, functions, methods  # noqa: F401  (methods adds itself to ndarray)
from .array import ndarray
from .compiler import CompileException
from .kernels import RawModule
from .ufuncs import UFUNCS, ufunc

DTYPES = "bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex128".split()


class _Module(ModuleType):
    def __getattr__(self, name):
        raise AttributeError(
            f"the stand-in for CuPy has no {name}: if CuPy has it and you need it, declare it in tests/cupy_stand_in"
        )


class Device:
    """The only device."""

    def __init__(self, device=0):
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def use(self):
        """Make it the current device."""

    def synchronize(self):
        """Wait for all launches: nothing, here."""


class OutOfMemoryError(MemoryError):
    """No device memory left."""


cupy = _Module("cupy", "The stand-in for CuPy.")
for _module in (creation, functions):
    for _name, _value in vars(_module).items():
        if getattr(_value, "__module__", "") == _module.__name__ and not _name.startswith("_"):
            setattr(cupy, _name, _value)
del cupy.as_strided
cupy.lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=functions.as_strided))
cupy.__dict__.update(functions.FUNCTIONS)
cupy.__dict__.update(UFUNCS)
cupy.__dict__.update({name: getattr(np, name) for name in [*DTYPES, "dtype", "inf", "nan"]})
cupy.ndarray, cupy.ufunc, cupy.RawModule = ndarray, ufunc, RawModule
cupy.cuda = SimpleNamespace(
    Device=Device,
    compiler=SimpleNamespace(CompileException=CompileException),
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    runtime=SimpleNamespace(getDeviceCount=lambda: 1),
)
cupy.get_default_memory_pool = lambda: SimpleNamespace(total_bytes=lambda: 2**20)
