"""All axes but the first as one, as between convolutions and linear layers."""

import math

import numpy as np

from nn.layer import Layer, check_shape


class Flatten(Layer):
    """y[n] = all elements of x[n], the last axis fastest.    x (N, ...), y (N, D), D the product of the other sizes."""

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", *(None,) * (np.ndim(x) - 1))))
        return x.reshape(len(x), math.prod(x.shape[1:])), x.shape  # (N, D); -1 would leave D open for N = 0

    def backward(self, dy, cache):
        check_shape(self, dy=(dy, (cache[0], math.prod(cache[1:]))))
        return dy.reshape(cache)  # y = x.reshape(N, D): the same elements in their old shape
