"""The registered cases of nn.cases as parameters of tests, and all that one of them gives, by name."""

from contextlib import nullcontext

import numpy as np
import pytest

import nn
from nn.cases import LAYERS, LayerCase, LossCase, randomise


def parameters(registry, wanted=lambda owner, name: True):
    """The wanted (owner, case) of a registry, and readable ids."""
    return [
        pytest.param(owner, case, id=f"{owner.__name__}-{name}")
        for owner, cases in registry.items()
        for name, case in cases.items()
        if wanted(owner, name)
    ]


def as_dtype(tree, dtype):
    """The floats of a tuple or dict of arrays in another dtype."""
    if isinstance(tree, dict):
        return {key: as_dtype(value, dtype) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(as_dtype(value, dtype) for value in tree)
    return tree.astype(dtype) if isinstance(tree, np.ndarray) and tree.dtype.kind == "f" else tree


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def results(owner, case, dtype, where="cpu", watch=nullcontext) -> dict:
    """{name: array or None} of all that a case gives: outputs, gradients of inputs and parameters, buffers.

    A loss gives its value and its gradients. where: "cpu" or "gpu". watch() is a context around each forward, each
    backward and each call of a loss.
    """
    nn.seed(0)  # what a layer without rng draws
    return _of_layer(case, dtype, where, watch) if owner in LAYERS else _of_loss(owner, case, dtype, where, watch)


def _of_layer(case: LayerCase, dtype, where, watch):
    layer = randomise(case.build()).astype(dtype).to(where)
    inputs = nn.to_device(as_dtype(case.inputs, dtype), where)
    with watch():
        y, cache = layer.forward(*inputs, training=case.training)
    rng = np.random.default_rng(3)
    dy = tuple(rng.standard_normal(a.shape).astype(dtype) for a in as_tuple(y) if a.dtype.kind == "f")
    dy = nn.to_device(dy if len(dy) > 1 else dy[0], where)
    with watch():
        dx = layer.backward(dy, cache)
    named = {f"y{i}": a for i, a in enumerate(as_tuple(y))} | {f"dx{i}": a for i, a in enumerate(as_tuple(dx))}
    named |= {f"grad of {name}": p.grad for name, p in layer.parameters().items()}
    return named | {name: a for name, a in layer.state_dict().items() if name not in layer.parameters()}


def _of_loss(loss, case: LossCase, dtype, where, watch):
    given = as_dtype((as_tuple(case.prediction), case.args, case.options), dtype)
    predictions, args, options = nn.to_device(given, where)
    with watch():
        value, gradients = loss(*predictions, *args, **options)
    assert type(value) is float
    value = nn.to_device(np.array(value, dtype), where)
    return {"value": value, **{f"gradient {i}": g for i, g in enumerate(as_tuple(gradients))}}


def compare(got, wanted, tolerance):
    """Arrays of NumPy by name: shapes and dtypes agree, elements relative to the largest of their array.

    An array whose elements are all below 1e-3 of the largest of all arrays is compared with that.
    """
    assert got.keys() == wanted.keys()
    largest = max(abs(a).max(initial=0) for a in wanted.values() if a is not None)
    for name, a in wanted.items():
        if a is None:
            assert got[name] is None, name
            continue
        assert (got[name].shape, got[name].dtype) == (a.shape, a.dtype), name
        error = abs(got[name] - a).max(initial=0)
        scale = max(abs(a).max(initial=0), 1e-3 * largest)
        assert error <= tolerance * scale, f"{name}: relative error {error / scale:.1e}"
