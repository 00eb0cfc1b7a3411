"""The fully connected layer."""

import numpy as np

from nn.cpu.chunks import add_product
from nn.cpu.parallel import matmul
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape, positive


class Linear(Layer):
    """y = x @ weight.T + bias.    x (N, I), weight (O, I), bias (O,), y (N, O).

    Weights start as He et al. 2015 propose, biases at zero. `rng` draws them (default: a fixed seed, 0).
    Raises ValueError where x is not (N, in_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng=None):
        positive(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(he_normal((out_features, in_features), rng or np.random.default_rng(0)))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_features)))
        y = matmul(x, self.weight.value.T)
        if self.bias is not None:
            y += self.bias.value
        return y, x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, (len(x), self.out_features)))
        add_product(self.weight.grad, dy.T, x)  # y = x @ weight.T: one outer product a row, added up
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=0)
        return matmul(dy, self.weight.value)

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        return int(np.prod(output_shape)) * self.in_features
