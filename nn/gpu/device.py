"""The CPU and the GPU: moving whatever holds arrays from one to the other, and errors where there is no GPU."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from nn.dispatch import array_module

DEVICES = ("cpu", "gpu")


def to_device(tree: Any, device: str) -> Any:
    """The same nest of lists, tuples, NamedTuples and dicts with all numeric arrays on "cpu" or "gpu".

    Everything else, text and Python's numbers too, stays as it is, and so does an array that is there already.
    Raises ValueError for another device, and where "gpu" cannot be had: without CuPy, or without a CUDA device.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be 'cpu' or 'gpu', got {device!r}")
    if device == "cpu":
        return map_arrays(_to_host, tree) if "cupy" in sys.modules else tree
    cupy = import_cupy()
    return map_arrays(lambda array: cupy.asarray(array) if array.dtype.kind in "biufc" else array, tree)


def _to_host(array):
    return array if isinstance(array, np.ndarray) else array.get()


def is_count(array) -> bool:
    """Whether it is an array of one integer, such as a count of steps: these stay on the CPU."""
    return getattr(array, "shape", None) == () and array.dtype.kind in "iu"


def map_arrays(function: Callable, tree: Any) -> Any:
    """The same nest of lists, tuples, NamedTuples and dicts with function(array) for each array."""
    if isinstance(tree, dict):
        return {key: map_arrays(function, item) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [map_arrays(function, item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return function(tree) if isinstance(tree, np.ndarray) or array_module(tree) is not np else tree


def device_of(tree: Any) -> str:
    """Where the first array of a nest is, or the first parameter or constant of a layer: "gpu" or "cpu", also without
    any."""
    if hasattr(tree, "state_dict"):
        tree = [tree.state_dict(), [getattr(layer, name) for _, layer in tree.layers() for name in layer.constants]]
    return "gpu" if any(array_module(array) is not np for array in _first(tree)) else "cpu"


def _first(tree):
    """The first array of a nest, in a list; [] where there is none."""
    if isinstance(tree, (dict, list, tuple)):
        return next(filter(None, map(_first, tree.values() if isinstance(tree, dict) else tree)), [])
    return [tree] if hasattr(tree, "dtype") else []


def import_cupy():
    """CuPy, where it can be used. ValueError where there is none, or no CUDA device, saying what to do."""
    if (cupy := _ready.get("cupy")) is not None and cupy is sys.modules.get("cupy"):
        return cupy
    extras = 'pip install --editable ".[cuda12]", or cuda13, as the CUDA version that nvidia-smi shows'
    try:
        import cupy
    except ModuleNotFoundError:
        raise ValueError(f"device gpu needs CuPy, which is not installed: {extras}") from None
    except ImportError as error:
        raise ValueError(f"device gpu needs CuPy, which cannot be loaded ({error}): {extras}") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # of CuPy's own types: no driver, an old one, a device that is not accessible
        raise ValueError(f"device gpu needs a CUDA device: {error}; use device cpu") from error
    if count == 0:
        raise ValueError("device gpu needs a CUDA device, there is none; use device cpu")
    _ready["cupy"] = cupy
    return cupy


def synchronise(device: str):
    """Wait until the GPU has finished all its work, as before reading a clock; nothing on the CPU."""
    if device == "gpu":
        import_cupy().cuda.Device().synchronize()


_ready = {}  # CuPy, once it has been found to work
