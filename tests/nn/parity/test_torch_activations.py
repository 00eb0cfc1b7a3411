"""PyTorch as a second opinion on activations, softmax, dropouts and the gate over channels, over random shapes and
options; skipped where it is not installed. What is torchvision's is written out in tensor operations.
"""

import numpy as np
import pytest

from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from nn.layers.dropout import Dropout, Dropout2d, DropPath
from nn.layers.prelu import PReLU
from nn.layers.relu6 import ReLU6
from nn.layers.softmax import LogSoftmax, Softmax
from nn.layers.squeeze_excitation import SqueezeExcitation

torch = pytest.importorskip("torch")
T = torch.nn

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Arrays are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TorchSqueezeExcitation(T.Module):
    """torchvision.ops.SqueezeExcitation."""

    def __init__(self, input_channels, squeeze_channels, activation=T.ReLU, scale_activation=T.Sigmoid):
        super().__init__()
        self.avgpool = T.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = (
            T.Conv2d(input_channels, squeeze_channels, 1),
            T.Conv2d(squeeze_channels, input_channels, 1),
        )
        self.activation, self.scale_activation = activation(), scale_activation()

    def forward(self, x):
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


def agree(ours, theirs, x, dy):
    """Outputs and all gradients, in float64."""
    ours.astype(np.float64)
    theirs = theirs.double() if isinstance(theirs, T.Module) else theirs
    y, cache = ours.forward(x)
    dx = ours.backward(dy, cache)
    tensor = torch.tensor(x, requires_grad=True)
    wanted = theirs(tensor)
    wanted.backward(torch.tensor(dy))
    np.testing.assert_allclose(y, wanted.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(dx, tensor.grad.numpy(), **CLOSE)
    parameters = dict(theirs.named_parameters()) if isinstance(theirs, T.Module) else {}
    assert ours.parameters().keys() == parameters.keys()
    for name, parameter in ours.parameters().items():
        np.testing.assert_allclose(parameter.grad, parameters[name].grad.numpy(), err_msg=name, **CLOSE)


def arrays(rng, shape):
    """x and dy; x around 0, or far from it, or exactly 0 here and there."""
    x, dy = rng.normal(size=(2, *shape))
    return x * rng.choice([1, 10, 1000]) * (rng.random(shape) < 0.95), dy


def some(rng, axes, most=6):
    return tuple(rng.integers(1, most, axes).tolist())


def uniform(low, high):
    return lambda rng: (float(rng.uniform(low, high)),)


ELEMENTWISE = {
    "ReLU": (ReLU, T.ReLU, lambda rng: ()),
    "ReLU6": (ReLU6, T.ReLU6, lambda rng: ()),
    "LeakyReLU": (LeakyReLU, T.LeakyReLU, uniform(0, 0.99)),
    "ELU": (ELU, T.ELU, uniform(0, 3)),
    "Sigmoid": (Sigmoid, T.Sigmoid, lambda rng: ()),
    "Tanh": (Tanh, T.Tanh, lambda rng: ()),
    "SiLU": (SiLU, T.SiLU, lambda rng: ()),
    "Softplus": (Softplus, T.Softplus, lambda rng: (float(rng.uniform(0.2, 4)), float(rng.uniform(-1, 25)))),
}


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, seed):
    ours, theirs, draw = ELEMENTWISE[name]
    rng = np.random.default_rng([170, seed])
    options = draw(rng) if seed else ()  # the defaults too
    agree(ours(*options), theirs(*options), *arrays(rng, some(rng, rng.integers(0, 5))))


@pytest.mark.parametrize("seed", range(80))
def test_prelu(seed):
    rng = np.random.default_rng([171, seed])
    shape, init = some(rng, rng.integers(2, 5)), float(rng.uniform(-1, 2))
    number = shape[1] if rng.random() < 0.7 else 1
    ours, theirs = PReLU(number, init), T.PReLU(number, init)
    x, dy = arrays(rng, shape)
    ours.weight.value[...] = slopes = rng.normal(size=number).astype(np.float32)
    theirs.weight.data[...] = torch.tensor(slopes)
    agree(ours, theirs, x, dy)


@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("ours, theirs", [(Softmax, T.Softmax), (LogSoftmax, T.LogSoftmax)])
def test_softmax(ours, theirs, seed):
    rng = np.random.default_rng([172, seed])
    shape = some(rng, rng.integers(1, 5))
    axis = int(rng.integers(-len(shape), len(shape)))
    agree(ours(axis), theirs(axis), *arrays(rng, shape))


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("layer, own_axes", [(Dropout, None), (Dropout2d, 2), (DropPath, 1), ("batch", 0)])
def test_dropouts_given_their_mask(layer, own_axes, seed):
    """The random numbers are not PyTorch's: with the mask that fell, what torchvision does with it."""
    rng = np.random.default_rng([173, seed])
    shape, p = some(rng, rng.integers(2, 5)), float(rng.uniform(0, 0.9))
    options = (p, "batch") if layer == "batch" else (p,)
    layer = DropPath if layer == "batch" else layer
    kept = layer(*options, rng=np.random.default_rng(seed)).forward(np.ones(shape))[0] != 0
    own_axes = len(shape) if own_axes is None else own_axes
    noise = torch.tensor(kept).double()[tuple(slice(None) if i < own_axes else slice(0, 1) for i in range(len(shape)))]
    noise = noise[:1] if own_axes == 0 else noise
    agree(layer(*options, rng=np.random.default_rng(seed)), lambda x: x * noise.div(1 - p), *arrays(rng, shape))


@pytest.mark.parametrize("seed", range(200))
def test_squeeze_excitation(seed):
    rng = np.random.default_rng([174, seed])
    (c, squeezed), shape = some(rng, 2), some(rng, 3)
    activation = [(ReLU, T.ReLU), (SiLU, T.SiLU), (PReLU, T.PReLU)][rng.integers(3)]
    scale = [(Sigmoid, T.Sigmoid), (Tanh, T.Tanh)][rng.integers(2)]
    ours = SqueezeExcitation(c, squeezed, activation[0], scale[0]).astype(np.float64)
    theirs = TorchSqueezeExcitation(c, squeezed, activation[1], scale[1]).double()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, array in ours.state_dict().items():
        array[...] = rng.normal(size=array.shape)
        theirs.state_dict()[name].copy_(torch.tensor(array))
    agree(ours, theirs, *rng.normal(size=(2, shape[0], c, *shape[1:])))
