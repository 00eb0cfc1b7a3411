"""A ReLU whose slope below 0 is learned: one for all channels, or one for each."""

import math

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, Parameter, check_shape, positive
from nn.layers.activation import leaky_rectify


def prelu(x, weight):
    """y = x where x > 0, else weight * x.    x, y (N, C, ...), weight (C,); or any shape, and weight (1,)."""
    slope = weight.reshape(-1, *(1,) * (x.ndim - 2)) if len(weight) > 1 else weight[0]  # (C, 1, ...) or a number
    return leaky_rectify(x, x, slope)


def prelu_backward(dy, x, weight):
    """dx, dweight of prelu, in the shapes of x and weight."""
    slope = weight.reshape(-1, *(1,) * (x.ndim - 2)) if len(weight) > 1 else weight[0]
    shared = (0, *range(2, x.ndim)) if len(weight) > 1 else None  # axes over which one slope is used
    dweight = array_module(x).where(x.real > 0, 0, dy * x).sum(axis=shared)  # y = weight * x where x <= 0
    return leaky_rectify(dy, x, slope), dweight


class PReLU(Layer):
    """y = x where x > 0, else weight * x, the slope learned.    weight (num_parameters,).

    num_parameters=1: one slope for all of x, of any shape. num_parameters=C: one a channel, x (N, C, ...). Slopes start
    at `init`. Do not let a weight decay pull them to 0 (the paper's advice): that would make it a ReLU.

    Raises ValueError unless x has num_parameters channels.

    Reference: He et al. 2015, arXiv:1502.01852, eq. 1 and, for the gradients, 2 and 3.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        positive(self, num_parameters=num_parameters)
        if not math.isfinite(init):
            raise ValueError(f"PReLU: init must be a finite number, got {init}")
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x, training=True):
        channels = () if self.num_parameters == 1 else ("N", self.num_parameters)
        check_shape(self, x=(x, channels + (None,) * (np.ndim(x) - len(channels))))
        return functions(__name__, x, self.weight.value).prelu(x, self.weight.value), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))
        dx, dweight = functions(__name__, dy, x, self.weight.value).prelu_backward(dy, x, self.weight.value)
        self.weight.grad += dweight
        return dx
