"""Optimisers, clipping and averages by multi-tensor kernels: options, groups, frozen, tied and replaced arrays."""

import math

import numpy as np
import pytest

import nn
from nn.gpu import kernels as cuda
from nn.gpu import multi_tensor
from nn.optim.adaptive import AdaGrad, Adam, AdamW, RMSProp
from nn.optim.clipping import clip_gradient_norm
from nn.optim.sgd import SGD
from tests.cupy_stand_in import no_transfers

SHAPES = {"a": (3,), "b": (70, 80), "c": (1,), "frozen": (2, 3, 4), "d": (5000,)}
OPTIONS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (AdaGrad, {}),
    (AdaGrad, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
    (RMSProp, {}),
    (RMSProp, {"centered": True, "alpha": 0.7}),
    (RMSProp, {"momentum": 0.9, "eps": 1e-3}),
    (RMSProp, {"centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    (Adam, {}),
    (Adam, {"weight_decay": 0.1, "betas": (0.5, 0.7), "eps": 1e-3}),
    (AdamW, {"lr": 0.1, "weight_decay": 0.3}),
]
optimisers = pytest.mark.parametrize("make, options", OPTIONS, ids=lambda x: getattr(x, "__name__", str(x)))
TOLERANCES = pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])


def parameters(dtype, device=None):
    """Parameters by name, one tied, one frozen; on the device if one is given."""
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
    made = {name: nn.Parameter(device.asarray(value) if device else value) for name, value in values.items()}
    made["frozen"].trainable = False
    return made | {"tied": made["a"]}


def give_gradients(step, *several):
    """The same random gradients for several {name: Parameter}."""
    rng = np.random.default_rng(100 + step)
    for name in SHAPES:
        gradient = rng.standard_normal(SHAPES[name])
        for own in several:
            grad = own[name].grad
            grad[...] = nn.array_module(grad).asarray(gradient.astype(grad.dtype))


def agree(device, got, wanted, tolerance):
    """Two dicts of arrays: the first one's are on the device."""
    assert got.keys() == wanted.keys()
    for name, a in wanted.items():
        b = device.asnumpy(got[name])
        assert b.dtype == a.dtype
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, err_msg=name)


def values(own):
    return {name: parameter.value for name, parameter in own.items()}


@optimisers
@TOLERANCES
def test_steps_are_those_of_the_cpu_in_one_launch_per_group(device, make, options, dtype, tolerance):
    cpu, gpu = parameters(dtype), parameters(dtype, device)
    groups = lambda own: [  # noqa: E731
        {"parameters": {name: own[name] for name in ("a", "b", "tied")}},
        {"parameters": {name: own[name] for name in ("c", "frozen", "d")}, "lr": 0.03, "weight_decay": 0.2},
    ]
    on_cpu, on_gpu = make(groups(cpu), **options), make(groups(gpu), **options)
    for step, free in enumerate([False, False, True, True]):
        cpu["frozen"].trainable = gpu["frozen"].trainable = free
        give_gradients(step, cpu, gpu)
        before = cuda.launches
        with no_transfers(*["_tables_of"] * (step in (0, 2))):  # tables: when the arrays are not those of before
            on_gpu.step(0.5)
        others = free and "frozen.t" in on_gpu.state_dict()  # its first steps, after two of the others
        assert cuda.launches - before == (3 if others else 2)
        on_cpu.step(0.5)
    agree(device, values(gpu), values(cpu), tolerance)
    agree(device, on_gpu.state_dict(), on_cpu.state_dict(), tolerance)
    assert gpu["tied"] is gpu["a"]


@optimisers
def test_a_state_is_moved_to_the_cpu_and_back(device, make, options):
    cpu, gpu = parameters(np.float64), parameters(np.float64, device)
    on_cpu, on_gpu = make(cpu, **options), make(gpu, **options)
    give_gradients(0, cpu, gpu)
    on_cpu.step()
    on_gpu.load_state_dict(on_cpu.state_dict())
    for name in SHAPES:
        gpu[name].value[...] = device.asarray(cpu[name].value)
    give_gradients(1, cpu, gpu)
    on_cpu.step()
    on_gpu.step()
    agree(device, values(gpu), values(cpu), 1e-12)
    on_cpu.load_state_dict({name: device.asnumpy(a) for name, a in on_gpu.state_dict().items()})
    agree(device, on_gpu.state_dict(), on_cpu.state_dict(), 1e-12)


def test_arrays_that_are_replaced_or_not_contiguous_or_of_another_dtype(device):
    cpu, gpu = parameters(np.float64), parameters(np.float64, device)
    on_cpu, on_gpu = Adam(cpu, lr=0.1), Adam(gpu, lr=0.1)
    for step in range(3):
        give_gradients(step, cpu, gpu)
        on_cpu.step()
        on_gpu.step()
        gpu["b"].value = gpu["b"].value.copy()  # another address
        gpu["d"].grad = device.zeros_like(gpu["d"].grad)
        if step == 1:
            gpu["b"].value = device.asarray(device.asnumpy(gpu["b"].value).T.copy()).T
            assert not gpu["b"].value.flags.c_contiguous
    agree(device, values(gpu), values(cpu), 1e-12)
    before = device.asnumpy(gpu["d"].value), cuda.launches
    gpu["d"].value, gpu["d"].grad = (a.astype(np.float32) for a in (gpu["d"].value, gpu["d"].grad))
    on_gpu.step()  # its state is still float64
    assert cuda.launches == before[1] + 1 and abs(device.asnumpy(gpu["d"].value) - before[0]).max() < 0.2
    mixed = {"a": nn.Parameter(device.ones(3, np.float32)), "b": nn.Parameter(device.ones(3, np.float64))}
    for p in mixed.values():
        p.grad[...] = 1
    before = cuda.launches
    SGD(mixed, lr=0.5).step()
    assert cuda.launches - before == 2 and all((p.value == 0.5).all() for p in mixed.values())


def test_an_optimiser_without_a_kernel_uses_its_rule(device):
    class Signs(SGD):
        """Steps of lr along the sign of the gradient."""

        @staticmethod
        def rule(value, grad, v, lr, weight_decay, momentum, nesterov):
            return value - lr * nn.array_module(value).sign(grad), v

    p = nn.Parameter(device.zeros(3))
    p.grad[...] = device.asarray(np.array([-2.0, 0, 5]))
    Signs({"p": p}, lr=0.5).step()
    assert device.asnumpy(p.value).tolist() == [0.5, 0, -0.5]


@TOLERANCES
def test_clipping_takes_at_most_three_kernels_and_copies_one_number(device, dtype, tolerance):
    cpu, gpu = parameters(dtype), parameters(dtype, device)
    for max_norm in (1e6, 3.0, math.inf):
        give_gradients(0, cpu, gpu)
        wanted, before = clip_gradient_norm(cpu, max_norm), cuda.launches
        with no_transfers("_tables_of", "norm"):
            got = clip_gradient_norm(gpu, max_norm)
        assert cuda.launches - before == (2 if max_norm == 3 else 1)
        assert isinstance(got, float) and got == pytest.approx(wanted, rel=tolerance)
        gradients = lambda own: {name: p.grad for name, p in own.items()}  # noqa: E731
        agree(device, gradients(gpu), gradients(cpu), tolerance)
    gpu["d"].grad[...] = dtype(1e30)  # the square overflows float32
    cpu["d"].grad[...] = dtype(1e30)
    assert clip_gradient_norm(gpu, math.inf) == pytest.approx(clip_gradient_norm(cpu, math.inf), rel=1e-6)
    gpu["a"].grad[0] = np.nan
    kept = device.asnumpy(gpu["b"].grad)
    assert math.isnan(clip_gradient_norm(gpu, 1.0)) and (device.asnumpy(gpu["b"].grad) == kept).all()
    frozen = {"frozen": gpu["frozen"]}
    assert clip_gradient_norm(frozen, 1.0) == 0.0


def test_zero_grad_is_one_launch(device):
    gpu = parameters(np.float32, device)
    optimiser, layer = SGD(gpu, lr=1.0), nn.LSTM(3, 4, 2).to("gpu")
    for zero_grad, own in ((optimiser.zero_grad, gpu), (layer.zero_grad, layer.parameters())):
        for p in own.values():
            p.grad[...] = 1
        before = cuda.launches
        with no_transfers("_tables_of"):
            zero_grad()
        assert cuda.launches - before == 1 and not any(device.asnumpy(p.grad).any() for p in own.values())


@TOLERANCES
def test_a_moving_average_is_one_launch(device, dtype, tolerance):
    layers = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).astype(dtype) for _ in range(2)]
    layers[1].to("gpu")
    averages = [nn.ExponentialMovingAverage(layer, 0.9, bias_correction=True) for layer in layers]
    rng = np.random.default_rng(3)
    for step in range(3):
        for name, array in layers[0].state_dict().items():
            if array.ndim:
                array[...] = rng.standard_normal(array.shape)
                layers[1].state_dict()[name][...] = device.asarray(array)
        averages[0].update()
        before = cuda.launches
        with no_transfers(*["_tables_of"] * (step == 0)):
            averages[1].update()
        assert cuda.launches - before == 1
    agree(device, averages[1].averages(), averages[0].averages(), tolerance)


def test_tables_are_made_once_for_the_same_arrays(device):
    gpu = parameters(np.float32, device)
    optimiser = Adam(gpu)
    optimiser.step()
    made = multi_tensor._tables_of.cache_info().misses
    for _ in range(3):
        optimiser.step()
    assert multi_tensor._tables_of.cache_info().misses == made
