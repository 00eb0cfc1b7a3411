"""Squeeze and excitation: attention over channels."""

from collections.abc import Callable

from nn.dispatch import functions
from nn.layer import Layer, check_shape, positive
from nn.layers.activation import ReLU, Sigmoid
from nn.layers.conv import Conv2d
from nn.random import generator


def squeeze(x):
    """s (N, C, 1, 1): the mean of each plane of x (N, C, H, W)."""
    return x.mean(axis=(2, 3), keepdims=True)


def excite(x, gate):
    """y = x * gate.    x, y (N, C, H, W), gate (N, C, 1, 1)."""
    return x * gate


def excite_backward(dy, x):
    """dgate (N, C, 1, 1): y = x * gate, the same gate for all pixels."""
    return (dy * x).sum(axis=(2, 3), keepdims=True)


def squeeze_backward(dy, gate, dsqueezed):
    """dx (N, C, H, W): x forks, into the product x * gate and into squeezed = mean(x), and gradients add up."""
    return dy * gate + dsqueezed / (dy.shape[2] * dy.shape[3])


class SqueezeExcitation(Layer):
    """y = x * g, one gate g in (0, 1) for each image and channel.    x, y (N, C, H, W), g (N, C, 1, 1).

    g = sigmoid(fc2(relu(fc1(s)))), s = mean of x over H, W (squeeze), fc1 from C to squeeze_channels, fc2 back
    (excitation). C is input_channels; the paper's reduction ratio r is input_channels / squeeze_channels, 16 there.

    fc1 and fc2 are 1x1 convolutions with bias, weights (squeeze, C, 1, 1) and (C, squeeze, 1, 1), and the words and
    names are torchvision's; `activation` and `scale_activation` are called to make the two non-linearities (nn.SiLU for
    the first in EfficientNet). Weights are drawn from `rng` as Conv2d draws them.

    Raises ValueError for x of other channels or images of no pixels.

    Reference: Hu et al. 2018, arXiv:1709.01507, sec. 3, eq. 2 (squeeze), 3 (excitation), 4 (scaling).
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[[], Layer] = ReLU,
        scale_activation: Callable[[], Layer] = Sigmoid,
        *,
        rng=None,
    ):
        positive(self, input_channels=input_channels, squeeze_channels=squeeze_channels)
        rng = rng or generator()
        self.input_channels = input_channels
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1, rng=rng)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1, rng=rng)
        self.activation, self.scale_activation = activation(), scale_activation()
        for name, made in (("activation", self.activation), ("scale_activation", self.scale_activation)):
            if not isinstance(made, Layer):
                raise TypeError(f"SqueezeExcitation: {name}() must give a Layer, got {type(made).__name__}")

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.input_channels, "H", "W")))
        if 0 in x.shape[2:]:
            raise ValueError(f"SqueezeExcitation: x must have at least one pixel, got x {x.shape}")
        squeezed = functions(__name__, x).squeeze(x)
        hidden, c_fc1 = self.fc1.forward(squeezed, training)
        active, c_activation = self.activation.forward(hidden, training)
        excited, c_fc2 = self.fc2.forward(active, training)
        gate, c_scale = self.scale_activation.forward(excited, training)
        y = functions(__name__, x, gate).excite(x, gate)
        return y, (x, gate, (c_fc1, c_activation, c_fc2, c_scale))

    def backward(self, dy, cache):
        x, gate, (c_fc1, c_activation, c_fc2, c_scale) = cache
        check_shape(self, dy=(dy, x.shape))
        ops = functions(__name__, dy, x, gate)
        dgate = ops.excite_backward(dy, x)
        dexcited = self.scale_activation.backward(dgate, c_scale)
        dactive = self.fc2.backward(dexcited, c_fc2)
        dhidden = self.activation.backward(dactive, c_activation)
        dsqueezed = self.fc1.backward(dhidden, c_fc1)
        return ops.squeeze_backward(dy, gate, dsqueezed)
