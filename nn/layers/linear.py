"""The fully connected layer."""

import numpy as np

from nn.dispatch import functions
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape, positive
from nn.random import generator


def linear(x, weight, bias=None):
    """y (N, O) = x (N, I) @ weight.T + bias, for weight (O, I) and bias (O,)."""
    y = x @ weight.T
    return y if bias is None else y + bias


def linear_input_gradient(dy, weight):
    """dx (N, I) of linear for dy (N, O)."""
    return dy @ weight  # y = x @ weight.T


def add_weight_gradient(grad, dy, x):
    """Add the gradient of linear's weight to grad (O, I), in place, for dy (N, O) and the input x (N, I)."""
    grad += dy.T @ x  # y = x @ weight.T: one outer product per row of x


class Linear(Layer):
    """y = x @ weight.T + bias.    x (N, I), weight (O, I), bias (O,), y (N, O).

    Weights start as in He et al. 2015, drawn from `rng` (default: the generator of nn.seed), biases at zero.
    Raises ValueError where x is not (N, in_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng=None):
        positive(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(he_normal((out_features, in_features), rng or generator()))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_features)))
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        return functions(__name__, x, weight).linear(x, weight, bias), x  # x is all that backward needs

    def backward(self, dy, cache):
        self.backward_parameters(dy, cache)
        x, weight = cache, self.weight.value
        return functions(__name__, dy, x, weight).linear_input_gradient(dy, weight)

    def backward_parameters(self, dy, cache):
        x, weight = cache, self.weight
        check_shape(self, dy=(dy, (len(x), self.out_features)))
        ops = functions(__name__, dy, x, weight.value)
        if weight.trainable:
            ops.add_weight_gradient(weight.grad, dy, x)
        if self.bias is not None and self.bias.trainable:
            self.bias.grad += dy.sum(axis=0)  # the bias is added to every row

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        return int(np.prod(output_shape)) * self.in_features
