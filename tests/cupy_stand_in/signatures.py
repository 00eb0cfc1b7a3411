"""Functions of CuPy that NumPy computes, from a list of their signatures in CuPy."""

import numpy as np

from .array import ndarray, wrap


def by_numpy(signatures: str) -> dict:
    """{name: function} for lines `name(parameters)`: NumPy's function of that name, only for device arrays."""
    return {name: _computed(d, getattr(np, name)) for name, d in _declarations(signatures).items()}


def by_method(signatures: str) -> dict:
    """{name: method} for lines `name(self, parameters)`: computed by the NumPy array's method of that name."""

    def method(name):
        return lambda array, *args, **kwargs: getattr(array, name)(*args, **kwargs)

    return {name: _computed(d, method(name)) for name, d in _declarations(signatures).items()}


def _declarations(signatures):
    """{name: function without a body} of the lines."""
    functions = {}
    for line in signatures.split("\n"):
        if line.strip():
            exec(f"def {line.strip()}: ...", functions)
    del functions["__builtins__"]
    return functions


def _computed(declaration, compute):
    def function(*args, **kwargs):
        declaration(*args, **kwargs)  # a TypeError for arguments that CuPy does not have, such as NumPy's `initial`
        if not any(isinstance(value, ndarray) for value in _flat((args, kwargs.values()))):
            raise TypeError(f"{declaration.__name__} has no device array among its arguments")
        with np.errstate(all="ignore"):  # a GPU does not warn
            result = compute(*map(host, args), **{name: host(value) for name, value in kwargs.items()})
        out = kwargs.get("out")
        return wrap(result) if out is None else out

    function.__name__, function.__wrapped__ = declaration.__name__, declaration  # with the signature of the declaration
    return function


def host(value):
    """An argument for NumPy: device arrays, also in tuples and lists, as their values. TypeError for NumPy arrays."""
    if isinstance(value, ndarray):
        return value._values
    if isinstance(value, (tuple, list)):
        return type(value)(map(host, value))
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def _flat(values):
    for value in values:
        if isinstance(value, (tuple, list, type({}.values()))):
            yield from _flat(value)
        else:
            yield value
