"""PyTorch as a second opinion on layers, forward and all gradients, in float64; skipped where it is not installed."""

import numpy as np
import pytest

from nn import BatchNorm2d, Conv2d, LeakyReLU, Linear, MaxPool2d, ReLU, Sequential, config

torch = pytest.importorskip("torch")
F = torch.nn.functional
torch.set_num_threads(1)  # the examples are tiny
SEEDS = range(200)


def numbers(rng, low, high, count=2):
    """A few random whole numbers, low <= n <= high."""
    return tuple(int(v) for v in rng.integers(low, high + 1, count))


def agree(ours, theirs, x, rng, parameters=(), rtol=1e-10, **options):
    """Outputs, input gradient and parameter gradients of our layer and of PyTorch's, for a random dy."""
    tensor = torch.tensor(x, requires_grad=True)
    wanted = theirs(tensor)
    y, cache = ours.forward(x, **options)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol, atol=rtol)
    dy = rng.normal(size=y.shape)
    wanted.backward(torch.tensor(dy))
    ours.zero_grad()
    np.testing.assert_allclose(ours.backward(dy, cache), tensor.grad.numpy(), rtol, atol=rtol)
    for name, parameter in parameters:
        np.testing.assert_allclose(ours.parameters()[name].grad, parameter.grad.numpy(), rtol, atol=rtol, err_msg=name)


def copied(ours, theirs):
    """PyTorch's values in our layer; pairs of (name, PyTorch's parameter)."""
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.astype(np.float64).load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return list(theirs.named_parameters())


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_conv2d(seed, plain, monkeypatch):
    monkeypatch.setattr(config, "plain", plain)
    rng = np.random.default_rng([150, seed])
    kernel, stride, padding, dilation = numbers(rng, 1, 4), numbers(rng, 1, 3), numbers(rng, 0, 4), numbers(rng, 1, 3)
    groups = numbers(rng, 1, 3, 1)[0]
    c, o = (groups * factor for factor in numbers(rng, 1, 3))
    h, w = (max(d * (k - 1) + 1 - 2 * p, 1) + numbers(rng, 0, 9, 1)[0] for k, p, d in zip(kernel, padding, dilation))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": seed % 3 > 0}
    theirs = torch.nn.Conv2d(c, o, kernel, **options, dtype=torch.float64)
    ours = Conv2d(c, o, kernel, **options)
    agree(ours, theirs, rng.normal(size=(*numbers(rng, 1, 4, 1), c, h, w)), rng, copied(ours, theirs))


@pytest.mark.parametrize("seed", SEEDS)
def test_max_pool(seed):
    rng = np.random.default_rng([151, seed])
    kernel, stride, dilation = numbers(rng, 1, 4), numbers(rng, 1, 4), numbers(rng, 1, 3)
    padding = tuple(numbers(rng, 0, k // 2, 1)[0] for k in kernel)
    h, w = (d * (k - 1) + 1 + numbers(rng, 0, 8, 1)[0] for k, d in zip(kernel, dilation))
    options = {"stride": None if seed % 5 == 0 else stride, "padding": padding, "dilation": dilation}
    options["ceil_mode"] = seed % 2 == 0
    x = rng.normal(size=(*numbers(rng, 1, 4), h, w))
    if seed % 3 == 0:
        x = np.round(x)  # ties
    ours, theirs = MaxPool2d(kernel, **options), torch.nn.MaxPool2d(kernel, **options)
    agree(ours, theirs, x, rng)
    y, indices = MaxPool2d(kernel, **options, return_indices=True)(x)
    their_y, their_indices = F.max_pool2d(torch.tensor(x), kernel, **options, return_indices=True)
    assert np.array_equal(y, their_y.numpy()) and np.array_equal(indices, their_indices.numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_max_pool_output_sizes(seed):
    """Many sizes, no values: the corners of the ceil_mode rule."""
    rng = np.random.default_rng([152, seed])
    for _ in range(20):
        (kernel, stride), dilation = numbers(rng, 1, 6), numbers(rng, 1, 3, 1)[0]
        options = {"stride": stride, "padding": numbers(rng, 0, kernel // 2, 1)[0], "dilation": dilation}
        options["ceil_mode"] = bool(seed % 2)
        size = dilation * (kernel - 1) + 1 + numbers(rng, 0, 9, 1)[0]
        wanted = F.max_pool2d(torch.zeros(1, 1, size, size), kernel, **options).shape
        assert MaxPool2d(kernel, **options)(np.zeros((1, 1, size, size))).shape == tuple(wanted), (
            size,
            kernel,
            options,
        )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_batch_norm(seed, training):
    rng = np.random.default_rng([153, seed])
    channels, momentum = numbers(rng, 1, 5, 1)[0], rng.uniform(0, 1)
    options = {"eps": 10 ** rng.uniform(-6, 0), "momentum": momentum}
    theirs = torch.nn.BatchNorm2d(channels, **options, dtype=torch.float64).train(training)
    for name, tensor in theirs.state_dict().items():
        if tensor.ndim:
            tensor.copy_(torch.tensor(rng.uniform(0.5, 2, channels) * (1 if name == "running_var" else -1)))
    ours = BatchNorm2d(channels, **options)
    parameters = copied(ours, theirs)
    for _ in range(3):
        theirs.zero_grad()
        x = (
            rng.normal(size=(*numbers(rng, 2, 5, 1), channels, *numbers(rng, 1, 6))) * rng.uniform(0.1, 5)
            + rng.normal()
        )
        agree(ours, theirs, x, rng, parameters, training=training)
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], tensor.numpy(), rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("seed", SEEDS)
def test_frozen_batch_norm_is_evaluation_mode(seed):
    rng = np.random.default_rng([154, seed])
    channels = numbers(rng, 1, 5, 1)[0]
    theirs = torch.nn.BatchNorm2d(channels, dtype=torch.float64).eval()
    theirs.running_mean.copy_(torch.tensor(rng.normal(size=channels)))
    theirs.running_var.copy_(torch.tensor(rng.uniform(0.1, 3, channels)))
    ours = BatchNorm2d(channels, frozen=True)
    parameters = copied(ours, theirs)
    agree(ours, theirs, rng.normal(size=(2, channels, *numbers(rng, 1, 6))), rng, parameters, training=True)
    np.testing.assert_array_equal(ours.running_mean, theirs.running_mean.numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_linear(seed):
    rng = np.random.default_rng([155, seed])
    n, i, o = (int(v) for v in rng.integers(1, 400 if seed % 10 == 0 else 20, 3))
    theirs = torch.nn.Linear(i, o, bias=seed % 3 > 0, dtype=torch.float64)
    ours = Linear(i, o, bias=seed % 3 > 0)
    agree(ours, theirs, rng.normal(size=(n, i)), rng, copied(ours, theirs))


@pytest.mark.parametrize("seed", SEEDS)
def test_activations(seed):
    rng = np.random.default_rng([156, seed])
    x = rng.normal(size=numbers(rng, 1, 6, 1 + seed % 5))
    x[rng.random(x.shape) < 0.1] = 0
    agree(ReLU(), F.relu, x, rng)
    slope = 0.0 if seed % 10 == 0 else rng.uniform(0, 0.99)
    agree(LeakyReLU(slope), torch.nn.LeakyReLU(slope), x, rng)


def test_names_and_defaults_agree():
    """A state of PyTorch's loads without a table of names."""
    ours, theirs = BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    assert (ours.eps, ours.momentum) == (theirs.eps, theirs.momentum) and len(copied(ours, theirs)) == 2
    assert LeakyReLU().negative_slope == torch.nn.LeakyReLU().negative_slope
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU())
    assert len(copied(Sequential(Conv2d(2, 3, 3), BatchNorm2d(3), ReLU()), model)) == 4
