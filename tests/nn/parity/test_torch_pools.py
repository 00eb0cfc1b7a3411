"""PyTorch as a second opinion on average and adaptive pooling, forward and gradient, in float64."""

import numpy as np
import pytest

from nn.layers.adaptive_pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, SpatialPyramidPool
from nn.layers.avg_pool import AvgPool2d, GlobalAvgPool2d

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


def agree(ours, theirs, x, rng, rtol=1e-12):
    """Output and input gradient of our layer and of PyTorch's function, for a random dy."""
    tensor = torch.tensor(x, requires_grad=True)
    wanted = theirs(tensor)
    y, cache = ours.forward(x)
    assert y.shape == tuple(wanted.shape)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol, atol=rtol)
    dy = rng.normal(size=y.shape)
    wanted.backward(torch.tensor(dy))
    np.testing.assert_allclose(ours.backward(dy, cache), tensor.grad.numpy(), rtol, atol=rtol)


@pytest.mark.parametrize("seed", SEEDS)
def test_avg_pool(seed):
    rng = np.random.default_rng([180, seed])
    kernel, stride = numbers(rng, 1, 5), numbers(rng, 1, 5)
    padding = tuple(numbers(rng, 0, k // 2, 1)[0] for k in kernel)
    h, w = (max(1, k - 2 * p) + numbers(rng, 0, 8, 1)[0] for k, p in zip(kernel, padding))
    options = {"stride": None if seed % 5 == 0 else stride, "padding": padding, "ceil_mode": seed % 2 == 0}
    options["count_include_pad"] = seed % 3 > 0
    options["divisor_override"] = numbers(rng, 1, 9, 1)[0] if seed % 7 == 0 else None
    x = rng.normal(size=(*numbers(rng, 1, 4), h, w))
    agree(AvgPool2d(kernel, **options), torch.nn.AvgPool2d(kernel, **options), x, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_adaptive_pools(seed):
    rng = np.random.default_rng([181, seed])
    x = rng.normal(size=(*numbers(rng, 1, 4), *numbers(rng, 1, 17)))
    size = numbers(rng, 1, 12)
    if seed % 5 == 0:
        size = [(None, size[1]), (size[0], None), size[0]][seed % 3]
    agree(AdaptiveAvgPool2d(size), torch.nn.AdaptiveAvgPool2d(size), x, rng)
    if seed % 3 == 0:
        x = np.round(x)  # ties
    agree(AdaptiveMaxPool2d(size), torch.nn.AdaptiveMaxPool2d(size), x, rng)
    y, indices = AdaptiveMaxPool2d(size, return_indices=True)(x)
    their_y, their_indices = torch.nn.AdaptiveMaxPool2d(size, return_indices=True)(torch.tensor(x))
    assert np.array_equal(y, their_y.numpy()) and np.array_equal(indices, their_indices.numpy())


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_pyramid_and_global_average(seed):
    rng = np.random.default_rng([182, seed])
    x = rng.normal(size=(*numbers(rng, 1, 4), *numbers(rng, 1, 15)))
    levels = numbers(rng, 1, 6, 1 + seed % 3)

    def theirs(tensor):
        return torch.cat([F.adaptive_max_pool2d(tensor, level).flatten(1) for level in levels], 1)

    agree(SpatialPyramidPool(levels), theirs, x, rng)
    agree(GlobalAvgPool2d(), lambda tensor: F.adaptive_avg_pool2d(tensor, 1).flatten(1), x, rng)
