"""Dropout."""

import numpy as np

from nn.backend import array_module
from nn.layer import Layer, check_shape


class Dropout(Layer):
    """Training: y = x * mask / (1 - p), mask 0 with probability p, else 1; inference: y = x.    Any shape.

    `rng` draws the masks (default: a fixed seed, 0); it belongs to the layer, and its state to a checkpoint.

    Reference: Srivastava et al. 2014, Dropout, in the "inverted" form, whose inference needs no scaling.
    """

    def __init__(self, p: float = 0.5, *, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p must be in [0, 1), got {p}")
        self.p = p
        self.rng = rng or np.random.default_rng(0)

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        if not training or self.p == 0:
            return x, None
        keep = array_module(x).asarray(self.rng.random(x.shape, np.float32) >= self.p)
        scaled_mask = keep * x.real.dtype.type(1 / (1 - self.p))
        return x * scaled_mask, scaled_mask

    def backward(self, dy, cache):
        scaled_mask = cache
        if scaled_mask is None:
            return dy
        check_shape(self, dy=(dy, scaled_mask.shape))
        return dy * scaled_mask
