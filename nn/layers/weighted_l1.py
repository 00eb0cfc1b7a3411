"""The weighted L1 distance of two vectors, and what a verifying network learns on top of its twins."""

import numpy as np

from nn.dispatch import array_module
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape, positive
from nn.random import generator


class WeightedL1(Layer):
    """y = sum over j of weight[j] |x1[j] - x2[j]| + bias.    x1, x2 (N, D), weight (D,), bias (1,), y (N,).

    With binary_cross_entropy_with_logits it is the head of a verifying network: sigmoid(y) is the probability that two
    inputs are of one class. The gradient of |d| at 0 is 0. Raises ValueError where x1 is not (N, D), or x2 of another
    shape. Reference: Koch, Zemel and Salakhutdinov 2015, Siamese neural networks for one-shot image recognition,
    sec. 3.1.
    """

    def __init__(self, in_features: int, bias: bool = True, *, rng=None):
        positive(self, in_features=in_features)
        self.in_features = in_features
        self.weight = Parameter(he_normal((1, in_features), rng or generator())[0])
        self.bias = Parameter(np.zeros(1, np.float32)) if bias else None

    def forward(self, x1, x2, training=True):
        check_shape(self, x1=(x1, ("N", self.in_features)))
        check_shape(self, x2=(x2, x1.shape))
        difference = x1 - x2
        y = (sign(difference) * difference) @ self.weight.value  # |d| = sign(d) d
        return y if self.bias is None else y + self.bias.value, difference

    def backward(self, dy, cache):
        difference = cache
        check_shape(self, dy=(dy, difference.shape[:1]))
        direction = sign(difference)
        self.weight.grad += dy @ (direction * difference)  # y = |d| @ weight: one row of |d| for each y
        if self.bias is not None:
            self.bias.grad += dy.sum()
        dx1 = dy[:, None] * direction * self.weight.value  # the derivative of |d| is sign(d), d = x1 - x2
        return dx1, -dx1

    def between(self, x1, x2):
        """y (N, M) of each of x1 (N, D) with each of x2 (M, D)."""
        check_shape(self, x1=(x1, ("N", self.in_features)), x2=(x2, ("M", self.in_features)))
        rows = [abs(x - x2) @ self.weight.value for x in x1]
        y = array_module(x1).stack(rows) if rows else (x1 @ x2.T)  # (N, M)
        return y if self.bias is None else y + self.bias.value


def sign(x):
    """-1, 0 or 1 in the dtype of x, by its real part."""
    return array_module(x).sign(x.real).astype(x.dtype)
