"""Moving arrays, layers, optimisers and averages; switches; and messages where there is no GPU."""

import os
import sys
from typing import NamedTuple

import numpy as np
import pytest

import nn
from nn.cases import LAYERS
from nn.gpu.device import import_cupy, is_count, map_arrays
from nn.gradcheck import GradientError, check_contract, check_layer, check_loss
from scripts import evaluate, gradcheck, predict, profile, train


class Pair(NamedTuple):
    images: np.ndarray
    names: list


def nest():
    return [
        Pair(np.arange(6.0).reshape(2, 3), ["a", "b"]),
        {"boxes": (np.ones(3, np.int64), None)},
        3,
        np.array(["text"]),
    ]


def test_a_nest_is_copied_there_and_back(device):
    there = nn.to_device(nest(), "gpu")
    assert isinstance(there[0], Pair)
    assert isinstance(there[0].images, device.ndarray)
    assert isinstance(there[1]["boxes"][0], device.ndarray)
    assert there[0].names == ["a", "b"]
    assert there[1]["boxes"][1] is None
    assert isinstance(there[3], np.ndarray), "text stays on the CPU"
    back = nn.to_device(there, "cpu")
    np.testing.assert_array_equal(back[0].images, nest()[0].images)
    assert back[1]["boxes"][0].dtype == np.int64
    assert [nn.device_of(tree) for tree in (there, back, {}, 3, there[1]["boxes"][1])] == ["gpu", *["cpu"] * 4]


def test_arrays_already_there_are_not_copied(device):
    x = device.asarray(np.ones(3))
    assert nn.to_device(x, "gpu") is x
    host = np.ones(3)
    assert nn.to_device(host, "cpu") is host
    assert map_arrays(lambda a: a + 1, (host, 1))[1] == 1


def test_an_unknown_device():
    with pytest.raises(ValueError, match="device must be 'cpu' or 'gpu', got 'cuda'"):
        nn.to_device(np.ones(3), "cuda")


class Normed(nn.Layer):
    """A tied parameter, a buffer, a count and a constant."""

    constants = ("scale", "nothing")

    def __init__(self):
        self.one, self.norm, self.two = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)
        self.two.weight = self.one.weight
        self.scale, self.nothing = np.full(3, 2.0), None


def test_a_layer_moves_with_all_its_arrays(device):
    layer = Normed()
    layer.one.weight.grad[...] = 7
    assert layer.to("gpu") is layer
    arrays = {**layer.state_dict(), "scale": layer.scale, **{f"d{k}": p.grad for k, p in layer.parameters().items()}}
    on_cpu = {name for name, array in arrays.items() if nn.device_of(array) == "cpu"}
    assert on_cpu == {"norm.num_batches_tracked"}
    assert is_count(layer.norm.num_batches_tracked)
    assert layer.one.weight is layer.two.weight
    assert nn.device_of(layer) == "gpu"
    layer.to("cpu")
    assert nn.device_of([*arrays, layer.scale, *layer.state_dict().values()]) == "cpu"
    np.testing.assert_array_equal(layer.one.weight.grad, 7)


@pytest.mark.parametrize("make", [
    lambda p: nn.SGD(p, 0.1, momentum=0.9), lambda p: nn.Adam(p), lambda p: nn.AdamW(p), lambda p: nn.AdaGrad(p),
    lambda p: nn.RMSProp(p, momentum=0.5, centered=True),
], ids=["SGD", "Adam", "AdamW", "AdaGrad", "RMSProp"])  # fmt: skip
def test_an_optimiser_continues_on_the_other_device(device, make):
    layers = [nn.Linear(3, 2, rng=np.random.default_rng(0)) for _ in range(2)]
    optimisers = [make(layer.parameters()) for layer in layers]
    averages = [nn.ExponentialMovingAverage(layer, 0.5) for layer in layers]
    for step, where in enumerate(["cpu", "gpu", "gpu", "cpu"]):
        for one in (layers[1], optimisers[1], averages[1]):
            one.to(where)
        for layer, optimiser, average in zip(layers, optimisers, averages):
            for p in layer.parameters().values():
                grad = np.random.default_rng([step, *p.value.shape]).standard_normal(p.value.shape).astype(np.float32)
                p.grad[...] = nn.to_device(grad, nn.device_of(layer))
            optimiser.step()
            average.update()
    for here, moved in (
        (layers[0].state_dict(), layers[1].state_dict()),
        (averages[0].averages(), averages[1].averages()),
    ):
        for name in here:
            np.testing.assert_allclose(moved[name], here[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_checks_move_layer_inputs_and_gradients(device):
    for layer in (nn.Conv2d, nn.BatchNorm2d):
        case = next(iter(LAYERS[layer].values()))
        made = case.build()
        errors = check_layer(made, *case.inputs, device="gpu", training=case.training)
        assert max(errors.values()) < 1e-7
        check_contract(made, case.inputs, case.other, device="gpu", training=case.training)
        assert nn.device_of(made) == "cpu", "it comes back"
    logits, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 2, 1, 1])
    assert check_loss(nn.softmax_cross_entropy, logits, labels, device="gpu") < 1e-7


class Wrong(nn.Layer):
    def forward(self, x, training=True):
        return x * x, x

    def backward(self, dy, cache):
        return 1.9 * dy * cache


class Leaves(nn.Layer):
    """Its gradient is always on the CPU."""

    def forward(self, x, training=True):
        return x * x, x

    def backward(self, dy, cache):
        return nn.to_device(2 * dy * cache, "cpu")


def test_the_checks_find_errors_on_the_device(device):
    x, other = np.random.default_rng(0).standard_normal((2, 3)), np.ones((1, 3))
    with pytest.raises(GradientError, match="^Wrong: gradient of x"):
        check_layer(Wrong(), x, device="gpu")
    with pytest.raises(GradientError, match="Leaves: arrays on the gpu in, got out some on the cpu"):
        check_contract(Leaves(), (x,), (other,), device="gpu")


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"device gpu needs CuPy, which .*cuda12.*cuda13.*nvidia-smi"):
        nn.to_device(np.ones(3), "gpu")
    with pytest.raises(ValueError, match="device gpu needs CuPy"):
        nn.Linear(2, 3).to("gpu")


SCRIPTS = {
    "train": (train, ["--model", "resnet20_cifar", "--run-dir", "x"]),
    "evaluate": (evaluate, ["x.npz"]),
    "predict": (predict, ["x.npz", "y.png", "--out", "z"]),
    "gradcheck": (gradcheck, ["Linear"]),
    "profile": (profile, []),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_say_at_once_what_is_missing(name, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.chdir(tmp_path)
    script, arguments = SCRIPTS[name]
    assert script.main([*arguments, "--device", "gpu"]) == 2
    assert capsys.readouterr().err.startswith("error: device gpu needs CuPy")
    assert not list(tmp_path.iterdir()), "nothing is written before"


def test_without_a_cuda_device(device, monkeypatch):
    def fails():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr("nn.gpu.device._ready", {})
    monkeypatch.setattr(device.cuda.runtime, "getDeviceCount", fails)
    with pytest.raises(ValueError, match="needs a CUDA device: cudaErrorNoDevice.*use device cpu"):
        import_cupy()
    monkeypatch.setattr(device.cuda.runtime, "getDeviceCount", lambda: 0)
    with pytest.raises(ValueError, match="needs a CUDA device, there is none"):
        import_cupy()


def test_tensor_float_32_is_cupys_environment_variable(monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "0")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert not nn.config.tf32
    nn.config.tf32 = True
    assert nn.config.tf32 and os.environ["CUPY_TF32"] == "1"
    nn.config.tf32 = False
    assert not nn.config.tf32 and os.environ["CUPY_TF32"] == "0"
    monkeypatch.setenv("CUPY_TF32", "1")
    assert nn.config.tf32


def test_tensor_float_32_cannot_change_once_cupy_is_imported(device, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "0")
    nn.config.tf32 = False  # its present value
    with pytest.raises(ValueError, match=r"set nn.config.tf32 before CuPy is imported, or CUPY_TF32=1 in the env"):
        nn.config.tf32 = True
    assert not nn.config.tf32 and os.environ["CUPY_TF32"] == "0"
