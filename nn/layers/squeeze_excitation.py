"""Squeeze and excitation: attention over channels."""

from collections.abc import Callable

import numpy as np

from nn.cpu.chunks import in_slices
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from nn.layers.activation import ReLU, Sigmoid
from nn.layers.conv import Conv2d


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
        rng = rng or np.random.default_rng(0)
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
        squeezed = x.mean(axis=(2, 3), keepdims=True)
        hidden, c_fc1 = self.fc1.forward(squeezed, training)
        active, c_activation = self.activation.forward(hidden, training)
        excited, c_fc2 = self.fc2.forward(active, training)
        gate, c_scale = self.scale_activation.forward(excited, training)
        y = _over_images(lambda n, out: array_module(x).multiply(x[n], gate[n], out=out), x)
        return y, (x, gate, (c_fc1, c_activation, c_fc2, c_scale))

    def backward(self, dy, cache):
        x, gate, (c_fc1, c_activation, c_fc2, c_scale) = cache
        check_shape(self, dy=(dy, x.shape))
        xp = array_module(dy)
        dgate = xp.einsum("nchw,nchw->nc", dy, x)[:, :, None, None]  # y = x * gate, one gate for all pixels
        dexcited = self.scale_activation.backward(dgate, c_scale)
        dactive = self.fc2.backward(dexcited, c_fc2)
        dhidden = self.activation.backward(dactive, c_activation)
        dsqueezed = self.fc1.backward(dhidden, c_fc1)
        dmean = dsqueezed / (x.shape[2] * x.shape[3])

        def branches(n, out):  # x forks, into the product and into the mean: gradients add up
            xp.multiply(dy[n], gate[n], out=out)
            out += dmean[n]

        return _over_images(branches, dy)


def _over_images(task, x):
    """An array like x (N, ...), filled by task(slice of images, out=its part)."""
    out = array_module(x).empty(x.shape, x.dtype)
    in_slices(lambda n: task(n, out=out[n]), len(x), x.size, array_module(x))
    return out
