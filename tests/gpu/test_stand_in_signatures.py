"""CuPy has everything that the stand-in has, with the same parameters. Needs CuPy, but no GPU."""

import inspect
import re

import numpy as np
import pytest

from tests.cupy_stand_in import cupy as stand_in
from tests.cupy_stand_in.kernels import RawKernel
from tests.cupy_stand_in.methods import METHODS

cupy = pytest.importorskip("cupy")
SAME = [name for name in dir(stand_in) if inspect.isfunction(getattr(stand_in, name))]
UFUNCS = [name for name in dir(stand_in) if isinstance(getattr(stand_in, name), stand_in.ufunc)]
OWN = [*METHODS, "get", "set", "item", "tolist", "__getitem__", "__setitem__", "__array_ufunc__", "__array_function__"]
PROPERTIES = [name for name, value in vars(stand_in.ndarray).items() if isinstance(value, property)]
OTHERS = {
    "RawModule": stand_in.RawModule.__init__,
    "RawKernel": RawKernel.__init__,
    "RawModule.get_function": stand_in.RawModule.get_function,
    "lib.stride_tricks.as_strided": stand_in.lib.stride_tricks.as_strided,
    "ufunc.at": stand_in.ufunc.at,
}


def real_parameters(function):
    """(name, default) of each parameter, from the signature or, of a compiled function, the first line of its text."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        text = re.search(r"\((.*?)\)(?: ->|$)", function.__doc__.strip().splitlines()[0]).group(1)
        parameters = [re.sub(r"^\s*\w+ (?=\w)", "", p).strip() for p in text.split(",")]  # without the types of C
        scope = {}
        exec(f"def stub({', '.join(parameters)}): ...", scope)
        signature = inspect.signature(scope["stub"])
    return parameters_of(signature)


def parameters_of(signature):
    return [(p.name, p.kind.name, p.default) for p in signature.parameters.values() if p.name != "self"]


@pytest.mark.parametrize("name", SAME)
def test_functions(name):
    assert parameters_of(inspect.signature(getattr(stand_in, name))) == real_parameters(getattr(cupy, name))


@pytest.mark.parametrize("name", OWN)
def test_methods(name):
    assert parameters_of(inspect.signature(getattr(stand_in.ndarray, name))) == real_parameters(
        getattr(cupy.ndarray, name)
    )


@pytest.mark.parametrize("path", OTHERS)
def test_classes_and_what_lies_deeper(path):
    real = cupy
    for name in path.split("."):
        real = getattr(real, name)
    got, wanted = parameters_of(inspect.signature(OTHERS[path])), real_parameters(real)
    assert [(name, default) for name, _, default in got] == [(name, default) for name, _, default in wanted]


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs(name):
    own, real = getattr(stand_in, name), getattr(cupy, name)
    assert isinstance(real, cupy.ufunc)
    assert (own.nin, own.nout) == (real.nin, real.nout)


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties(name):
    assert hasattr(cupy.ndarray, name)


def test_operators():
    operators = {n for n in vars(stand_in.ndarray) if re.fullmatch(r"__[a-z]+__", n)}
    python = {"__slots__", "__weakref__", "__doc__", "__module__", "__hash__", "__new__"}
    assert {name for name in operators - python if not hasattr(cupy.ndarray, name)} == set()
    for name in ("__index__", "__imatmul__"):  # neither has them, so code must not use them
        assert not hasattr(cupy.ndarray, name) and not hasattr(stand_in.ndarray, name)


def test_dtypes_and_constants_are_numpy_s():
    for name in ("float32", "int64", "bool_", "dtype", "inf", "nan"):
        assert getattr(stand_in, name) is getattr(cupy, name) or np.isnan(getattr(cupy, name))
