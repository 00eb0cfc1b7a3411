"""Every layer and loss of nn.cases on the device: it gives what it gives on the CPU, and nothing crosses meanwhile."""

import os
from contextlib import nullcontext

import numpy as np
import pytest

import nn
from nn.cases import LAYERS, LOSSES, randomise
from nn.gradcheck import check_contract, check_layer, check_loss
from tests.cupy_stand_in import kernels, no_transfers

ON_GPU = os.environ.get("NN_TEST_DEVICE") == "gpu"
TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}
OTHER_DRAWS = [  # dropout between the layers draws for padded places too on the device, so the numbers are not the same
    (layer, name)
    for layer in (nn.RNN, nn.LSTM, nn.GRU)
    for name in LAYERS[layer]
    if name.endswith("all at once")  # the cases with lengths and dropout
]


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


def run(where, case, dtype):
    """Everything that a layer gives, by name: outputs, gradients of inputs and parameters, buffers."""
    layer = randomise(case.build()).astype(dtype).to(where)
    inputs = nn.to_device(as_dtype(case.inputs, dtype), where)
    with nullcontext() if nn.config.plain else no_transfers():
        y, cache = layer.forward(*inputs, training=case.training)
    rng = np.random.default_rng(3)
    dy = tuple(rng.standard_normal(a.shape).astype(dtype) for a in as_tuple(y) if a.dtype.kind == "f")
    dy = nn.to_device(dy if len(dy) > 1 else dy[0], where)
    with nullcontext() if nn.config.plain else no_transfers():
        dx = layer.backward(dy, cache)
    named = {f"y{i}": a for i, a in enumerate(as_tuple(y))} | {f"dx{i}": a for i, a in enumerate(as_tuple(dx))}
    named |= {f"grad of {name}": p.grad for name, p in layer.parameters().items()}
    return named | {name: a for name, a in layer.state_dict().items() if name not in layer.parameters()}


def compare(device, got, wanted, tolerance):
    """Both are {name: array or None}; what is on the device is device's."""
    assert got.keys() == wanted.keys()
    largest = max(abs(a).max(initial=0) for a in wanted.values() if a is not None)
    for name, a in wanted.items():
        if a is None or (not a.ndim and a.dtype.kind == "i"):  # counts stay on the host
            assert got[name] == a, name
            continue
        assert isinstance(got[name], device.ndarray), name
        assert (got[name].shape, got[name].dtype) == (a.shape, a.dtype), name
        error = abs(device.asnumpy(got[name]) - a).max(initial=0)
        scale = max(abs(a).max(initial=0), 1e-3 * largest)
        assert error <= tolerance * scale, f"{name}: relative error {error / scale:.1e}"


def same_draws(owner, name):
    return (owner, name) not in OTHER_DRAWS


def numerically(owner, name):
    """Launches are slow on the stand-in, and all cases give the CPU's gradients, which are tested: one case each."""
    return ON_GPU or name == next(iter((LAYERS | LOSSES)[owner]))


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("owner, case", parameters(LAYERS, same_draws))
def test_a_layer_gives_what_it_gives_on_the_cpu(owner, case, plain, device, monkeypatch):
    if plain and case is LAYERS[nn.MaxUnpool2d]["repeated places"]:
        pytest.skip("of several values for one place, array code keeps any on a GPU: the stand-in refuses it")
    monkeypatch.setattr(nn.config, "plain", plain)
    for dtype, tolerance in TOLERANCES.items():
        compare(device, run("gpu", case, dtype), run("cpu", case, dtype), tolerance)


@pytest.mark.parametrize("owner, case", parameters(LAYERS))
def test_the_order_of_threads_changes_no_bit(owner, case, device, monkeypatch):
    before, results = nn.gpu.kernels.launches, []
    for reverse in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", reverse)
        results.append(nn.to_device(run("gpu", case, np.float32), "cpu"))
        if nn.gpu.kernels.launches == before:
            return  # no kernels in this layer
    for name, a in results[0].items():
        assert a is None or np.array_equal(a, results[1][name], equal_nan=True), name


@pytest.mark.parametrize("owner, case", parameters(LAYERS, numerically))
def test_layer_gradients(owner, case, device):
    check_layer(randomise(case.build()), *case.inputs, training=case.training, constants=case.constants, device="gpu")


@pytest.mark.parametrize("owner, case", parameters(LAYERS))
def test_layer_contract(owner, case, device):
    check_contract(randomise(case.build()), case.inputs, case.other, training=case.training, device="gpu")


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("loss, case", parameters(LOSSES))
def test_a_loss_gives_what_it_gives_on_the_cpu(loss, case, plain, device, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    for dtype, tolerance in TOLERANCES.items():
        results = []
        for where in ("cpu", "gpu"):
            given = as_dtype((as_tuple(case.prediction), case.args, case.options), dtype)
            predictions, args, options = nn.to_device(given, where)
            value, gradients = loss(*predictions, *args, **options)
            assert type(value) is float
            value = nn.to_device(np.array(value, dtype), where)
            results.append({"value": value, **{f"gradient {i}": g for i, g in enumerate(as_tuple(gradients))}})
        compare(device, results[1], results[0], tolerance)


@pytest.mark.parametrize("loss, case", parameters(LOSSES, numerically))
def test_loss_gradients(loss, case, device):
    check_loss(loss, case.prediction, *case.args, device="gpu", **case.options)
