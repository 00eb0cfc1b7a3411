"""PyTorch as a second opinion on normalisations, over random shapes and options; skipped where it is not installed."""

import numpy as np
import pytest

from nn.layers.batch_norm import BatchNorm1d, BatchNorm2d
from nn.layers.layer_norm import LayerNorm
from nn.layers.local_norm import L2Norm, LocalResponseNorm

torch = pytest.importorskip("torch")
F = torch.nn.functional

CLOSE = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Arrays are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TorchL2Norm(torch.nn.Module):
    """In tensor operations: PyTorch has no such layer."""

    def __init__(self, num_channels, scale, eps):
        super().__init__()
        self.weight, self.eps = torch.nn.Parameter(torch.full((num_channels,), scale)), eps

    def forward(self, x):
        norm = torch.sqrt((x**2).sum(dim=1, keepdim=True) + self.eps)
        return self.weight.reshape(-1, *(1,) * (x.ndim - 2)) * x / norm


def agree(rng, ours, theirs, shape, training=True, steps=1):
    """Outputs, all gradients and all buffers, in float64, after some forwards and backwards on random arrays."""
    ours.astype(np.float64)
    theirs.double().train(training)
    state = theirs.state_dict()
    assert ours.state_dict().keys() == state.keys()
    for name, array in ours.state_dict().items():
        if array.ndim:
            array[...] = rng.uniform(0.5, 2, array.shape) * (1 if name == "running_var" else rng.choice([-1, 1]))
            state[name].copy_(torch.tensor(array))
    for _ in range(steps):
        x, dy = rng.normal(size=(2, *shape)) * rng.uniform(0.5, 5) + rng.normal()
        y, cache = ours.forward(x, training=training)
        dx = ours.backward(dy, cache)
        tensor = torch.tensor(x, requires_grad=True)
        wanted = theirs(tensor)
        wanted.backward(torch.tensor(dy))
        np.testing.assert_allclose(y, wanted.detach().numpy(), **CLOSE)
        np.testing.assert_allclose(dx, tensor.grad.numpy(), **CLOSE)
    parameters = dict(theirs.named_parameters())
    assert ours.parameters().keys() == parameters.keys()
    for name, parameter in ours.parameters().items():
        np.testing.assert_allclose(parameter.grad, parameters[name].grad.numpy(), err_msg=name, **CLOSE)
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(getattr(ours, name), buffer.numpy(), err_msg=name, **CLOSE)


def some(rng, axes, most=6):
    return tuple(rng.integers(1, most, axes).tolist())


@pytest.mark.parametrize("seed", range(80))
@pytest.mark.parametrize("axes", [0, 1, 2])
def test_batch_norm(axes, seed):
    rng = np.random.default_rng([160, axes, seed])
    n, c, *rest = (*some(rng, 2), *some(rng, axes))
    n += n * int(np.prod(rest)) == 1  # more than one value a channel
    options = {
        "eps": float(10 ** rng.uniform(-5, 0)),
        "momentum": rng.choice([None, 0.1, 0.7]),
        "affine": bool(rng.random() < 0.7),
        "track_running_stats": bool(rng.random() < 0.8),
    }
    ours, theirs = (BatchNorm2d, torch.nn.BatchNorm2d) if axes == 2 else (BatchNorm1d, torch.nn.BatchNorm1d)
    agree(rng, ours(c, **options), theirs(c, **options), (n, c, *rest), bool(rng.random() < 0.7), rng.integers(1, 4))


@pytest.mark.parametrize("seed", range(100))
def test_layer_norm(seed):
    rng = np.random.default_rng([161, seed])
    shape, options = some(rng, rng.integers(1, 4)), {"eps": float(10 ** rng.uniform(-5, 0))}
    options |= {"elementwise_affine": bool(rng.random() < 0.7), "bias": bool(rng.random() < 0.6)}
    given = shape[0] if len(shape) == 1 else shape
    lead = some(rng, rng.integers(0, 3))
    agree(rng, LayerNorm(given, **options), torch.nn.LayerNorm(given, **options), (*lead, *shape), steps=2)


@pytest.mark.parametrize("seed", range(100))
def test_local_response_norm(seed):
    rng = np.random.default_rng([162, seed])
    size, alpha = int(rng.integers(1, 10)), float(10 ** rng.uniform(-4, 0.5))
    options = size, alpha, float(rng.uniform(0, 2)), float(rng.uniform(0.3, 3))
    n, c, *rest = (*some(rng, 1), *some(rng, 1, 12), *some(rng, rng.integers(1, 3)))
    agree(rng, LocalResponseNorm(*options), torch.nn.LocalResponseNorm(*options), (n, c, *rest))


def test_local_response_norm_by_default():
    for seed in range(20):
        agree(np.random.default_rng([163, seed]), LocalResponseNorm(5), torch.nn.LocalResponseNorm(5), (2, 7, 3, 4))


@pytest.mark.parametrize("seed", range(60))
def test_l2_norm(seed):
    rng = np.random.default_rng([164, seed])
    options = some(rng, 1, 12)[0], float(rng.uniform(0.5, 20)), float(10 ** rng.uniform(-10, 0))
    shape = (*some(rng, 1), options[0], *some(rng, rng.integers(0, 3)))
    agree(rng, L2Norm(*options), TorchL2Norm(*options), shape, steps=2)


def test_l2_norm_is_normalize_times_the_scale():
    x = np.random.default_rng(165).normal(size=(2, 5, 3, 4))
    wanted = 20 * F.normalize(torch.tensor(x), dim=1).numpy()
    np.testing.assert_allclose(L2Norm(5)(x), wanted, rtol=1e-9)
