"""PyTorch as a second opinion on Upsample2d and MaxUnpool2d, forward and gradient, in float64."""

import numpy as np
import pytest

from nn import MaxPool2d
from nn.layers.max_unpool import MaxUnpool2d
from nn.layers.upsample import Upsample2d

torch = pytest.importorskip("torch")
F = torch.nn.functional
SEEDS = range(220)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """For arrays this small PyTorch's threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def numbers(rng, low, high, count=2):
    """A few random whole numbers, low <= n <= high."""
    return tuple(int(v) for v in rng.integers(low, high + 1, count))


def agree(ours, theirs, x, rng, *inputs, rtol=1e-12):
    """Output and input gradient of our layer and of PyTorch's function, for a random dy."""
    tensor = torch.tensor(x, requires_grad=True)
    wanted = theirs(tensor)
    y, cache = ours.forward(x, *inputs)
    assert y.shape == tuple(wanted.shape)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol, atol=rtol)
    dy = rng.normal(size=y.shape)
    wanted.backward(torch.tensor(dy))
    dx = ours.backward(dy, cache)
    np.testing.assert_allclose(dx[0] if inputs else dx, tensor.grad.numpy(), rtol, atol=rtol)


def target(rng, seed, in_size):
    """size or scale_factor of any kind: whole, fractions, one number, a pair."""
    kind = seed % 4
    if kind == 0:
        return {"size": numbers(rng, 1, 20)}
    if kind == 1:
        return {"scale_factor": tuple(float(v) for v in numbers(rng, 1, 4))}
    factors = tuple(float(max(f, 1 / n)) for f, n in zip(rng.uniform(0.3, 3.5, 2), in_size))
    return {"scale_factor": factors} if kind == 2 else {"scale_factor": max(factors)}


@pytest.mark.parametrize("mode, corners", [("nearest", None), ("bilinear", False), ("bilinear", True)])
@pytest.mark.parametrize("seed", SEEDS)
def test_upsample(seed, mode, corners):
    rng = np.random.default_rng([190, seed])
    x = rng.normal(size=(*numbers(rng, 1, 4), *numbers(rng, 1, 12)))
    options = target(rng, seed, x.shape[2:]) | {"mode": mode, "align_corners": corners}
    agree(Upsample2d(**options), torch.nn.Upsample(**options), x, rng, rtol=1e-11)


@pytest.mark.parametrize("seed", SEEDS)
def test_max_unpool(seed):
    """The sizes, and the values and gradients where windows do not overlap."""
    rng = np.random.default_rng([191, seed])
    kernel = numbers(rng, 1, 4)
    stride = tuple(k + numbers(rng, 0, 2, 1)[0] for k in kernel)
    padding = tuple(numbers(rng, 0, k // 2, 1)[0] for k in kernel)
    h, w = (k + numbers(rng, 0, 9, 1)[0] for k in kernel)
    x = rng.normal(size=(*numbers(rng, 1, 4), h, w))
    if seed % 4 == 0:
        stride = None
    pooled, indices = MaxPool2d(kernel, stride, padding, return_indices=True)(x)
    places = torch.tensor(indices)
    size = x.shape if seed % 2 else x.shape[2:]
    values = rng.normal(size=pooled.shape)
    theirs = torch.nn.MaxUnpool2d(kernel, stride, padding)
    agree(MaxUnpool2d(kernel, stride, padding), lambda v: theirs(v, places, size), values, rng, indices, size)
    grid = np.argsort(rng.random((*pooled.shape[:2], pooled[0, 0].size)), axis=2).reshape(pooled.shape)
    default = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(pooled.shape[2:], kernel, stride or kernel, padding)]
    if min(default) > 0 and default[0] * default[1] >= pooled[0, 0].size:  # random places, the default size
        agree(MaxUnpool2d(kernel, stride, padding), lambda v: theirs(v, torch.tensor(grid)), values, rng, grid)


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_max_unpool_where_windows_overlap(seed):
    """The values agree, the last of equal places staying. Of the gradients only ours is that of the forward."""
    rng = np.random.default_rng([192, seed])
    x = rng.normal(size=(2, 3, *numbers(rng, 3, 9)))
    _, indices = MaxPool2d(3, 1, 1, return_indices=True)(x)
    values = rng.normal(size=indices.shape)
    wanted = F.max_unpool2d(torch.tensor(values), torch.tensor(indices), 3, 1, 1, x.shape)
    assert np.array_equal(MaxUnpool2d(3, 1, 1)(values, indices, x.shape), wanted.numpy())
