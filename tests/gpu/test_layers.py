"""Every layer and loss of nn.cases on the device: the results of the CPU, without transfers."""

import os
from contextlib import nullcontext

import numpy as np
import pytest

import nn
from nn.cases import LAYERS, LOSSES, randomise
from nn.gradcheck import check_contract, check_layer, check_loss
from tests.cupy_stand_in import kernels, no_transfers
from tests.registered import compare, parameters, results

ON_GPU = os.environ.get("NN_TEST_DEVICE") == "gpu"
TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}
OTHER_DRAWS = [  # dropout between layers also draws for the padding on the device, so the masks differ
    (layer, name)
    for layer in (nn.RNN, nn.LSTM, nn.GRU)
    for name in LAYERS[layer]
    if name.endswith("all at once")  # the cases with lengths and dropout
]


def run(where, owner, case, dtype):
    """All results of a case, by name; the only transfer allowed is the value of a loss."""
    return results(owner, case, dtype, where, nullcontext if nn.config.plain or owner in LOSSES else no_transfers)


def compare_with_cpu(device, got, wanted, tolerance):
    """Both are {name: array or None}; `got` has arrays of the device."""
    for name, a in wanted.items():
        if a is None or (not a.ndim and a.dtype.kind == "i"):  # counts stay on the CPU
            assert got[name] == a, name
        else:
            assert isinstance(got[name], device.ndarray), name
    compare(nn.to_device(got, "cpu"), wanted, tolerance)


def same_draws(owner, name):
    return (owner, name) not in OTHER_DRAWS


def numerically(owner, name):
    """Launches are slow on the stand-in, and all cases have the CPU's gradients, which are checked: one case each."""
    return ON_GPU or name == next(iter((LAYERS | LOSSES)[owner]))


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("owner, case", parameters(LAYERS, same_draws))
def test_a_layer_gives_the_results_of_the_cpu(owner, case, plain, device, monkeypatch):
    if plain and case is LAYERS[nn.MaxUnpool2d]["repeated positions"]:
        pytest.skip("of several values for one position, array code keeps any on a GPU: the stand-in refuses it")
    monkeypatch.setattr(nn.config, "plain", plain)
    for dtype, tolerance in TOLERANCES.items():
        compare_with_cpu(device, run("gpu", owner, case, dtype), run("cpu", owner, case, dtype), tolerance)


@pytest.mark.parametrize("owner, case", parameters(LAYERS))
def test_the_order_of_threads_does_not_change_bits(owner, case, device, monkeypatch):
    before, found = nn.gpu.kernels.launches, []
    for reverse in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", reverse)
        found.append(nn.to_device(run("gpu", owner, case, np.float32), "cpu"))
        if nn.gpu.kernels.launches == before:
            return  # no kernels in this layer
    for name, a in found[0].items():
        assert a is None or np.array_equal(a, found[1][name], equal_nan=True), name


@pytest.mark.parametrize("owner, case", parameters(LAYERS, numerically))
def test_layer_gradients(owner, case, device):
    check_layer(randomise(case.build()), *case.inputs, training=case.training, constants=case.constants, device="gpu")


@pytest.mark.parametrize("owner, case", parameters(LAYERS))
def test_layer_contract(owner, case, device):
    check_contract(randomise(case.build()), case.inputs, case.other, training=case.training, device="gpu")


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("loss, case", parameters(LOSSES))
def test_a_loss_gives_the_results_of_the_cpu(loss, case, plain, device, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    for dtype, tolerance in TOLERANCES.items():
        compare_with_cpu(device, run("gpu", loss, case, dtype), run("cpu", loss, case, dtype), tolerance)


@pytest.mark.parametrize("loss, case", parameters(LOSSES, numerically))
def test_loss_gradients(loss, case, device):
    check_loss(loss, case.prediction, *case.args, device="gpu", **case.options)
