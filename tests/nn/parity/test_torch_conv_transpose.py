"""PyTorch as a second opinion on ConvTranspose2d, forward and all gradients, in float64."""

import numpy as np
import pytest

from nn import config
from nn.layers.conv_transpose import ConvTranspose2d

torch = pytest.importorskip("torch")


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


def configuration(rng, seed):
    """(N, C, O, H, W) and what a ConvTranspose2d takes: an output of at least one pixel."""
    kernel, stride, dilation, size = numbers(rng, 1, 4), numbers(rng, 1, 3), numbers(rng, 1, 3), numbers(rng, 1, 8)
    extra = tuple(numbers(rng, 0, max(s, d) - 1, 1)[0] for s, d in zip(stride, dilation))
    largest = [(n - 1) * s + d * (k - 1) + e for n, k, s, d, e in zip(size, kernel, stride, dilation, extra)]
    padding = tuple(numbers(rng, 0, min(4, n // 2), 1)[0] for n in largest)
    groups = numbers(rng, 1, 3, 1)[0]
    c, o = (groups * factor for factor in numbers(rng, 1, 3))
    options = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups, "dilation": dilation}
    return (*numbers(rng, 1, 4, 1), c, o, *size), kernel, options | {"bias": seed % 3 > 0}


@pytest.mark.parametrize("seed", range(300))
def test_conv_transpose(seed, monkeypatch):
    monkeypatch.setattr(config, "plain", seed % 4 == 0)
    rng = np.random.default_rng([170, seed])
    (n, c, o, h, w), kernel, options = configuration(rng, seed)
    theirs = torch.nn.ConvTranspose2d(c, o, kernel, **options, dtype=torch.float64)
    ours = ConvTranspose2d(c, o, kernel, **options).astype(np.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for parameter in theirs.parameters():
        parameter.data.copy_(torch.tensor(rng.normal(size=tuple(parameter.shape))))
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})

    x = rng.normal(size=(n, c, h, w))
    tensor = torch.tensor(x, requires_grad=True)
    wanted = theirs(tensor)
    dy = rng.normal(size=tuple(wanted.shape))
    wanted.backward(torch.tensor(dy))
    y, cache = ours.forward(x)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ours.backward(dy, cache), tensor.grad.numpy(), rtol=1e-11, atol=1e-11)
    for name, parameter in theirs.named_parameters():
        grad = ours.parameters()[name].grad
        np.testing.assert_allclose(grad, parameter.grad.numpy(), rtol=1e-11, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("stride, dilation, output_padding", [(1, 1, 1), (2, 2, 2), ((3, 2), (1, 1), (1, 2))])
def test_what_they_refuse_is_refused_here(stride, dilation, output_padding):
    arguments = (2, 3, 3, stride, 0, output_padding, 1, True, dilation)
    with pytest.raises(RuntimeError, match="output padding must be smaller"):
        torch.nn.ConvTranspose2d(*arguments)(torch.zeros(1, 2, 3, 3))
    with pytest.raises(ValueError, match="output_padding .* must be less"):
        ConvTranspose2d(*arguments)
